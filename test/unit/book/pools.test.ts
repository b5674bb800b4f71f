import assert from 'node:assert/strict';
import { agentOf, checkWorldsAfterEach, hostScope, mappingAt, release, shared } from './checked.js';
import type { PoolSpec, Reply } from '../../../coordinator/book/types.js';
import { poolSpec, portsOf, reasonOf, want, type World } from './world.js';

const FIRST = 30_000;
const create = (world: World, over: Partial<PoolSpec>, seed = false): Reply => world.decide({ kind: 'createPool', actor: 'o', pool: poolSpec(over), seed });
const update = (world: World, change: Partial<Omit<PoolSpec, 'pool'>>, pool = 'ssh'): Reply => world.decide({ kind: 'updatePool', actor: 'o', pool, change, drain: false });
const remove = (world: World, pool = 'ssh'): Reply => world.decide({ kind: 'deletePool', actor: 'o', pool });
const range = (first: number, last: number) => ({ first: FIRST + first, last: FIRST + last });
const figures = (world: World, pool = 'ssh') => world.book.poolFigures(pool);

function restOver(world: World): void {
  world.settle();
  world.pass(1_500);
  world.settle();
}

describe('creating a pool', () => {
  checkWorldsAfterEach();

  it('is refused when its ports belong to another pool, with the ports and the pool (A3)', () => {
    const world = shared();
    const reply = create(world, { pool: 'web', ranges: [range(100, 110), range(20, 50)] });
    assert.ok(reply.kind === 'refused');
    assert.deepEqual([reply.reason, reply.field, reply.metadata], ['POOL_OVERLAP', 'pool.ranges[1]', { pool: 'ssh', ports: '30020-30031' }]);
  });

  it('is refused when its own ranges overlap', () => {
    const world = shared();
    const reply = create(world, { pool: 'web', ranges: [range(100, 110), range(110, 120)] });
    assert.ok(reply.kind === 'refused');
    assert.deepEqual([reply.reason, reply.metadata], ['POOL_OVERLAP', { pool: 'web', ports: '30110' }]);
  });

  it('is refused when a reserved port is in no range, also between two of them', () => {
    const world = shared();
    for (const reserved of [range(90, 95), range(109, 121)]) {
      const reply = create(world, { pool: 'web', ranges: [range(100, 110), range(120, 130)], reserved: [reserved] });
      assert.ok(reply.kind === 'refused');
      assert.deepEqual([reply.reason, reply.field], ['INVALID_FIELD', 'pool.reserved[0]']);
    }
    assert.equal(create(world, { pool: 'web', ranges: [range(100, 110), range(111, 130)], reserved: [range(109, 121)] }).kind, 'pool');
    assert.equal(figures(world, 'web')?.reserved, 13);
  });

  it('is refused when there is one of that name, unless it is a seed: that changes nothing', () => {
    const world = shared();
    assert.equal(reasonOf(create(world, {})), 'POOL_EXISTS');
    const { sequence } = world.book;
    const reply = create(world, { ranges: [range(0, 999)] }, true);
    assert.ok(reply.kind === 'pool');
    assert.deepEqual(reply.pool.ranges, [range(0, 31)]);
    assert.equal(world.book.sequence, sequence);
  });
});

describe('changing a pool', () => {
  checkWorldsAfterEach();

  it('gives what it grows by to hosts', () => {
    const world = shared({ ranges: [range(0, 3)] });
    portsOf(world.allocate('e', 'a', [want({ count: 4 })]));
    assert.equal(reasonOf(world.allocate('f', 'a', [want()])), 'POOL_EXHAUSTED');
    assert.equal(update(world, { ranges: [range(0, 7)] }).kind, 'pool');
    assert.equal(portsOf(world.allocate('f', 'a', [want({ count: 4 })])).length, 4);
  });

  it('takes idle ports that fall out of it back from the hosts, behind the fence', () => {
    const world = shared({ ranges: [range(0, 7)], strategy: 'sequential' });
    const [port] = portsOf(world.allocate('e', 'a', [want()])) as [number];
    assert.equal(update(world, { ranges: [{ first: port, last: port + 1 }] }).kind, 'pool');
    assert.ok(world.book.leases().some(({ record }) => record.state === 'withdrawing'));
    world.settle();
    assert.deepEqual(world.book.leases().map(({ record }) => [record.first, record.last, record.state]), [[port, port + 1, 'active']]);
    assert.deepEqual(portsOf(world.allocate('e', 'a', [want({ name: 'x' })])), [port + 1]);
    assert.equal(reasonOf(world.allocate('e', 'a', [want({ name: 'y' })])), 'POOL_EXHAUSTED');
  });

  it('is refused when environments have ports in what would go, or would become reserved, with these ports (A3)', () => {
    const world = shared({ strategy: 'sequential' });
    portsOf(world.allocate('e', 'a', [want({ name: 'x', choice: { kind: 'exact', port: FIRST + 20 } }), want({ name: 'y', choice: { kind: 'exact', port: FIRST + 25 } })]));
    for (const change of [{ ranges: [range(0, 19)] }, { reserved: [range(18, 26)] }, { protocol: 'tcp+udp' as const }]) {
      const reply = update(world, change);
      assert.ok(reply.kind === 'refused');
      assert.deepEqual([reply.reason, reply.metadata], ['POOL_IN_USE', { pool: 'ssh', ports: '30020,30025' }]);
    }
    assert.equal(reasonOf(update(world, {}, 'none')), 'POOL_UNKNOWN');
  });

  it('reserves and frees single ports while it serves (A4)', () => {
    const world = shared({ ranges: [range(0, 3)] });
    portsOf(world.allocate('e', 'a', [want({ choice: { kind: 'exact', port: FIRST } })]));
    update(world, { reserved: [range(2, 2)] });
    world.settle();
    assert.equal(reasonOf(world.allocate('f', 'a', [want({ choice: { kind: 'exact', port: FIRST + 2 } })])), 'PORT_RESERVED');
    assert.equal(portsOf(world.allocate('f', 'a', [want({ count: 2 })])).length, 2);
    assert.deepEqual([figures(world)?.reserved, figures(world)?.free], [1, 0]);
    update(world, { reserved: [] });
    assert.deepEqual(portsOf(world.allocate('g', 'a', [want()])), [FIRST + 2]);
  });

  it('takes idle leases back when its protocol changes: what is granted next is served in the new one', () => {
    const world = shared({ ranges: [range(0, 7)] });
    portsOf(world.allocate('e', 'a', [want()]));
    release(world, 'e');
    restOver(world);
    assert.equal(update(world, { protocol: 'tcp+udp' }).kind, 'pool');
    const [port] = portsOf(world.allocate('f', 'a', [want()])) as [number];
    world.settle();
    const lease = world.book.leases().find(({ record }) => record.first <= port && port <= record.last);
    assert.equal(lease?.record.protocol, 'tcp+udp');
  });

  it('goes on with another strategy and quarantine from then on', () => {
    const world = shared({ ranges: [range(0, 3)], strategy: 'leastRecentlyUsed' });
    portsOf(world.allocate('e', 'a', [want({ count: 4 })]));
    world.settle();
    for (const port of [2, 0, 1, 3]) {
      world.decide({ kind: 'release', actor: 'o', selector: { kind: 'port', space: 'gw', protocol: 'tcp', port: FIRST + port } });
      world.settle();
    }
    restOver(world);
    update(world, { strategy: 'sequential', quarantineMs: 5_000 });
    assert.deepEqual(portsOf(world.allocate('f', 'a', [want({ count: 2 })])), [FIRST, FIRST + 1]);
    release(world, 'f');
    restOver(world);
    assert.equal(mappingAt(world, FIRST), 'quarantined');
  });

  it('works in scope host for each host that has it leased', () => {
    const world = hostScope({ ranges: [range(0, 3)], strategy: 'sequential' });
    portsOf(world.allocate('e', 'a', [want({ count: 2 })]));
    assert.equal(reasonOf(update(world, { ranges: [range(1, 3)] })), 'POOL_IN_USE');
    assert.equal(update(world, { ranges: [range(0, 1), range(10, 11)] }).kind, 'pool');
    assert.deepEqual(portsOf(world.allocate('f', 'a', [want({ count: 2 })])), [FIRST + 10, FIRST + 11]);
    assert.equal(reasonOf(world.allocate('g', 'a', [want()])), 'POOL_EXHAUSTED');
    assert.deepEqual(portsOf(world.allocate('h', 'b', [want({ count: 2 })])), [FIRST, FIRST + 1], 'each host has a port space of its own (A6)');
  });
});

describe('removing a pool', () => {
  checkWorldsAfterEach();

  it('is refused while environments have ports of it, with these ports', () => {
    const world = shared();
    const [port] = portsOf(world.allocate('e', 'a', [want()]));
    const reply = remove(world);
    assert.ok(reply.kind === 'refused');
    assert.deepEqual([reply.reason, reply.metadata], ['POOL_IN_USE', { pool: 'ssh', ports: `${port}` }]);
    assert.equal(reasonOf(remove(world, 'none')), 'POOL_UNKNOWN');
  });

  it('takes its leases back; agents forget them', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    release(world, 'e');
    restOver(world);
    assert.equal(remove(world).kind, 'done');
    world.settle();
    assert.deepEqual(world.book.leases(), []);
    assert.equal(agentOf(world, 'a').kernel.size, 0);
    assert.equal(agentOf(world, 'gw-1').kernel.size, 0);
  });

  it('leaves the quarantine of its ports to run: a new pool has them only afterwards (S12)', () => {
    const world = shared({ ranges: [range(0, 3)] });
    const [port] = portsOf(world.allocate('e', 'a', [want()])) as [number];
    world.settle();
    release(world, 'e');
    world.settle();
    remove(world);
    create(world, { pool: 'web', serviceType: 'web', ranges: [range(0, 7)] });
    const exact = [want({ source: { kind: 'pool', pool: 'web' }, choice: { kind: 'exact', port } })];
    assert.equal(reasonOf(world.allocate('f', 'a', exact)), 'PORT_QUARANTINED');
    restOver(world);
    assert.deepEqual(portsOf(world.allocate('f', 'a', exact)), [port]);
    assert.equal(portsOf(world.allocate('g', 'b', [want({ source: { kind: 'pool', pool: 'web' }, count: 7 })])).length, 7, 'and all others, too');
  });

  it('and creating it again keeps its figures right while ports rest and ranges are on their way back', () => {
    const world = shared({ ranges: [range(0, 7)] });
    portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    release(world, 'e');
    world.settle();
    remove(world);
    create(world, { ranges: [range(0, 7)] });
    assert.deepEqual([figures(world)?.quarantined, figures(world)?.free], [1, 7]);
    restOver(world);
    assert.deepEqual(figures(world), { total: 8, reserved: 0, leased: 0, allocated: 0, held: 0, quarantined: 0, free: 8, usagePercent: 0, draining: 0 });
    assert.equal(portsOf(world.allocate('f', 'a', [want({ count: 8 })])).length, 8);
  });

  it('or shrinking it gives the ports to a pool that has them now, once the gateway confirmed', () => {
    const world = shared({ ranges: [range(0, 7)], strategy: 'sequential' });
    portsOf(world.allocate('e', 'a', [want({ count: 8 })]));
    release(world, 'e');
    restOver(world);
    update(world, { ranges: [range(0, 3)] });
    create(world, { pool: 'web', serviceType: 'web', ranges: [range(4, 7)] });
    assert.equal(portsOf(world.allocate('f', 'b', [want({ source: { kind: 'pool', pool: 'web' }, count: 4 })])).length, 4);
  });
});
