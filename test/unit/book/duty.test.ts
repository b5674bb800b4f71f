import assert from 'node:assert/strict';
import { agentOf, checkWorldsAfterEach, comeBack, hostScope, lose, mappingAt, release, shared, suspect } from './checked.js';
import type { Reply } from '../../../coordinator/book/types.js';
import { FakeAgent, portsOf, reasonOf, want, type World } from './world.js';

const FIRST = 30_000;
type Kind = 'cordonHost' | 'uncordonHost' | 'drainHost';
const say = (world: World, kind: Kind, host = 'a'): Reply => world.decide({ kind, actor: 'operator:o', host, reason: 'disk' });
const keep = (world: World, forMs: number, host = 'a'): Reply => world.decide({ kind: 'holdHost', actor: 'operator:o', host, reason: 'rack move', forMs });
const duty = (world: World, host = 'a') => world.book.host(host)?.record.duty;
const eventsOf = (world: World, kind: string) => world.tables.events.filter((event) => event.kind === kind);

describe('a cordoned host', () => {
  checkWorldsAfterEach();

  it('gets no new ports, and what is there goes on', () => {
    const world = shared();
    const [port] = portsOf(world.allocate('e', 'a', [want()])) as [number];
    world.settle();
    assert.equal(say(world, 'cordonHost').kind, 'host');
    const reply = world.allocate('f', 'a', [want()]);
    assert.ok(reply.kind === 'refused');
    assert.deepEqual([reply.reason, reply.field, reply.metadata], ['HOST_CORDONED', 'host', { host: 'a', duty: 'cordoned' }]);
    world.settle();
    assert.equal(mappingAt(world, port), 'live');
    assert.deepEqual(portsOf(world.allocate('e', 'a', [want()])), [port], 'what an environment has it is given again');
    assert.equal(reasonOf(world.allocate('e', 'a', [want({ name: 'more' })])), 'HOST_CORDONED');
    portsOf(world.allocate('f', 'b', [want()]));
  });

  it('answers a retry of what it was asked before', () => {
    const world = shared();
    const command = world.allocateCommand('e', 'a', [want()]);
    const ports = portsOf(world.decide(command));
    say(world, 'cordonHost');
    assert.deepEqual(portsOf(world.decide(command)), ports);
  });

  it('takes no environment that moves, lets its own go, and lets those that stay change their targets', () => {
    const world = shared();
    portsOf(world.allocate('here', 'a', [want()]));
    portsOf(world.allocate('there', 'b', [want()]));
    world.settle();
    say(world, 'cordonHost');
    const move = (environment: string, host: string) => world.decide({ kind: 'move', actor: 'o', environment, host, verify: false,
      targets: [{ name: 'ssh', target: { kind: 'address', address: '10.0.0.9' }, internalPort: 0 }] });
    assert.equal(reasonOf(move('there', 'a')), 'HOST_CORDONED');
    assert.equal(move('here', 'a').kind, 'moved');
    assert.equal(move('here', 'b').kind, 'moved');
  });

  it('stays so over a restart, until it is uncordoned', () => {
    const world = shared();
    say(world, 'cordonHost');
    world.restart();
    for (const agent of world.agents.values()) world.hello(agent);
    world.settle();
    assert.equal(reasonOf(world.allocate('f', 'a', [want()])), 'HOST_CORDONED');
    say(world, 'uncordonHost');
    portsOf(world.allocate('f', 'a', [want()]));
    assert.deepEqual([eventsOf(world, 'HostCordoned').length, eventsOf(world, 'HostUncordoned').length], [1, 1]);
  });

  it('is told of once, however often it is said', () => {
    const world = shared();
    for (let n = 0; n < 3; n += 1) say(world, 'cordonHost');
    assert.equal(eventsOf(world, 'HostCordoned').length, 1);
    assert.equal(world.tables.audits.filter(({ action }) => action === 'CordonHost').length, 3, 'each attempt is on record (S11)');
  });
});

describe('a host that is drained', () => {
  checkWorldsAfterEach();

  it('gives back what it has unused at once, behind the fence, and the rest as its environments go', () => {
    const world = shared({ strategy: 'sequential' });
    portsOf(world.allocate('e', 'a', [want(), want({ name: 'x' })]));
    world.settle();
    assert.ok((world.book.host('a')?.leasedPorts as number) > 2);
    assert.equal(say(world, 'drainHost').kind, 'host');
    assert.ok(world.book.leases().some(({ record }) => record.state === 'withdrawing'), 'nothing is free before the gateway confirmed (S8)');
    world.settle();
    assert.deepEqual([duty(world), world.book.host('a')?.leasedPorts, world.book.host('a')?.mappings], ['draining', 2, 2]);
    assert.equal(mappingAt(world, FIRST + 1), 'live');
    release(world, 'e');
    world.settle();
    world.pass(500);
    world.settle();
    world.pass(500);
    assert.deepEqual([duty(world), world.book.host('a')?.leasedPorts], ['drained', 0]);
    assert.deepEqual(eventsOf(world, 'HostDrained').map(({ host }) => host), ['a']);
    assert.equal(agentOf(world, 'a').kernel.size, 0);
  });

  it('gives a number that rests to nobody before its quarantine is over, wherever its lease is (S12)', () => {
    const world = shared({ ranges: [{ first: FIRST, last: FIRST }], quarantineMs: 10_000 });
    portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    release(world, 'e');
    world.settle();
    say(world, 'drainHost');
    world.settle();
    world.pass(500);
    assert.equal(duty(world), 'drained');
    assert.equal(reasonOf(world.allocate('f', 'b', [want()])), 'POOL_EXHAUSTED');
    world.pass(10_000);
    assert.deepEqual(portsOf(world.allocate('f', 'b', [want()])), [FIRST]);
  });

  it('is done at once when it has nothing, and is open again when it is uncordoned', () => {
    const world = shared();
    say(world, 'drainHost');
    assert.equal(duty(world), 'drained');
    say(world, 'drainHost');
    assert.equal(eventsOf(world, 'HostDrained').length, 1);
    assert.equal(reasonOf(world.allocate('f', 'a', [want()])), 'HOST_CORDONED');
    say(world, 'uncordonHost');
    portsOf(world.allocate('f', 'a', [want()]));
  });

  it('waits while its heartbeat is late, and goes on when it is lost', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    suspect(world, 'a');
    say(world, 'drainHost');
    const before = world.book.host('a')?.leasedPorts;
    world.pass(500);
    assert.equal(world.book.host('a')?.leasedPorts, before);
    world.pass(1_500);
    world.settle();
    assert.equal(world.book.host('a')?.leasedPorts, 1, 'the number of its environment is held for it');
    assert.equal(mappingAt(world, portOf(world)), 'held');
  });

  it('goes on after a restart once the gateway has said hello (S9)', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    world.restart();
    say(world, 'drainHost');
    world.hello(agentOf(world, 'a'));
    const before = world.book.host('a')?.leasedPorts;
    world.decide({ kind: 'tick' });
    assert.equal(world.book.host('a')?.leasedPorts, before);
    for (const agent of world.agents.values()) world.hello(agent);
    world.pass(500);
    world.settle();
    assert.equal(world.book.host('a')?.leasedPorts, 1);
  });

  it('gives its leases back in scope host, too', () => {
    const world = hostScope();
    const [port] = portsOf(world.allocate('e', 'a', [want()])) as [number];
    world.settle();
    say(world, 'drainHost');
    world.settle();
    assert.equal(world.book.host('a')?.leasedPorts, 1);
    assert.equal(mappingAt(world, port, 'gw/a'), 'live');
    release(world, 'e');
    world.settle();
    world.pass(1_000);
    assert.equal(duty(world), 'drained');
  });
});

describe('a host that is kept', () => {
  checkWorldsAfterEach();

  /** a is lost with a held number and an unused port, and is kept; b is in need. */
  function lostAndShort(forMs: number): { world: World; held: number } {
    const world = shared({ ranges: [{ first: FIRST, last: FIRST + 1 }] });
    const [held] = portsOf(world.allocate('e', 'a', [want()])) as [number];
    portsOf(world.allocate('idle', 'a', [want()]));
    world.settle();
    release(world, 'idle');
    world.settle();
    world.pass(1_000);
    keep(world, 3_500 + forMs);
    lose(world, 'a');
    assert.equal(world.book.host('a')?.leasedPorts, 2);
    return { world, held };
  }

  it('has nothing taken while it is lost, however short the pool is and however long its holds are over', () => {
    const { world, held } = lostAndShort(7_200_000);
    assert.equal(reasonOf(world.allocate('f', 'b', [want()])), 'POOL_EXHAUSTED');
    assert.equal(reasonOf(world.allocate('f', 'b', [want({ choice: { kind: 'exact', port: held === FIRST ? FIRST + 1 : FIRST } })])), 'PORT_TAKEN');
    world.pass(10_000);
    world.settle();
    assert.equal(mappingAt(world, held), 'held');
    assert.equal(world.book.host('a')?.leasedPorts, 2);
    comeBack(world, 'a');
    assert.equal(mappingAt(world, held), 'live');
  });

  it('is like any other when that time is over, also when it ended while nobody served', () => {
    const { world, held } = lostAndShort(5_000);
    assert.equal(world.book.host('a')?.record.keptUntilMs, world.nowMs + 5_000);
    world.pass(4_500);
    assert.equal(reasonOf(world.allocate('f', 'b', [want()])), 'POOL_EXHAUSTED');
    assert.equal(eventsOf(world, 'HostKeptOver').length, 0);
    world.pass(1_000);
    assert.equal(eventsOf(world, 'HostKeptOver').length, 1);
    assert.equal(world.book.host('a')?.record.keptUntilMs, 0);
    assert.notEqual(portsOf(world.allocate('f', 'b', [want()]))[0], held);
    keep(world, 1_000);
    world.nowMs += 2_000;
    world.restart();
    world.decide({ kind: 'tick' });
    assert.equal(world.book.host('a')?.record.keptUntilMs, 0);
  });

  it('is kept over a restart, and for a new time when that is said', () => {
    const { world } = lostAndShort(5_000);
    keep(world, 60_000);
    world.restart();
    for (const host of ['gw-1', 'b']) world.hello(agentOf(world, host));
    world.settle();
    world.pass(10_000);
    assert.equal(reasonOf(world.allocate('f', 'b', [want()])), 'POOL_EXHAUSTED');
    keep(world, 0);
    portsOf(world.allocate('f', 'b', [want()]));
  });

  it('lets others be reclaimed, the oldest hold among them first', () => {
    const world = shared({ ranges: [{ first: FIRST, last: FIRST + 2 }] });
    world.addAgent(new FakeAgent('c', ['host'], '10.77.0.13'));
    for (const host of ['d', 'e', 'f']) world.addAgent(new FakeAgent(host, ['host'], `10.77.1.${host.charCodeAt(0)}`));
    const exact = (environment: string, host: string, port: number) => portsOf(world.allocate(environment, host, [want({ choice: { kind: 'exact', port } })]));
    exact('kept', 'a', FIRST);
    exact('older', 'b', FIRST + 1);
    exact('younger', 'c', FIRST + 2);
    world.settle();
    keep(world, 60_000, 'a');
    lose(world, 'a');
    lose(world, 'b');
    agentOf(world, 'c').online = false;
    world.pass(3_500);
    assert.equal(reasonOf(world.allocate('new', 'd', [want()])), 'POOL_EXHAUSTED');
    assert.deepEqual([FIRST, FIRST + 1, FIRST + 2].map((port) => mappingAt(world, port)), ['held', 'releasing', 'held']);
  });

  it('releases what its environments release', () => {
    const { world, held } = lostAndShort(60_000);
    release(world, 'e');
    world.settle();
    assert.equal(mappingAt(world, held), 'quarantined');
  });
});

function portOf(world: World): number {
  return world.book.environment('e')?.mappings[0]?.port ?? 0;
}
