import assert from 'node:assert/strict';
import type { MappingRecord } from '../../../coordinator/book/types.js';
import { agentOf, checkWorldsAfterEach, hostScope, mappingAt, shared } from './checked.js';
import { portsOf, want, type World } from './world.js';

const KEY = `ssh-ed25519 ${'A'.repeat(68)}`;
const OTHER = `ssh-ed25519 ${'B'.repeat(68)}`;
const DOWN = { reason: 'TUNNEL_DOWN', message: 'no connection carries it' };

function behindNat(world: World, key = KEY): void {
  agentOf(world, 'a').tunnelKey = key;
  world.hello(agentOf(world, 'a'));
  world.settle();
}

const routesOf = (world: World) => [...agentOf(world, 'gw-1').objects.values()].filter((object) => object.kind === 'route' && object.host === 'a').map((object) => (object.kind === 'route' ? object.tunnelKey : undefined));

function allocated(world: World): MappingRecord {
  portsOf(world.allocate('e', 'a', [want({ name: 'ssh' })]));
  return world.book.environment('e')?.mappings[0] as MappingRecord;
}

describe('a host behind NAT', () => {
  checkWorldsAfterEach();

  it('is routed with its key, also after a start', () => {
    const world = shared();
    behindNat(world);
    allocated(world);
    world.settle();
    assert.deepEqual(routesOf(world), [KEY]);
    world.restart();
    for (const agent of world.agents.values()) world.hello(agent);
    world.settle();
    assert.deepEqual([routesOf(world), world.book.host('a')?.record.tunnelKey], [[KEY], KEY]);
  });

  for (const [title, next] of [['another key', OTHER], ['no key any more', '']] as const) {
    it(`that has ${title} is fenced anew, as at another address (S1)`, () => {
      const world = shared();
      behindNat(world);
      const { port } = allocated(world);
      world.settle();
      agentOf(world, 'gw-1').online = false;
      agentOf(world, 'a').tunnelKey = next;
      world.hello(agentOf(world, 'a'));
      assert.deepEqual(world.book.leases().map(({ record: { state } }) => state), ['fencing']);
      agentOf(world, 'gw-1').online = true;
      world.hello(agentOf(world, 'gw-1'));
      world.settle();
      assert.deepEqual([routesOf(world), mappingAt(world, port)], [[next === '' ? undefined : next], 'live']);
    });
  }

  it('gets no port that serves UDP, and no environment that has one moves there', () => {
    const world = shared({ protocol: 'tcp+udp' });
    behindNat(world);
    const refused = world.allocate('e', 'a', [want({ protocol: undefined })]);
    assert.ok(refused.kind === 'refused' && refused.reason === 'HOST_BEHIND_TUNNEL');
    portsOf(world.allocate('e', 'a', [want({ protocol: 'tcp' })]));
    portsOf(world.allocate('f', 'b', [want({ protocol: 'udp' })]));
    world.settle();
    const moved = world.decide({ kind: 'move', actor: 'o', environment: 'f', host: 'a', targets: [], verify: false });
    assert.ok(moved.kind === 'refused' && moved.reason === 'HOST_BEHIND_TUNNEL');
  });

  it('whose connection is on its way lets a new port wait; one that is lost blocks a live one until it is back', () => {
    const world = shared();
    behindNat(world);
    const { mappingId, port } = allocated(world);
    agentOf(world, 'a').unserved.set(mappingId, DOWN);
    world.settle();
    assert.equal(mappingAt(world, port), 'pending');
    agentOf(world, 'a').unserved.clear();
    world.settle();
    assert.equal(mappingAt(world, port), 'live');
    agentOf(world, 'a').unserved.set(mappingId, DOWN);
    world.settle();
    assert.deepEqual([mappingAt(world, port), world.book.mapping(mappingId)?.reason], ['blocked', 'TUNNEL_DOWN: no connection carries it']);
    agentOf(world, 'a').unserved.clear();
    world.settle();
    assert.equal(mappingAt(world, port), 'live');
  });

  it('is none where each host has its own address', () => {
    const world = hostScope();
    agentOf(world, 'a').tunnelKey = KEY;
    world.hello(agentOf(world, 'a'));
    assert.equal(world.book.host('a')?.record.tunnelKey, '');
  });
});
