import assert from 'node:assert/strict';
import { ChildFailed, type RunChild } from '../../../agent/drivers/child.js';
import { ConnectionsDriver, type Cut, type Standing } from '../../../agent/drivers/connections/connections.js';
import { createLogger } from '../../../shared/log.js';

const log = createLogger({ name: 'test', level: 'silent' });
const LINE = 'tcp      6 431999 ESTABLISHED src=192.0.2.7 dst=10.0.0.1 sport=4000 dport=30000 src=10.2.0.5 dst=192.0.2.7 sport=22 dport=4000 [ASSURED] mark=0 use=1\n';
const CUT: Cut = { transport: 'tcp', ports: { first: 30_000, last: 30_000 }, from: [], dropMs: 1_000 };
const NOWHERE: Standing = { endpoints: () => [], isTarget: () => false };
const OLD = { address: '10.2.0.5', port: 22 };

const FULL = 'ipset v7.17: Error in line 1: Hash is full, cannot add more elements\n';
const full: RunChild = (file, argv) => Promise.reject(new ChildFailed(file, argv, { exitCode: 1, signal: null, stderr: FULL, timedOut: false }));

/** A kernel with one entry that comes back `times` times after it was deleted; notes what is run. */
function kernel(times: number, isLocal = false): { driver: ConnectionsDriver; ran: string[] } {
  let left = times + 1;
  const ran: string[] = [];
  const run: RunChild = (file, argv) => {
    const command = `${file} ${argv.find(word => /^-[LDK]$/.test(word)) ?? argv[0] ?? ''}`.trim();
    ran.push(command);
    if (command === 'conntrack -D') left--;
    const isEntry = command === 'conntrack -L' && left > 0;
    return Promise.resolve({ stdout: isEntry ? LINE : '', stderr: '' });
  };
  return { driver: new ConnectionsDriver({ run, addresses: ['10.0.0.1'], isLocal: address => isLocal && address === '10.2.0.5', log }), ran };
}

describe('the connections driver', () => {
  it('looks, drops new packets, deletes and reads back, in that order', async () => {
    const { driver, ran } = kernel(0);
    assert.deepEqual(await driver.cut([CUT], NOWHERE), { ended: [CUT], remaining: [] });
    assert.deepEqual(ran, ['conntrack -L', 'ipset restore', 'ipset restore', 'conntrack -D', 'conntrack -L']);
  });

  it('names a source once only when it is known and found in the table', async () => {
    const { driver, ran } = kernel(0);
    await driver.cut([{ ...CUT, from: [OLD] }], NOWHERE);
    assert.deepEqual(ran, ['ipset restore', 'conntrack -L', 'ipset restore', 'conntrack -D', 'conntrack -L']);
  });

  it('closes sockets that end on this host before it deletes their entries', async () => {
    const { driver, ran } = kernel(0, true);
    await driver.cut([CUT], NOWHERE);
    assert.deepEqual(ran.slice(1, -1), ['ipset restore', 'ipset restore', 'ss -K', 'ss -H', 'conntrack -D']);
  });

  it('deletes again what comes back', async () => {
    const { driver } = kernel(2);
    assert.deepEqual((await driver.cut([CUT], NOWHERE)).ended, [CUT]);
  });

  it('says what remains when entries come back without end', async () => {
    const { driver } = kernel(1_000);
    assert.deepEqual(await driver.cut([CUT], NOWHERE), { ended: [], remaining: [CUT] });
  });

  it('looks once when there is nothing to delete, after new packets of the old target are dropped', async () => {
    const { driver, ran } = kernel(-1);
    await driver.cut([{ ...CUT, from: [OLD] }], NOWHERE);
    assert.deepEqual(ran, ['ipset restore', 'conntrack -L']);
  });

  it('takes "0 flow entries" for an answer and any other failure for a failure', async () => {
    const failing = (stderr: string): RunChild => (file, argv) => argv[0] === '-D'
      ? Promise.reject(new ChildFailed(file, argv, { exitCode: 1, signal: null, stderr, timedOut: false }))
      : Promise.resolve({ stdout: argv[0] === '-L' ? LINE : '', stderr: '' });
    const driver = (stderr: string): ConnectionsDriver => new ConnectionsDriver({ run: failing(stderr), addresses: ['10.0.0.1'], isLocal: () => false, log });
    assert.deepEqual((await driver('conntrack v1.4.7 (conntrack-tools): 0 flow entries have been deleted.\n').cut([CUT], NOWHERE)).remaining, [CUT]);
    await assert.rejects(driver('Operation failed: Operation not permitted\n').cut([CUT], NOWHERE), /not permitted/);
  });

  it('finds the connections of many ports in one dump of the table', async () => {
    const { driver, ran } = kernel(-1);
    await driver.cut(Array.from({ length: 1_000 }, (_, index) => ({ ...CUT, ports: { first: 30_000 + index, last: 30_000 + index } })), NOWHERE);
    assert.deepEqual(ran, ['conntrack -L']);
  });

  it('finds the connections of both transports in one dump of the table', async () => {
    const { driver, ran } = kernel(-1);
    await driver.cut([CUT, { ...CUT, transport: 'udp' }], NOWHERE);
    assert.deepEqual(ran, ['conntrack -L']);
  });

  /** A kernel with one entry in which sets whose lines match `isFull` have no room; says what was added, and what was logged. */
  function crowded(isFull: () => RegExp): { driver: ConnectionsDriver; added: string[]; logged: string[] } {
    const [added, logged]: [string[], string[]] = [[], []];
    let isThere = true;
    const run: RunChild = (file, argv, options) => {
      const stdin = options?.stdin ?? '';
      if (file === 'ipset' && isFull().test(stdin)) return full(file, argv);
      if (file === 'ipset') added.push(...stdin.trim().split('\n'));
      if (argv[0] === '-D') isThere = false;
      const stdout = argv[0] === '-L' && isThere ? LINE : '';
      if (argv[0] === '-L' && !isThere) isThere = true;
      return Promise.resolve({ stdout, stderr: '' });
    };
    const note = (_: unknown, text: string): void => { logged.push(text); };
    const noting = { ...log, warn: note, info: (text: string) => { logged.push(text); } } as unknown as typeof log;
    return { driver: new ConnectionsDriver({ run, addresses: ['10.0.0.1'], isLocal: () => false, log: noting }), added, logged };
  }

  it('keeps a server from everybody when its connections find no room, says so once, and says when there is room again', async () => {
    let isFull = /flow4/;
    const { driver, added, logged } = crowded(() => isFull);
    for (let time = 0; time < 2; time++) assert.deepEqual((await driver.cut([CUT], NOWHERE)).remaining, []);
    assert.deepEqual([...new Set(added)], ['add portlease-cut4 10.2.0.5,tcp:22 timeout 1', 'add portlease-wide4 10.2.0.5,tcp:22 timeout 432000']);
    assert.equal(logged.length, 1);
    assert.match(logged[0] ?? '', /portlease-flow is full/);
    isFull = /none/;
    await driver.cut([CUT], NOWHERE);
    assert.equal(added.at(-1), 'add portlease-flow4 10.2.0.5,tcp:22,192.0.2.7 timeout 432000');
    assert.match(logged[1] ?? '', /room in portlease-flow again/);
  });

  it('confirms nothing when there is room neither for the connections nor for their server', async () => {
    await assert.rejects(crowded(() => /flow4|wide4/).driver.cut([CUT], NOWHERE), /Hash is full/);
  });
});
