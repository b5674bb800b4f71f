import assert from 'node:assert/strict';
import type { FakeAgent } from './world.js';
import { portsOf, reasonOf, sharedWorld as newWorld, TIMING, want, type World } from './world.js';
import type { AllocateCommand, MappingRecord, PoolSpec, WantSpec } from '../../../coordinator/book/types.js';

const SMALL: Partial<PoolSpec> = { ranges: [{ first: 30_000, last: 30_003 }], strategy: 'sequential' };

/** With hosts that have applied what they were told at first. */
function sharedWorld(pool: Partial<PoolSpec>): World {
  const world = newWorld(pool);
  world.settle();
  return world;
}

function agentOf(world: World, host = 'a'): FakeAgent {
  return world.agents.get(host) as FakeAgent;
}

/** A process listens on the port from now on; undefined: not any more. */
function listens(world: World, port: number, program: string | undefined, host = 'a'): void {
  if (program === undefined) agentOf(world, host).foreign.delete(port);
  else agentOf(world, host).foreign.set(port, program);
}

/** Mappings in force of the environment. */
function inForce(world: World, environment: string): MappingRecord[] {
  return (world.book.environment(environment)?.mappings ?? []).filter(({ state }) => state !== 'releasing');
}

function stateOf(world: World, environment: string): [number, string, string][] {
  return inForce(world, environment).map(({ port, state, reason }) => [port, state, reason]);
}

function live(world: World, environment: string, over: Partial<WantSpec> = {}, of: Partial<AllocateCommand> = {}): AllocateCommand {
  const command = world.allocateCommand(environment, 'a', [want(over)], of);
  world.decide(command);
  world.settle();
  return command;
}

function events(world: World, ...kinds: string[]): [string, Record<string, unknown>][] {
  return world.tables.events.filter(({ kind }) => kinds.includes(kind)).map(({ kind, detail }) => [kind, JSON.parse(detail) as Record<string, unknown>]);
}

describe('a foreign process on a leased port', () => {
  it('is told by an event that names it, is listed, and another event says when it is gone', () => {
    const world = sharedWorld(SMALL);
    live(world, 'e');
    listens(world, 30_001, 'nginx');
    world.settle();
    world.settle();
    assert.deepEqual(events(world, 'PortConflict'), [['PortConflict', {
      space: 'gw', pool: 'ssh', protocol: 'tcp', port: 30_001, address: '0.0.0.0', user: 'www-data', pid: 812, program: 'nginx', container: '', command: '/usr/bin/program',
    }]]);
    const [view, ...others] = world.book.conflicts();
    assert.deepEqual([view?.host, view?.space, view?.pool, view?.conflict.holder?.program, view?.mapping, others.length], ['a', 'gw', 'ssh', 'nginx', undefined, 0]);
    assert.equal(world.book.explainPort('gw', 30_001)?.conflicts[0]?.holder?.program, 'nginx');
    listens(world, 30_001, undefined);
    world.settle();
    assert.deepEqual(events(world, 'PortConflictOver').map(([, { port }]) => port), [30_001]);
    assert.deepEqual(world.book.conflicts(), []);
  });

  it('is told again when it is another one, not when it was started again', () => {
    const world = sharedWorld(SMALL);
    live(world, 'e');
    for (const program of ['nginx', 'nginx', 'dnsmasq']) {
      listens(world, 30_001, program);
      world.settle();
    }
    assert.deepEqual(events(world, 'PortConflict').map(([, { program }]) => program), ['nginx', 'dnsmasq']);
  });

  it('of an agent that only tells ports is a conflict all the same', () => {
    const world = sharedWorld(SMALL);
    live(world, 'e');
    const agent = agentOf(world);
    world.decide({
      kind: 'report', host: 'a', session: agent.session, applied: agent.accepted as never, problems: [], confirmations: [], verified: [], driftRepairs: 0, occupied: [{ transport: 'tcp', port: 30_001 }],
    });
    assert.deepEqual(world.book.conflicts().map(({ conflict }) => [conflict.port, conflict.holder]), [[30_001, undefined]]);
    assert.equal(world.book.explainPort('gw', 30_001)?.condition, 'occupied');
  });

  it('does not flood the stream: 64 are told with a report, the others with the next ones', () => {
    const world = sharedWorld({ ranges: [{ first: 30_000, last: 30_255 }] });
    world.allocate('e', 'a', [want({ count: 100 })]);
    world.settle();
    for (let port = 30_000; port < 30_256; port += 1) listens(world, port, 'scanner');
    world.report(agentOf(world));
    assert.equal(events(world, 'PortConflict').length, 64);
    world.settle();
    assert.equal(events(world, 'PortConflict').length, world.book.conflicts().length);
    assert.ok(world.book.conflicts().length >= 100);
  });
});

describe('a mapping on a port that a foreign process has', () => {
  it('is blocked, keeps its number, and is live again when the process is gone', () => {
    const world = sharedWorld(SMALL);
    live(world, 'e');
    listens(world, 30_000, 'nginx');
    world.settle();
    assert.deepEqual(stateOf(world, 'e'), [[30_000, 'blocked', 'PORT_CONFLICT: nginx listens']]);
    assert.deepEqual(events(world, 'PortConflict').map(([, { tenant, port }]) => [tenant, port]), [['t1', 30_000]]);
    assert.deepEqual(world.book.conflicts()[0]?.mapping, { environment: 'e', mappingId: inForce(world, 'e')[0]?.mappingId, state: 'blocked' });
    world.pass(10_000);
    listens(world, 30_000, 'dnsmasq');
    world.settle();
    assert.deepEqual(stateOf(world, 'e'), [[30_000, 'blocked', 'PORT_CONFLICT: dnsmasq listens']]);
    listens(world, 30_000, undefined);
    world.settle();
    assert.deepEqual(stateOf(world, 'e'), [[30_000, 'live', '']]);
    assert.deepEqual(events(world, 'PortRenumbered'), []);
  });

  for (const [what, pool, over] of [['its pool says so', 'renumber', undefined], ['its want says so', 'block', 'renumber']] as const) {
    it(`gets another number when ${what}: the old one rests, and stays set aside; an event and an audit record say old and new (S2, S11, S12)`, () => {
      const world = sharedWorld({ ...SMALL, onConflict: pool });
      const command = live(world, 'e', { onConflict: over });
      const [before] = inForce(world, 'e');
      listens(world, 30_000, 'nginx');
      world.report(agentOf(world));
      const [after, ...others] = inForce(world, 'e');
      assert.deepEqual([before?.port, after?.port, others.length], [30_000, 30_001, 0]);
      assert.ok(after !== undefined && before !== undefined && after.mappingId !== before.mappingId && after.generation > before.generation);
      const numbers = { oldPort: 30_000, port: 30_001, oldMapping: before.mappingId };
      assert.deepEqual(events(world, 'PortRenumbered'), [['PortRenumbered', { tenant: 't1', space: 'gw', pool: 'ssh', protocol: 'tcp', name: 'ssh', ...numbers }]]);
      assert.deepEqual(world.tables.audits.filter(({ action }) => action === 'RenumberPort').map(({ actor, environment, detail }) => [actor, environment, JSON.parse(detail) as unknown]),
        [['coordinator', 'e', { host: 'a', mapping: after.mappingId, ...numbers }]]);
      assert.equal(world.book.mapping(before.mappingId)?.state, 'releasing');
      world.settle();
      assert.deepEqual(stateOf(world, 'e'), [[30_001, 'live', '']]);
      assert.equal(world.book.mapping(before.mappingId)?.state, 'quarantined');
      world.pass(2_000);
      world.settle();
      assert.equal(reasonOf(world.allocate('f', 'a', [want({ choice: { kind: 'exact', port: 30_000 } })])), 'PORT_TAKEN');
      assert.deepEqual(portsOf(world.decide(command)), [30_001]);
    });
  }

  it('keeps its number although the pool says otherwise when its want says so, or asked for this very number, or for a run', () => {
    const world = sharedWorld({ ranges: [{ first: 30_000, last: 30_015 }], strategy: 'sequential', onConflict: 'renumber' });
    live(world, 'said', { onConflict: 'block' });
    live(world, 'exact', { choice: { kind: 'exact', port: 30_001 } });
    live(world, 'run', { count: 2, contiguous: true });
    for (let port = 30_000; port < 30_004; port += 1) listens(world, port, 'nginx');
    world.settle();
    assert.deepEqual(['said', 'exact', 'run'].flatMap((environment) => stateOf(world, environment).map(([port, state]) => [port, state])),
      [[30_000, 'blocked'], [30_001, 'blocked'], [30_002, 'blocked'], [30_003, 'blocked']]);
    assert.deepEqual(events(world, 'PortRenumbered'), []);
  });

  it('waits, blocked, while the pool has no other port, and gets the first one that is free', () => {
    const world = sharedWorld({ ...SMALL, ranges: [{ first: 30_000, last: 30_001 }], onConflict: 'renumber' });
    live(world, 'e');
    live(world, 'f');
    listens(world, 30_000, 'nginx');
    world.settle();
    assert.deepEqual(stateOf(world, 'e').map(([port, state]) => [port, state]), [[30_000, 'blocked']]);
    world.decide({ kind: 'release', actor: 'o', selector: { kind: 'environment', environment: 'f' } });
    world.settle();
    world.pass(2_000);
    world.settle();
    assert.deepEqual(stateOf(world, 'e'), [[30_001, 'live', '']]);
  });

  it('keeps its number while its host is cordoned or silent, and gets another one when it may', () => {
    const world = sharedWorld({ ...SMALL, onConflict: 'renumber' });
    live(world, 'e');
    world.decide({ kind: 'cordonHost', actor: 'o', host: 'a', reason: 'test' });
    listens(world, 30_000, 'nginx');
    world.settle();
    assert.deepEqual(stateOf(world, 'e').map(([port, state]) => [port, state]), [[30_000, 'blocked']]);
    agentOf(world).online = false;
    world.pass(TIMING.suspectMs + TIMING.heartbeatMs);
    world.decide({ kind: 'uncordonHost', actor: 'o', host: 'a', reason: 'test' });
    world.pass(TIMING.heartbeatMs);
    assert.deepEqual(inForce(world, 'e').map(({ port }) => port), [30_000]);
    agentOf(world).online = true;
    world.pass(TIMING.heartbeatMs);
    world.settle();
    assert.deepEqual(stateOf(world, 'e'), [[30_001, 'live', '']]);
  });

  it('follows a pool that is told otherwise later', () => {
    const world = sharedWorld(SMALL);
    live(world, 'e');
    listens(world, 30_000, 'nginx');
    world.settle();
    world.decide({ kind: 'updatePool', actor: 'o', pool: 'ssh', change: { onConflict: 'renumber' }, drain: false });
    world.settle();
    assert.deepEqual(stateOf(world, 'e'), [[30_001, 'live', '']]);
  });

  it('has what was said of it still after a start of the coordinator', () => {
    const world = sharedWorld(SMALL);
    const command = live(world, 'e', { onConflict: 'renumber' });
    world.restart();
    for (const agent of world.agents.values()) world.hello(agent);
    listens(world, 30_000, 'nginx');
    world.settle();
    assert.deepEqual(stateOf(world, 'e'), [[30_001, 'live', '']]);
    world.restart();
    for (const agent of world.agents.values()) world.hello(agent);
    assert.deepEqual(portsOf(world.decide(command)), [30_001]);
  });
});

describe('a new allocation whose port turns out to be taken', () => {
  const taken = (over: Partial<WantSpec>, of: Partial<AllocateCommand>): { world: World; command: AllocateCommand } => {
    const world = sharedWorld(SMALL);
    live(world, 'other', { choice: { kind: 'exact', port: 30_003 } });
    listens(world, 30_000, 'nginx');
    // Before the host has said so.
    const command = world.allocateCommand('e', 'a', [want(over)], of);
    assert.deepEqual(portsOf(world.decide(command)), [30_000]);
    world.report(agentOf(world));
    return { world, command };
  };

  it('gets another one as long as its caller was not told the number, and a retry gets today\'s', () => {
    for (const over of [{}, { choice: { kind: 'preferred', port: 30_000 } }] as const) {
      const { world, command } = taken(over, { tellsWhenLive: true });
      assert.deepEqual(inForce(world, 'e').map(({ port, state }) => [port, state]), [[30_001, 'pending']]);
      world.settle();
      assert.deepEqual(stateOf(world, 'e'), [[30_001, 'live', '']]);
      assert.deepEqual(portsOf(world.decide(command)), [30_001]);
      assert.deepEqual(world.book.requested(command.requestId)?.made, inForce(world, 'e').map(({ mappingId }) => mappingId));
      assert.deepEqual(events(world, 'PortRenumbered').map(([, { oldPort, port }]) => [oldPort, port]), [[30_000, 30_001]]);
    }
  });

  it('is blocked and keeps the number when the caller was told it already', () => {
    const { world } = taken({}, {});
    assert.deepEqual(stateOf(world, 'e'), [[30_000, 'blocked', 'PORT_CONFLICT: nginx listens']]);
  });

  it('is blocked when a retry has told the number meanwhile', () => {
    const world = sharedWorld(SMALL);
    const command = world.allocateCommand('e', 'a', [want()], { tellsWhenLive: true });
    world.decide(command);
    world.decide({ ...command, tellsWhenLive: false });
    listens(world, 30_000, 'nginx');
    world.settle();
    assert.deepEqual(stateOf(world, 'e').map(([port, state]) => [port, state]), [[30_000, 'blocked']]);
  });

  it('is blocked when this very number was asked for, or ports without a gap', () => {
    for (const over of [{ choice: { kind: 'exact', port: 30_000 } }, { count: 2, contiguous: true }] as const) {
      const world = sharedWorld(SMALL);
      listens(world, 30_000, 'nginx');
      world.allocate('e', 'a', [want(over)], { tellsWhenLive: true });
      world.settle();
      assert.deepEqual(stateOf(world, 'e')[0]?.slice(0, 2), [30_000, 'blocked']);
    }
  });

  it('keeps its number once it has been live', () => {
    const world = sharedWorld(SMALL);
    live(world, 'e', {}, { tellsWhenLive: true });
    listens(world, 30_000, 'nginx');
    world.settle();
    assert.deepEqual(stateOf(world, 'e').map(([port, state]) => [port, state]), [[30_000, 'blocked']]);
  });

  it('counts as told after a start of the coordinator, which does not know to whom it told what', () => {
    const world = sharedWorld(SMALL);
    world.decide(world.allocateCommand('e', 'a', [want()], { tellsWhenLive: true }));
    world.restart();
    for (const agent of world.agents.values()) world.hello(agent);
    listens(world, 30_000, 'nginx');
    world.settle();
    assert.deepEqual(stateOf(world, 'e').map(([port, state]) => [port, state]), [[30_000, 'blocked']]);
  });

  it('is tried on one port after the other until one is free of others', () => {
    const world = sharedWorld(SMALL);
    for (const port of [30_000, 30_001, 30_002]) listens(world, port, 'nginx');
    live(world, 'e', {}, { tellsWhenLive: true });
    assert.deepEqual(stateOf(world, 'e'), [[30_003, 'live', '']]);
  });

  it('is blocked when there is no other port at all', () => {
    const world = sharedWorld({ ...SMALL, ranges: [{ first: 30_000, last: 30_000 }] });
    listens(world, 30_000, 'nginx');
    live(world, 'e', {}, { tellsWhenLive: true });
    assert.deepEqual(stateOf(world, 'e').map(([port, state]) => [port, state]), [[30_000, 'blocked']]);
  });

  it('waits, not blocked, while other ports are on their way from another host', () => {
    const world = sharedWorld({ ...SMALL, ranges: [{ first: 30_000, last: 30_001 }] });
    world.allocate('b1', 'b', [want({ choice: { kind: 'exact', port: 30_001 } })]);
    world.settle();
    world.decide({ kind: 'release', actor: 'o', selector: { kind: 'environment', environment: 'b1' } });
    world.settle();
    world.pass(2_000);
    world.settle();
    listens(world, 30_000, 'nginx');
    world.decide(world.allocateCommand('e', 'a', [want()], { tellsWhenLive: true }));
    world.report(agentOf(world));
    assert.deepEqual(stateOf(world, 'e').map(([port, state, reason]) => [port, state, reason]), [[30_000, 'pending', 'WAITS_FOR_OTHER_PORT']]);
    world.settle();
    world.pass(1_000);
    world.settle();
    assert.deepEqual(stateOf(world, 'e'), [[30_001, 'live', '']]);
  });
});
