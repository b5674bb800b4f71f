import assert from 'node:assert/strict';
import { agentOf, checkWorldsAfterEach, comeBack, lose, release, shared } from './checked.js';
import type { Command, EventKind } from '../../../coordinator/book/types.js';
import { poolSpec, portsOf, want, type World } from './world.js';

const selector = { kind: 'environment' as const, environment: 'e' };
const hello = (lastSession: number): Command => ({
  kind: 'hello', actor: 'host:a', host: 'a', bootId: 'boot-1', agentVersion: '1', roles: ['host'], addresses: ['10.77.0.11'], lastSession,
  accepted: undefined, leases: [], routes: [], admit: true,
});

/** Each kind of mutation, once accepted and once refused. */
const MUTATIONS: [action: string, outcome: string, command: (world: World) => Command][] = [
  ['AllocatePorts', 'ok', (world) => world.allocateCommand('x', 'a', [want()])],
  ['AllocatePorts', 'HOST_UNKNOWN', (world) => world.allocateCommand('x', 'none', [want()])],
  ['ReleasePorts', 'ok', () => ({ kind: 'release', actor: 'scheduler:s', selector })],
  ['ReleasePorts', 'ok', () => ({ kind: 'release', actor: 'scheduler:s', selector: { kind: 'mapping', mappingId: 'none' } })],
  ['MoveEnvironment', 'ok', () => ({ kind: 'move', actor: 'o', environment: 'e', host: 'b', targets: [], verify: false })],
  ['MoveEnvironment', 'HOST_UNKNOWN', () => ({ kind: 'move', actor: 'o', environment: 'e', host: 'none', targets: [], verify: false })],
  ['CreatePool', 'ok', () => ({ kind: 'createPool', actor: 'o', pool: poolSpec({ pool: 'web', ranges: [{ first: 40_000, last: 40_009 }] }), seed: false })],
  ['CreatePool', 'POOL_EXISTS', () => ({ kind: 'createPool', actor: 'o', pool: poolSpec(), seed: false })],
  ['UpdatePool', 'ok', () => ({ kind: 'updatePool', actor: 'o', pool: 'ssh', change: { description: 'new' }, drain: false })],
  ['UpdatePool', 'POOL_UNKNOWN', () => ({ kind: 'updatePool', actor: 'o', pool: 'none', change: {}, drain: false })],
  ['DeletePool', 'POOL_IN_USE', () => ({ kind: 'deletePool', actor: 'o', pool: 'ssh' })],
  ['CreateHost', 'ok', () => ({ kind: 'createHost', actor: 'o', host: 'c', roles: ['host'], failureDomain: '', publicHost: '' })],
  ['CreateHost', 'HOST_EXISTS', () => ({ kind: 'createHost', actor: 'o', host: 'a', roles: ['host'], failureDomain: '', publicHost: '' })],
  ['ReplaceHost', 'ok', () => ({ kind: 'replaceHost', actor: 'o', host: 'a', reason: 'disk' })],
  ['ReclaimHost', 'HOST_NOT_LOST', () => ({ kind: 'reclaimHost', actor: 'o', host: 'a', reason: 'dead', override: false })],
  ['CordonHost', 'ok', () => ({ kind: 'cordonHost', actor: 'o', host: 'a', reason: '' })],
  ['CordonHost', 'HOST_UNKNOWN', () => ({ kind: 'cordonHost', actor: 'o', host: 'none', reason: '' })],
  ['UncordonHost', 'ok', () => ({ kind: 'uncordonHost', actor: 'o', host: 'a', reason: 'done' })],
  ['DrainHost', 'ok', () => ({ kind: 'drainHost', actor: 'o', host: 'a', reason: 'disk' })],
  ['HoldHost', 'ok', () => ({ kind: 'holdHost', actor: 'o', host: 'a', reason: '', forMs: 7_200_000 })],
  ['ForgetHost', 'HOST_NOT_LOST', () => ({ kind: 'forgetHost', actor: 'o', host: 'a', reason: 'sold', hostIsOff: true, gatewayIsOff: false })],
  ['ForgetHost', 'ok', () => ({ kind: 'forgetHost', actor: 'o', host: 'b', reason: 'sold', hostIsOff: false, gatewayIsOff: false })],
  ['OverrideMassLoss', 'ok', () => ({ kind: 'overrideMassLoss', actor: 'o', failureDomain: '', reason: 'gone', forMs: 60_000 })],
  ['OverrideMassLoss', 'INVALID_FIELD', () => ({ kind: 'overrideMassLoss', actor: 'o', failureDomain: 'none', reason: 'gone', forMs: 60_000 })],
  ['HoldHost', 'HOST_UNKNOWN', () => ({ kind: 'holdHost', actor: 'o', host: 'none', reason: '', forMs: 1 })],
  ['Session', 'SECOND_MACHINE', () => hello(0)],
  ['Session', 'ok', (world) => hello(agentOf(world, 'a').session)],
  ['AllocatePorts', 'NOT_ADMITTED', () => ({ kind: 'noteRefusal', actor: 'x', action: 'AllocatePorts', reason: 'NOT_ADMITTED', environment: 'e', requestId: 'r', detail: '{}' })],
];

describe('the audit', () => {
  checkWorldsAfterEach();

  for (const [action, outcome, make] of MUTATIONS) {
    it(`has one record of ${action}, ${outcome}, in the same transaction (S11)`, () => {
      const world = shared();
      portsOf(world.allocate('e', 'a', [want()]));
      world.settle();
      const before = world.tables.audits.length;
      const { sequence } = world.book;
      const command = make(world);
      world.decide(command);
      const records = world.tables.audits.slice(before);
      assert.equal(records.length, 1);
      const [record] = records;
      assert.deepEqual([record?.action, record?.outcome, record?.actor, record?.atMs], [action, outcome, (command as { actor: string }).actor, world.nowMs]);
      assert.equal(record?.sequence, sequence + 1, 'the sequence of the decision');
      assert.doesNotThrow(() => JSON.parse(record?.detail ?? '') as unknown);
    });
  }

  it('has none of reads, heartbeats, reports, ticks, seeds that change nothing, and of a request that waits until it is answered', () => {
    const world = shared({ ranges: [{ first: 30_000, last: 30_003 }] });
    portsOf(world.allocate('e', 'b', [want({ count: 3 })]));
    world.settle();
    const before = world.tables.audits.length;
    world.pass(1_000);
    world.settle();
    world.decide({ kind: 'createPool', actor: 'config', pool: poolSpec(), seed: true });
    assert.equal(world.tables.audits.length, before);
    const command = world.allocateCommand('f', 'a', [want()]);
    assert.equal(world.decide(command).kind, 'waiting');
    assert.equal(world.tables.audits.length, before);
    world.settle();
    assert.equal(world.decide(command).kind, 'allocated');
    assert.equal(world.tables.audits.length, before + 1);
  });
});

describe('the events of a gateway', () => {
  checkWorldsAfterEach();
  const since = (world: World, from: number) => world.tables.events.slice(from);
  const kinds = (world: World, from: number): EventKind[] => since(world, from).map(({ kind }) => kind);

  it('tell the life of a port from allocation to its next use', () => {
    const world = shared();
    const from = world.tables.events.length;
    portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    release(world, 'e');
    world.settle();
    world.pass(1_000);
    assert.deepEqual(kinds(world, from), ['LeaseGranted', 'PortAllocated', 'PortChanged', 'PortChanged', 'PortReleased', 'PortAvailable']);
    for (const event of since(world, from).filter(({ kind }) => kind.startsWith('Port'))) {
      assert.deepEqual([event.environment, event.host], ['e', 'a']);
      assert.deepEqual(Object.keys(JSON.parse(event.detail) as object), ['tenant', 'space', 'pool', 'protocol', 'port', 'state', 'reason'].slice(0, event.detail.includes('reason') ? 7 : 6));
    }
  });

  it('tell the life of a host and of its leases', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    const from = world.tables.events.length;
    lose(world, 'a');
    comeBack(world, 'a');
    assert.deepEqual(kinds(world, from), ['HostSuspect', 'HostLost', 'LeaseExpired', 'PortChanged', 'HostAlive', 'LeaseRenewed', 'PortChanged']);
    const again = world.tables.events.length;
    lose(world, 'a');
    world.decide({ kind: 'reclaimHost', actor: 'o', host: 'a', reason: 'dead', override: false });
    world.settle();
    assert.ok(kinds(world, again).includes('LeaseReclaimed') && kinds(world, again).includes('PortReleased'));
  });

  it('tell of pools', () => {
    const world = shared();
    const from = world.tables.events.length;
    world.decide({ kind: 'createPool', actor: 'o', pool: poolSpec({ pool: 'web', ranges: [{ first: 40_000, last: 40_009 }] }), seed: false });
    world.decide({ kind: 'updatePool', actor: 'o', pool: 'web', change: { description: 'x' }, drain: false });
    world.decide({ kind: 'deletePool', actor: 'o', pool: 'web' });
    assert.deepEqual(kinds(world, from), ['PoolCreated', 'PoolUpdated', 'PoolDeleted']);
  });

  it('are ordered by the book sequence, over restarts as well', () => {
    const world = shared();
    for (let n = 0; n < 4; n += 1) {
      portsOf(world.allocate(`e${n}`, 'a', [want()]));
      world.restart();
      for (const host of ['gw-1', 'a', 'b']) comeBack(world, host);
    }
    const sequences = world.tables.events.map(({ sequence }) => sequence);
    assert.deepEqual(sequences, [...sequences].sort((a, b) => a - b));
    for (const { detail } of world.tables.events) assert.equal(typeof JSON.parse(detail), 'object');
  });
});
