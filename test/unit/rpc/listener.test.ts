import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { promisify } from 'node:util';
import { Listener } from '../../../coordinator/rpc/listener.js';
import { systemTimers, type Timers } from '../../../shared/timers.js';
import { eventually } from '../../support/wait.js';

/** Timers whose next turns come when the test says so. */
function steppedTimers(): Timers & { turn: () => number } {
  let due: (() => void)[] = [];
  return {
    ...systemTimers,
    soon: (act) => { due.push(act); },
    turn: () => {
      const now = due;
      due = [];
      for (const act of now) act();
      return now.length;
    },
  };
}

describe('the listener of the coordinator', () => {
  let listener: Listener | undefined;
  let callers: Socket[];
  let letIn: Socket[];

  beforeEach(() => { callers = []; letIn = []; });

  afterEach(() => {
    listener?.close();
    for (const socket of [...callers, ...letIn]) socket.destroy();
  });

  async function open(timers: Timers, host = '127.0.0.1'): Promise<Listener> {
    listener = await Listener.open({ host, port: 0, timers, letIn: (connection) => { letIn.push(connection); } });
    return listener;
  }

  async function call(count: number, host = '127.0.0.1'): Promise<void> {
    const sockets = Array.from({ length: count }, () => connect({ host, port: listener?.port ?? 0 }));
    for (const socket of sockets) socket.on('error', () => undefined);
    callers.push(...sockets);
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  }

  it('lets in some connections each turn, so that those who are in do not wait for all who come', async () => {
    const timers = steppedTimers();
    await open(timers);
    await call(40);
    await eventually('a turn to be due', () => timers.turn() === 1, { withinMs: 5_000 });
    const first = letIn.length;
    assert.ok(first > 0 && first <= 16, `${first} were let in at once`);
    await eventually('all to be in', () => { timers.turn(); return letIn.length === 40; }, { withinMs: 5_000 });
    assert.equal(timers.turn(), 0);
    await call(1);
    await eventually('a later one to be in', () => { timers.turn(); return letIn.length === 41; }, { withinMs: 5_000 });
  });

  it('has as much room for connections that wait as the kernel allows', async () => {
    const { port } = await open(systemTimers);
    const { stdout } = await promisify(execFile)('ss', ['--listening', '--tcp', '--numeric', '--no-header', `sport = :${port}`]);
    const allowed = Number(readFileSync('/proc/sys/net/core/somaxconn', 'utf8'));
    assert.equal(Number(stdout.trim().split(/\s+/)[2]), allowed, stdout);
  });

  it('gives away connections from which nothing was read', async () => {
    const read: string[] = [];
    listener = await Listener.open({ host: '127.0.0.1', port: 0, timers: systemTimers, letIn: (connection) => {
      letIn.push(connection);
      connection.on('data', (data: Buffer) => { read.push(data.toString()); });
    } });
    await call(1);
    callers[0]?.write('what came first');
    await eventually('what came first to be read', () => read.join('') === 'what came first', { withinMs: 5_000 });
  });

  it('forgets a connection that ends before it is let in', async () => {
    const timers = steppedTimers();
    await open(timers);
    await call(20);
    for (const socket of callers.splice(0)) socket.resetAndDestroy();
    await call(1);
    await eventually('the other one to be in', () => { timers.turn(); return letIn.some((socket) => !socket.destroyed); }, { withinMs: 5_000 });
  });

  it('listens on every address of a name that this machine has', async () => {
    await open(systemTimers, 'localhost');
    await call(1);
    await eventually('it to be in', () => letIn.length === 1, { withinMs: 5_000 });
  });

  it('says why it cannot listen', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    try {
      const { port } = other.address() as AddressInfo;
      await assert.rejects(Listener.open({ host: '127.0.0.1', port, timers: systemTimers, letIn: () => undefined }), /EADDRINUSE/);
      await assert.rejects(Listener.open({ host: 'no-such-host.invalid', port: 0, timers: systemTimers, letIn: () => undefined }), /no-such-host/);
    } finally {
      other.close();
    }
  });

  it('ends those who wait when it is closed, and nobody comes in any more', async () => {
    const closed = await open(steppedTimers());
    await call(3);
    const ends = callers.map((socket) => new Promise((resolve) => { socket.resume().once('close', resolve); }));
    closed.close();
    await Promise.all(ends);
    assert.equal(letIn.length, 0);
    await assert.rejects(once(connect({ host: '127.0.0.1', port: closed.port }), 'connect'), /ECONNREFUSED/);
  });
});
