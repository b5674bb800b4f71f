import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { ForeignListeners } from '../../../agent/drivers/holders/foreign.js';
import { Helper } from '../../../agent/drivers/holders/helper.js';
import { HolderLookup } from '../../../agent/drivers/holders/lookup.js';
import type { Listener, Wanted } from '../../../agent/drivers/connections/listeners.js';
import { createLogger } from '../../../shared/log.js';
import { allProcesses, argvOf, isRunning, parentOf } from '../../support/processes.js';
import { eventually } from '../../support/wait.js';
import { Occupier, SECRET } from './occupier.js';

const LOG = createLogger({ name: 'test', level: 'silent' });
const LOCAL = { topic: 'leasedPorts', netDir: '/proc/self/net', addresses: ['127.0.0.1', '::1'] } as const;

function only(...ports: number[]): Wanted {
  const ranges = ports.map(port => ({ first: port, last: port }));
  return { tcp: ranges, udp: ranges };
}

describe('who listens on a port', () => {
  const occupiers: Occupier[] = [];
  const occupy = async (...args: Parameters<typeof Occupier.start>): Promise<Occupier> => {
    const occupier = await Occupier.start(...args);
    occupiers.push(occupier);
    return occupier;
  };
  afterEach(async () => { for (const occupier of occupiers.splice(0)) await occupier.end(); });

  it('is found by process, program, user and start, without what its arguments say', async () => {
    const startedBefore = Date.now();
    const { pid, ports: [port = 0] } = await occupy([{ transport: 'tcp', address: '127.0.0.1', port: 0 }]);
    const [found, ...others] = new HolderLookup().find({ ...LOCAL, wanted: only(port) }, 0);
    const { inode, holder: { startedAtMs = 0, ...holder } = {}, ...socket } = found ?? {};
    assert.deepEqual([socket, others.length], [{ transport: 'tcp', address: '127.0.0.1', port, uid: 65_534, user: 'nobody' }, 0]);
    assert.deepEqual(holder, { pid, program: 'node', command: `${process.execPath} (+4 arguments)`, containerId: '', proxyFor: '', environment: '' });
    assert.ok(inode !== undefined && !JSON.stringify(found).includes(SECRET));
    // The kernel tells the boot in whole seconds, the start in hundredths.
    assert.ok(Math.abs(startedAtMs - startedBefore) < 120_000, `${startedAtMs}`);
  });

  it('is found for UDP, for IPv6 alone, and for several sockets of one process; other ports and addresses are passed over', async () => {
    const { pid, ports } = await occupy([
      { transport: 'udp', address: '127.0.0.1', port: 0 }, { transport: 'tcp', address: '::1', port: 0, ipv6Only: true }, { transport: 'tcp', address: '127.0.0.1', port: 0 },
      { transport: 'tcp', address: '127.0.0.2', port: 0 },
    ]);
    const found = new HolderLookup().find({ ...LOCAL, wanted: only(...ports) }, 0);
    assert.deepEqual(found.map(({ transport, address, port, holder }) => [transport, address, port, holder?.pid]).sort(),
      [['tcp', '127.0.0.1', ports[2], pid], ['tcp', '::1', ports[1], pid], ['udp', '127.0.0.1', ports[0], pid]]);
    assert.deepEqual(new HolderLookup().find({ ...LOCAL, wanted: { tcp: [], udp: [] } }, 0), []);
  });

  it('is looked up again when the socket has passed to another process', async () => {
    // The parent ends at its signal; its child goes on with the socket.
    const script = 'import os, signal, socket, sys\ns = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()\nchild = os.fork()\nif child: print(s.getsockname()[1], child, flush=True); sys.stdin.readline()\nelse: signal.pause()\n';
    const parent = spawn('/usr/bin/python3', ['-c', script], { stdio: ['pipe', 'pipe', 'inherit'] });
    const [line] = await once(createInterface({ input: parent.stdout }), 'line') as [string];
    const [port = 0, child = 0] = line.split(' ').map(Number);
    try {
      const lookup = new HolderLookup();
      assert.equal(lookup.find({ ...LOCAL, wanted: only(port) }, 0)[0]?.holder?.pid, parent.pid);
      const ended = once(parent, 'exit');
      parent.stdin.end();
      await ended;
      assert.equal(lookup.find({ ...LOCAL, wanted: only(port) }, 1)[0]?.holder?.pid, child);
    } finally {
      parent.kill('SIGKILL');
      process.kill(child, 'SIGKILL');
    }
  });

  it('is not known where /proc does not show it, and is not looked for again at once', async () => {
    const { ports: [port = 0] } = await occupy([{ transport: 'tcp', address: '127.0.0.1', port: 0 }]);
    const lookup = new HolderLookup('/nowhere', '/nowhere/passwd');
    const [found] = lookup.find({ ...LOCAL, wanted: only(port) }, 0);
    assert.deepEqual([found?.uid, found?.user, found?.holder], [65_534, '', undefined]);
  });

  it('is told by the helper process, which answers with the same array when nothing has changed', async () => {
    const { pid, ports: [port = 0] } = await occupy([{ transport: 'tcp', address: '127.0.0.1', port: 0 }]);
    const helper = new Helper();
    try {
      const first = await helper.find({ ...LOCAL, wanted: only(port) });
      assert.equal(first[0]?.holder?.pid, pid);
      assert.equal(await helper.find({ ...LOCAL, wanted: only(port) }), first);
      assert.ok(helper.pid !== undefined && helper.pid !== process.pid);
      await assert.rejects(helper.find({ ...LOCAL, netDir: `/proc/${helper.pid}/fd/0`, wanted: only(port) }), /ENOTDIR|EACCES/);
    } finally {
      await helper.close();
    }
    assert.ok(helper.pid === undefined || !isRunning(helper.pid));
    await assert.rejects(helper.find({ ...LOCAL, wanted: only(port) }), /closed/);
  });

  it('is told to two who ask in turns as to one: neither makes the helper forget what the other asks for', async () => {
    const { ports: [one = 0, other = 0] } = await occupy([{ transport: 'tcp', address: '127.0.0.1', port: 0 }, { transport: 'tcp', address: '127.0.0.1', port: 0 }]);
    const helper = new Helper();
    const ask = (): Promise<Listener[][]> => Promise.all([helper.find({ ...LOCAL, wanted: only(one) }), helper.find({ ...LOCAL, topic: 'hostPorts', wanted: only(other) })]);
    try {
      const first = await ask();
      assert.deepEqual(first.map(([found]) => found?.port), [one, other]);
      const again = await ask();
      assert.ok(again[0] === first[0] && again[1] === first[1]);
    } finally {
      await helper.close();
    }
  });

  it('is found without its process while the helper hangs, which is killed and started again', async () => {
    const { pid, ports: [port = 0] } = await occupy([{ transport: 'tcp', address: '127.0.0.1', port: 0 }]);
    const helper = new Helper(3_000);
    const foreign = new ForeignListeners({ addresses: LOCAL.addresses, log: LOG, helper });
    try {
      assert.equal((await foreign.find(only(port)))[0]?.holder?.pid, pid);
      const hung = allProcesses().find(each => argvOf(each)?.some(text => /holders\/server\.[jt]s$/.test(text)) === true && parentOf(each) === process.pid);
      assert.ok(hung !== undefined);
      process.kill(hung, 'SIGSTOP');
      const [found] = await foreign.find(only(port));
      assert.deepEqual([found?.port, found?.uid, found?.holder], [port, 65_534, undefined]);
      await eventually('the helper that hung to be gone', () => !isRunning(hung), { withinMs: 5_000 });
      assert.equal((await foreign.find(only(port)))[0]?.holder?.pid, pid);
    } finally {
      await helper.close();
    }
  });

  it('is no conflict where it is this process, or what the caller calls its own', async () => {
    const { pid, ports: [port = 0] } = await occupy([{ transport: 'tcp', address: '127.0.0.1', port: 0 }]);
    const helper = new Helper();
    const foreign = new ForeignListeners({ addresses: LOCAL.addresses, log: LOG, helper, isOwn: ({ holder }) => holder?.pid === pid });
    try {
      assert.deepEqual(await foreign.find(only(port)), []);
    } finally {
      await helper.close();
    }
  });
});
