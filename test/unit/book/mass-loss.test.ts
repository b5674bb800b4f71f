import assert from 'node:assert/strict';
import { agentOf, checkWorldsAfterEach, lose, mappingAt, release, shared } from './checked.js';
import type { PoolSpec, Reply } from '../../../coordinator/book/types.js';
import { FakeAgent, portsOf, reasonOf, want, type World } from './world.js';

const FIRST = 30_000;
const eventsOf = (world: World, kind: string) => world.tables.events.filter((event) => event.kind === kind).map(({ detail }) => JSON.parse(detail) as object);
const override = (world: World, failureDomain: string, forMs: number): Reply => world.decide({ kind: 'overrideMassLoss', actor: 'operator:o', failureDomain, reason: 'gone for good', forMs });
const losses = (world: World) => world.book.massLosses().map(({ failureDomain, lost, hosts }) => [failureDomain, lost, hosts]);
const exact = (port: number) => [want({ choice: { kind: 'exact' as const, port: FIRST + port } })];

/** Hosts by failure domain, besides a and b, which have none. */
function fleet(domains: Record<string, string[]>, pool: Partial<PoolSpec> = {}): World {
  const world = shared(pool);
  let address = 100;
  for (const [failureDomain, hosts] of Object.entries(domains)) {
    for (const host of hosts) {
      world.decide({ kind: 'createHost', actor: 'o', host, roles: ['host'], failureDomain, publicHost: '' });
      world.addAgent(new FakeAgent(host, ['host'], `10.77.0.${address}`));
      address += 1;
    }
  }
  world.settle();
  return world;
}

/** Rack r has c, d, e; c has port 0 of e-c and port 1 idle; the pool has nothing else. */
function rack(others: string[] = ['f', 'g', 'h']): World {
  const world = fleet({ r: ['c', 'd', 'e'], s: others }, { ranges: [{ first: FIRST, last: FIRST + 2 }], strategy: 'sequential', holdMs: 1_000 });
  portsOf(world.allocate('e-c', 'c', exact(0)));
  portsOf(world.allocate('idle', 'c', exact(1)));
  portsOf(world.allocate('e-f', 'a', exact(2)));
  world.settle();
  release(world, 'idle');
  world.settle();
  world.pass(1_000);
  return world;
}

describe('a mass loss', () => {
  checkWorldsAfterEach();

  it('is more than 55 % of at least 3 hosts of a failure domain, or of the gateway, past J', () => {
    const world = fleet({ r: ['c', 'd', 'e'], s: ['f', 'g'] });
    lose(world, 'f', 'g');
    assert.deepEqual(losses(world), [], 'two hosts are too few to tell, and 2 of 7 too few of all');
    lose(world, 'c');
    assert.deepEqual(losses(world), [], '1 of 3, and 3 of 7');
    agentOf(world, 'd').online = false;
    world.pass(2_000);
    assert.equal(world.book.host('d')?.state, 'suspect');
    assert.deepEqual(losses(world), [['', 4, 7], ['r', 2, 3]], 'suspect ones count');
    assert.deepEqual(eventsOf(world, 'MassLoss'), [{ failureDomain: '', lost: 4, hosts: 7 }, { failureDomain: 'r', lost: 2, hosts: 3 }]);
  });

  it('counts neither the gateway, nor hosts that never said hello, nor those without a failure domain as one', () => {
    const world = fleet({ r: ['c'] });
    for (const host of ['x', 'y', 'z']) world.decide({ kind: 'createHost', actor: 'o', host, roles: ['host'], failureDomain: '', publicHost: '' });
    lose(world, 'a');
    world.pass(10_000);
    assert.deepEqual(losses(world), []);
    lose(world, 'b');
    assert.deepEqual(losses(world), [['', 2, 3]]);
  });

  it('keeps what is unused on its hosts, and held, from being reclaimed, and says why and when to ask again', () => {
    const world = rack();
    lose(world, 'c', 'd', 'e');
    world.pass(10_000);
    world.settle();
    assert.equal(world.book.host('c')?.leasedPorts, 2, 'not below the low-water mark either');
    const full = world.allocate('new', 'b', [want()]);
    assert.ok(full.kind === 'refused');
    assert.deepEqual([full.reason, full.metadata?.['failure_domain'], full.metadata?.['lost_hosts'], full.metadata?.['hosts'], full.metadata?.['pool']], ['MASS_LOSS', 'r', '3', '3', 'ssh']);
    assert.ok((full.retryAfterMs as number) > 0);
    assert.equal(reasonOf(world.allocate('new', 'b', exact(1))), 'MASS_LOSS');
    assert.equal(reasonOf(world.allocate('new', 'b', exact(0))), 'PORT_TAKEN');
    world.pass(10_000);
    assert.equal(mappingAt(world, FIRST), 'held', 'its hold is over by now');
  });

  it('of a pool that would not have been helped is no reason', () => {
    const world = fleet({ r: ['c', 'd', 'e'], s: ['f', 'g', 'h'] }, { ranges: [{ first: FIRST, last: FIRST }] });
    portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    lose(world, 'c', 'd', 'e');
    assert.equal(reasonOf(world.allocate('new', 'b', [want()])), 'POOL_EXHAUSTED');
    assert.equal(reasonOf(world.allocate('new', 'b', [want({ count: 33, contiguous: true })])), 'NO_CONTIGUOUS_RUN');
  });

  it('is named also where only its hosts have a run that is long enough', () => {
    const world = fleet({ r: ['c', 'd', 'e'], s: ['f', 'g', 'h'] }, { ranges: [{ first: FIRST, last: FIRST + 3 }] });
    portsOf(world.allocate('e', 'c', [want({ count: 4 })]));
    world.settle();
    release(world, 'e');
    world.settle();
    world.pass(1_000);
    lose(world, 'c', 'd', 'e');
    assert.equal(reasonOf(world.allocate('new', 'b', [want({ count: 3, contiguous: true })])), 'MASS_LOSS');
    assert.equal(reasonOf(world.allocate('new', 'b', [want({ count: 5, contiguous: true })])), 'NO_CONTIGUOUS_RUN');
  });

  it('leaves hosts elsewhere as they are: what they lose is reclaimed', () => {
    const world = rack();
    lose(world, 'c', 'd', 'e');
    assert.deepEqual(losses(world), [['r', 3, 3]]);
    agentOf(world, 'a').online = false;
    world.pass(4_500);
    world.settle();
    assert.deepEqual(losses(world), [['r', 3, 3]], '4 of 8 are too few');
    assert.notEqual(mappingAt(world, FIRST + 2), 'held', 'the hold of a was over');
    assert.equal(mappingAt(world, FIRST), 'held');
  });

  it('does not hinder callers: environments are released, and move away', () => {
    const world = rack();
    lose(world, 'c', 'd', 'e');
    assert.equal(world.decide({ kind: 'move', actor: 'o', environment: 'e-c', host: 'b', targets: [], verify: false }).kind, 'moved');
    world.settle();
    assert.equal(mappingAt(world, FIRST), 'live');
    release(world, 'e-c');
    world.settle();
    assert.equal(mappingAt(world, FIRST), 'quarantined');
  });

  it('lets an operator reclaim or forget a single host who says so in so many words', () => {
    const world = rack();
    lose(world, 'c', 'd', 'e');
    const reclaim = (over: boolean) => world.decide({ kind: 'reclaimHost', actor: 'o', host: 'c', reason: 'burnt', override: over });
    assert.equal(reasonOf(reclaim(false)), 'MASS_LOSS');
    const forget = (host: string, hostIsOff: boolean) => world.decide({ kind: 'forgetHost', actor: 'o', host, reason: 'burnt', hostIsOff, gatewayIsOff: false });
    assert.equal(reasonOf(forget('c', false)), 'MASS_LOSS');
    assert.equal(reclaim(true).kind, 'reclaimed');
    world.settle();
    assert.equal(mappingAt(world, FIRST), 'quarantined');
    assert.equal(forget('d', false).kind, 'forgotten', 'it has nothing');
  });

  it('is over, with an event, when so many are back, and reclaim goes on gradually', () => {
    const world = fleet({ r: ['c', 'd', 'e'], s: ['f', 'g', 'h'] }, { ranges: [{ first: FIRST, last: FIRST + 255 }] });
    portsOf(world.allocate('e', 'c', [want({ count: 256 })]));
    world.settle();
    release(world, 'e');
    world.settle();
    world.pass(1_000);
    lose(world, 'c', 'd', 'e');
    world.pass(10_000);
    assert.equal(world.book.host('c')?.leasedPorts, 256);
    for (const host of ['d', 'e']) agentOf(world, host).online = true;
    world.pass(500);
    assert.deepEqual(losses(world), []);
    assert.deepEqual(eventsOf(world, 'MassLossOver'), [{ failureDomain: 'r', lost: 3, hosts: 3 }]);
    const had = (): number => 256 - (world.book.host('c')?.leasedPorts as number);
    const before = had();
    assert.ok(before <= 32, `${before} ports at once`);
    for (let n = 0; n < 200; n += 1) world.decide(world.allocateCommand(`x-${n}`, 'b', [want()]));
    world.settle();
    for (let n = 0; n < 200; n += 1) world.decide(world.allocateCommand(`y-${n}`, 'b', [want()]));
    assert.ok(had() <= 64, `${had()} ports within a second`);
    const reply = world.allocate('z', 'b', [want({ count: 64 })]);
    assert.ok(reply.kind === 'refused' && reply.reason === 'POOL_EXHAUSTED');
    assert.equal(reply.retryAfterMs, 1_000, 'more of them in a second');
    for (let n = 0; n < 20; n += 1) {
      world.pass(1_000);
      world.decide(world.allocateCommand(`w-${n}`, 'b', [want({ count: 64 })]));
      world.settle();
    }
    assert.ok(had() > 128, `${had()} ports after 20 s`);
  });

  it('is seen again after a restart, at once and before T, with hosts that have not come back (S9)', () => {
    const world = rack();
    lose(world, 'c', 'd', 'e');
    world.restart();
    assert.deepEqual(losses(world), [['r', 3, 3]]);
    for (const host of ['gw-1', 'a', 'b', 'f', 'g', 'h']) world.hello(agentOf(world, host));
    world.settle();
    assert.equal(reasonOf(world.allocate('new', 'b', [want()])), 'MASS_LOSS');
    const other = rack();
    for (const host of ['c', 'd', 'e']) agentOf(other, host).online = false;
    other.restart();
    for (const host of ['gw-1', 'a', 'b', 'f', 'g', 'h']) other.hello(agentOf(other, host));
    other.pass(2_000);
    assert.equal(other.book.host('c')?.state, 'unknown');
    assert.deepEqual(losses(other), [['r', 3, 3]]);
  });
});

describe('an override of a mass loss', () => {
  checkWorldsAfterEach();

  it('lets reclaim go on in its failure domain, for its time', () => {
    const world = rack();
    lose(world, 'c', 'd', 'e');
    assert.deepEqual(override(world, 'r', 60_000), { kind: 'overridden', untilMs: world.nowMs + 60_000 });
    assert.equal(world.book.massLosses()[0]?.overriddenUntilMs, world.nowMs + 60_000);
    assert.deepEqual(portsOf(world.allocate('new', 'b', exact(1))), [FIRST + 1]);
    override(world, 'r', 0);
    assert.equal(reasonOf(world.allocate('more', 'b', [want()])), 'MASS_LOSS');
    override(world, 's', 60_000);
    assert.equal(reasonOf(world.allocate('more', 'b', [want()])), 'MASS_LOSS', 'another domain');
    override(world, '', 2_000);
    world.pass(2_500);
    world.settle();
    assert.notEqual(mappingAt(world, FIRST), 'held', 'the whole gateway');
    assert.deepEqual([...world.tables.overrides.keys()], ['domain/s'], 'one that is over is removed');
  });

  it('outlives a restart, and is on record with its reason (S11)', () => {
    const world = rack();
    lose(world, 'c', 'd', 'e');
    override(world, 'r', 60_000);
    const audit = world.tables.audits.at(-1);
    assert.deepEqual([audit?.action, audit?.actor, JSON.parse(audit?.detail ?? '') as unknown], ['OverrideMassLoss', 'operator:o', { failureDomain: 'r', reason: 'gone for good', forMs: 60_000 }]);
    world.restart();
    for (const host of ['gw-1', 'a', 'b', 'f', 'g', 'h']) world.hello(agentOf(world, host));
    world.settle();
    assert.deepEqual(portsOf(world.allocate('new', 'b', exact(1))), [FIRST + 1]);
  });

  it('is refused for a failure domain that no host is in', () => {
    assert.equal(reasonOf(override(rack(), 'none', 1_000)), 'INVALID_FIELD');
  });
});
