import assert from 'node:assert/strict';
import type { PortExplanation } from '../../../coordinator/book/types.js';
import { agentOf, checkWorldsAfterEach, hostScope, lose, release, shared } from './checked.js';
import { portsOf, want, type World } from './world.js';

const FIRST = 30_000;

function explained(world: World, port: number, space = 'gw'): PortExplanation {
  const found = world.book.explainPort(space, port);
  assert.ok(found !== undefined);
  return found;
}

function conditionOf(world: World, port: number, space = 'gw'): string {
  return explained(world, port, space).condition;
}

describe('what a port is doing', () => {
  checkWorldsAfterEach();

  it('follows it from free over leased, in use, releasing and resting to free in its lease', () => {
    const world = shared({ strategy: 'sequential' });
    assert.equal(conditionOf(world, FIRST), 'free');
    const atMs = world.nowMs;
    const [port = 0] = portsOf(world.allocate('e', 'a', [want()]));
    assert.equal(conditionOf(world, port + 1), 'leased');
    world.settle();
    const inUse = explained(world, port);
    assert.deepEqual([inUse.condition, inUse.sinceMs, inUse.freeAtMs, inUse.mapping?.environment, inUse.lease?.record.host, inUse.lease?.routed, inUse.holder], ['inUse', atMs, undefined, 'e', 'a', true, 'alive']);
    release(world, 'e');
    assert.equal(conditionOf(world, port), 'releasing');
    world.settle();
    const resting = explained(world, port);
    assert.deepEqual([resting.condition, resting.freeAtMs], ['resting', world.nowMs + 1_000]);
    world.pass(1_500);
    const after = explained(world, port);
    assert.deepEqual([after.condition, after.mapping, after.lastOwner], ['leased', undefined, { environment: 'e', tenant: 't1', name: 'ssh' }]);
  });

  it('says since when a number is held, and for whom', () => {
    const world = shared();
    const [port = 0] = portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    lose(world, 'a');
    const { condition, sinceMs, mapping, holder } = explained(world, port);
    assert.deepEqual([condition, sinceMs, mapping?.environment, holder], ['held', world.book.host('a')?.record.lostAtMs, 'e', 'lost']);
  });

  it('tells reserved ports, those of no pool, and what rests of a range that its pool gave up', () => {
    const world = shared({ strategy: 'sequential', reserved: [{ first: FIRST + 5, last: FIRST + 5 }] });
    assert.equal(conditionOf(world, FIRST + 5), 'reserved');
    assert.equal(conditionOf(world, 29_999), 'notInPool');
    const [port = 0] = portsOf(world.allocate('e', 'a', [want()]));
    release(world, 'e');
    world.settle();
    world.decide({ kind: 'updatePool', actor: 'o', pool: 'ssh', change: { ranges: [{ first: FIRST + 1, last: FIRST + 31 }] }, drain: true });
    assert.deepEqual([explained(world, port).condition, explained(world, port).freeAtMs], ['resting', undefined]);
  });

  it('tells a port that a process of its host listens on', () => {
    const world = shared({ strategy: 'sequential' });
    const [port = 0] = portsOf(world.allocate('e', 'a', [want()]));
    const agent = agentOf(world, 'a');
    agent.apply();
    world.decide({
      kind: 'report', host: 'a', session: agent.session, applied: agent.accepted as { epoch: number; session: number; revision: number },
      problems: [], confirmations: [], verified: [], driftRepairs: 0, occupied: [{ transport: 'tcp', port: port + 1 }],
    });
    assert.equal(conditionOf(world, port + 1), 'occupied');
  });

  it('knows the port spaces of its gateway, and no others', () => {
    const world = hostScope({ strategy: 'sequential' });
    world.allocate('e', 'a', [want()]);
    assert.equal(conditionOf(world, FIRST, 'gw/a'), 'inUse');
    assert.equal(conditionOf(world, FIRST, 'gw/b'), 'free');
    for (const space of ['gw', 'gw/none', 'xx/a', 'gw/a/b']) assert.equal(world.book.explainPort(space, FIRST), undefined, space);
    const other = shared();
    for (const space of ['gw/a', 'other']) assert.equal(other.book.explainPort(space, FIRST), undefined, space);
  });
});
