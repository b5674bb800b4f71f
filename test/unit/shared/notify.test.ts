import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { createLogger } from '../../../shared/log.js';
import { createNotifier, watchdogIntervalMs } from '../../../shared/notify.js';

/** Prints every datagram that comes to the socket, one JSON string a line. Node has no unix datagram sockets. */
const RECEIVER = `
import json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print(json.dumps('bound'), flush=True)
while True: print(json.dumps(s.recv(4096).decode()), flush=True)
`;

describe('notify', () => {
  let folder = '';
  let receiver: ChildProcess;
  let lines: Interface;
  const logged: string[] = [];
  const log = createLogger({ name: 'test', level: 'info', destination: { write: (line) => void logged.push(line) } });
  const socket = () => path.join(folder, 'notify.sock');
  const next = async () => JSON.parse(String((await once(lines, 'line', { signal: AbortSignal.timeout(10_000) }))[0])) as string;

  /** The first datagram that says something; systemd-notify also sends a barrier. */
  async function heard(send: () => Promise<void>): Promise<string> {
    const sent = send();
    let text = await next();
    while (text === 'BARRIER=1') text = await next();
    await sent;
    return text.trim();
  }

  beforeEach(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'portlease-notify-'));
    logged.length = 0;
    receiver = spawn('python3', ['-c', RECEIVER, socket()], { stdio: ['ignore', 'pipe', 'inherit'] });
    lines = createInterface(receiver.stdout!);
    assert.equal(await next(), 'bound');
  });
  afterEach(async () => {
    receiver.kill('SIGKILL');
    await once(receiver, 'exit');
    rmSync(folder, { recursive: true });
  });

  it('tells systemd that the daemon is ready, alive and stopping', async () => {
    const notifier = createNotifier({ socket: socket(), log });
    assert.match(await heard(() => notifier.ready()), /READY=1/);
    assert.match(await heard(() => notifier.watchdog()), /WATCHDOG=1/);
    assert.match(await heard(() => notifier.stopping()), /STOPPING=1/);
    assert.deepEqual(logged, []);
  });

  it('sends a status as one line, whatever is in it', async () => {
    const notifier = createNotifier({ socket: socket(), log });
    assert.equal(await heard(() => notifier.status('a\nWATCHDOG=1 $(id)')), 'STATUS=a WATCHDOG=1 $(id)');
  });

  it('does nothing without a socket', async () => {
    const notifier = createNotifier({ socket: undefined, log, command: '/nonexistent' });
    await notifier.ready();
    assert.deepEqual(logged, []);
  });

  it('logs a failure and goes on', async () => {
    const notifier = createNotifier({ socket: socket(), log, command: '/nonexistent' });
    await notifier.ready();
    await notifier.watchdog();
    assert.equal(logged.length, 2);
    assert.match(logged[0] ?? '', /ENOENT/);
  });

  it('feeds the watchdog three times as often as it must', () => {
    assert.equal(watchdogIntervalMs('30000000'), 10_000);
    assert.deepEqual([undefined, '', '0', '-1', 'x'].map(watchdogIntervalMs), [undefined, undefined, undefined, undefined, undefined]);
  });
});
