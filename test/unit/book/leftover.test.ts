import assert from 'node:assert/strict';
import { agentOf, checkWorldsAfterEach, comeBack, hostScope, lose, mappingAt, release, shared } from './checked.js';
import type { PoolSpec, Reply } from '../../../coordinator/book/types.js';
import { poolSpec, portsOf, reasonOf, want, type World } from './world.js';

const FIRST = 30_000;
const range = (first: number, last: number) => ({ first: FIRST + first, last: FIRST + last });
const drain = (world: World, change: Partial<Omit<PoolSpec, 'pool'>>): Reply => world.decide({ kind: 'updatePool', actor: 'o', pool: 'ssh', change, drain: true });
const exact = (port: number) => [want({ choice: { kind: 'exact' as const, port: FIRST + port } })];
const figures = (world: World) => world.book.poolFigures('ssh');
const leased = (world: World) => world.book.leases().map(({ record }) => [record.first - FIRST, record.last - FIRST, record.state]);

function restOver(world: World): void {
  world.settle();
  world.pass(1_500);
  world.settle();
}

describe('a pool that is shrunk by draining', () => {
  checkWorldsAfterEach();

  /** e has port 2, f has port 6, g had port 7. */
  function used(): World {
    const world = shared({ ranges: [range(0, 7)], strategy: 'sequential' });
    for (const [environment, port] of [['e', 2], ['f', 6], ['g', 7]] as const) portsOf(world.allocate(environment, 'a', exact(port)));
    world.settle();
    release(world, 'g');
    restOver(world);
    return world;
  }

  it('keeps serving the ports that environments have, and takes all others back behind the fence (A4)', () => {
    const world = used();
    assert.equal(drain(world, { ranges: [range(0, 3)] }).kind, 'pool');
    assert.ok(world.book.leases().some(({ record }) => record.state === 'withdrawing' && record.first === FIRST + 7), 'idle ports go behind the fence');
    world.settle();
    assert.equal(mappingAt(world, FIRST + 6), 'live');
    assert.deepEqual(leased(world).filter(([first]) => (first as number) > 3), [[6, 6, 'active']]);
    assert.deepEqual([figures(world)?.total, figures(world)?.allocated, figures(world)?.free, figures(world)?.draining], [4, 1, 3, 1]);
    assert.equal([...agentOf(world, 'a').kernel.values()].filter(({ kind }) => kind === 'mapping').length, 2);
  });

  it('gives such a port to nobody again, not even to the environment that had it, and has its lease back when it goes (S12)', () => {
    const world = used();
    drain(world, { ranges: [range(0, 3)] });
    world.settle();
    release(world, 'f');
    world.settle();
    assert.equal(reasonOf(world.allocate('f', 'a', exact(6))), 'PORT_NOT_IN_POOL');
    assert.deepEqual(leased(world).filter(([first]) => (first as number) > 3), []);
    assert.equal(mappingAt(world, FIRST + 6), 'quarantined');
    restOver(world);
    assert.equal(reasonOf(world.allocate('x', 'a', exact(6))), 'PORT_NOT_IN_POOL');
    assert.deepEqual([figures(world)?.draining, figures(world)?.free, figures(world)?.quarantined], [0, 3, 0]);
    assert.equal(portsOf(world.allocate('x', 'a', [want({ count: 3 })])).length, 3);
    assert.equal(reasonOf(world.allocate('y', 'a', [want()])), 'POOL_EXHAUSTED');
  });

  it('drains on after a restart, and while the host is lost or comes back', () => {
    const world = used();
    drain(world, { ranges: [range(0, 3)] });
    world.settle();
    world.restart();
    assert.equal(figures(world)?.draining, 1);
    for (const agent of world.agents.values()) world.hello(agent);
    world.settle();
    lose(world, 'a');
    assert.deepEqual([mappingAt(world, FIRST + 6), figures(world)?.draining], ['held', 1]);
    comeBack(world, 'a');
    assert.equal(mappingAt(world, FIRST + 6), 'live');
    assert.equal(reasonOf(world.allocate('x', 'a', exact(6))), 'PORT_NOT_IN_POOL');
    assert.deepEqual(portsOf(world.allocate('f', 'a', exact(6))), [FIRST + 6], 'who has it is told of it as before');
  });

  it('lets an environment take its number along to another host', () => {
    const world = used();
    drain(world, { ranges: [range(0, 3)] });
    world.settle();
    assert.equal(world.decide({ kind: 'move', actor: 'o', environment: 'f', host: 'b', targets: [], verify: false }).kind, 'moved');
    world.settle();
    assert.equal(mappingAt(world, FIRST + 6), 'live');
    release(world, 'f');
    world.settle();
    assert.deepEqual(leased(world).filter(([first]) => (first as number) > 3), []);
  });

  it('leaves no number to another pool before it is released (A3)', () => {
    const world = used();
    drain(world, { ranges: [range(0, 3)] });
    world.settle();
    const create = () => world.decide({ kind: 'createPool', actor: 'o', pool: poolSpec({ pool: 'web', serviceType: 'web', ranges: [range(5, 9)] }), seed: false });
    const reply = create();
    assert.ok(reply.kind === 'refused');
    assert.deepEqual([reply.reason, reply.metadata], ['POOL_OVERLAP', { pool: 'ssh', ports: '30006' }]);
    release(world, 'f');
    world.settle();
    assert.equal(create().kind, 'pool');
    const web = (port: number) => [want({ source: { kind: 'pool', pool: 'web' }, choice: { kind: 'exact', port: FIRST + port } })];
    assert.equal(reasonOf(world.allocate('h', 'b', web(6))), 'PORT_QUARANTINED');
    restOver(world);
    assert.deepEqual(portsOf(world.allocate('h', 'b', web(6))), [FIRST + 6]);
  });

  it('serves as before what it grows over again', () => {
    const world = used();
    drain(world, { ranges: [range(0, 3)] });
    world.settle();
    assert.equal(drain(world, { ranges: [range(0, 7)] }).kind, 'pool');
    assert.equal(figures(world)?.draining, 0);
    release(world, 'f');
    restOver(world);
    assert.equal(portsOf(world.allocate('x', 'b', [want({ count: 7 })])).length, 7);
  });

  it('reserves a port that an environment has, for the time after it', () => {
    const world = used();
    assert.equal(drain(world, { reserved: [range(2, 2)] }).kind, 'pool');
    assert.deepEqual([figures(world)?.reserved, figures(world)?.draining, figures(world)?.allocated, figures(world)?.free], [1, 1, 1, 6]);
    release(world, 'e');
    restOver(world);
    assert.equal(reasonOf(world.allocate('x', 'a', exact(2))), 'PORT_RESERVED');
    assert.equal(figures(world)?.free, 6);
    drain(world, { reserved: [] });
    assert.deepEqual(portsOf(world.allocate('x', 'a', exact(2))), [FIRST + 2]);
  });

  it('is changed again without draining as long as nothing more would have to go', () => {
    const world = used();
    drain(world, { ranges: [range(0, 3)] });
    const update = (change: Partial<Omit<PoolSpec, 'pool'>>): Reply => world.decide({ kind: 'updatePool', actor: 'o', pool: 'ssh', change, drain: false });
    assert.equal(update({ description: 'x' }).kind, 'pool');
    assert.equal(update({ ranges: [range(1, 3)] }).kind, 'pool');
    const reply = update({ ranges: [range(3, 3)] });
    assert.ok(reply.kind === 'refused');
    assert.deepEqual([reply.reason, reply.metadata], ['POOL_IN_USE', { pool: 'ssh', ports: '30002' }]);
    assert.equal(reasonOf(drain(world, { protocol: 'tcp+udp' })), 'POOL_IN_USE');
    assert.equal(reasonOf(world.decide({ kind: 'deletePool', actor: 'o', pool: 'ssh' })), 'POOL_IN_USE');
  });

  it('drains in scope host for each host by itself', () => {
    const world = hostScope({ ranges: [range(0, 3)], strategy: 'sequential' });
    portsOf(world.allocate('e', 'a', exact(3)));
    portsOf(world.allocate('f', 'b', exact(0)));
    world.settle();
    drain(world, { ranges: [range(0, 1)] });
    world.settle();
    assert.equal(mappingAt(world, FIRST + 3, 'gw/a'), 'live');
    assert.equal(figures(world)?.draining, 1);
    assert.equal(world.book.host('b')?.leasedPorts, 2);
    release(world, 'e');
    restOver(world);
    assert.deepEqual([figures(world)?.draining, figures(world)?.free], [0, 3]);
    assert.equal(world.book.host('a')?.leasedPorts, 2);
  });
});
