import assert from 'node:assert/strict';
import { agentOf, checkWorldsAfterEach, comeBack, hostScope, lose, release, shared } from './checked.js';
import type { Command, HelloCommand, MappingState, Reply, ReportCommand } from '../../../coordinator/book/types.js';
import { FakeAgent, portsOf, reasonOf, TIMING, want, type World } from './world.js';

function hello(world: World, host: string, over: Partial<HelloCommand> = {}): Reply {
  const agent = agentOf(world, host);
  return world.decide({
    kind: 'hello', actor: `host:${host}`, host, bootId: agent.bootId, agentVersion: '1', roles: agent.roles, addresses: [agent.address],
    lastSession: agent.session, accepted: agent.accepted, leases: [], routes: [], admit: true, ...over,
  });
}

function report(world: World, host: string, over: Partial<ReportCommand> = {}): Reply {
  const agent = agentOf(world, host);
  return world.decide({
    kind: 'report', host, session: agent.session, applied: agent.accepted ?? { epoch: 0, session: 0, revision: 0 }, problems: [], confirmations: [],
    verified: [], driftRepairs: 0, occupied: [], ...over,
  });
}

const beat = (world: World, host: string, over: Partial<Extract<Command, { kind: 'heartbeat' }>> = {}): Reply => {
  const agent = agentOf(world, host);
  return world.decide({ kind: 'heartbeat', host, session: agent.session, acceptedRevision: agent.accepted?.revision ?? 0, digest: agent.digest(), ...over });
};

const stateOf = (world: World, environment: string): MappingState | undefined => world.book.environment(environment)?.mappings[0]?.state;

describe('a hello', () => {
  checkWorldsAfterEach();

  it('is answered with a session number that grows and is durable (S4)', () => {
    const world = shared();
    const first = agentOf(world, 'a').session;
    comeBack(world, 'a');
    assert.equal(agentOf(world, 'a').session, first + 1);
    world.restart();
    comeBack(world, 'a');
    assert.equal(agentOf(world, 'a').session, first + 2);
    assert.equal(world.tables.hosts.get('a')?.session, first + 2);
  });

  it('of a second machine with the same host id is refused, with an event (S4)', () => {
    const world = shared();
    for (const lastSession of [0, agentOf(world, 'a').session - 1]) {
      assert.equal(reasonOf(hello(world, 'a', { lastSession, accepted: undefined, bootId: 'other' })), 'SECOND_MACHINE');
      if (lastSession === 0) comeBack(world, 'a');
    }
    assert.equal(world.tables.events.filter(({ kind, host }) => kind === 'HostRefused' && host === 'a').length, 2);
    assert.equal(world.book.host('a')?.record.bootId, 'boot-1');
    assert.deepEqual(beat(world, 'a'), { kind: 'heartbeat', staleSession: false, rebuild: false, resolveLeaks: [] }, 'the first machine goes on');
  });

  it('whose welcome was lost on its way may be said again: it locks nobody out', () => {
    const world = shared();
    for (let n = 0; n < 3; n += 1) assert.equal(hello(world, 'a').kind, 'welcome');
    comeBack(world, 'a');
    portsOf(world.allocate('e', 'a', [want()]));
  });

  it('makes the session before it stale, for heartbeats and reports', () => {
    const world = shared();
    const before = agentOf(world, 'a').session;
    comeBack(world, 'a');
    assert.deepEqual(beat(world, 'a', { session: before }), { kind: 'heartbeat', staleSession: true, rebuild: false, resolveLeaks: [] });
    assert.equal(reasonOf(report(world, 'a', { session: before })), 'STALE_SESSION');
    assert.equal(reasonOf(beat(world, 'a', { host: 'none' })), 'HOST_UNKNOWN');
  });

  it('of a machine that takes the place of another is taken once an operator said so, and only once', () => {
    const world = shared();
    assert.equal(world.decide({ kind: 'replaceHost', actor: 'o', host: 'a', reason: 'new disk' }).kind, 'host');
    const reply = hello(world, 'a', { lastSession: 0, accepted: undefined, bootId: 'new' });
    assert.ok(reply.kind === 'welcome');
    world.decide({ kind: 'heartbeat', host: 'a', session: reply.session, acceptedRevision: 0, digest: '' });
    assert.equal(reasonOf(hello(world, 'a', { lastSession: 0, accepted: undefined })), 'SECOND_MACHINE');
    assert.equal(reasonOf(world.decide({ kind: 'replaceHost', actor: 'o', host: 'none', reason: '' })), 'HOST_UNKNOWN');
    agentOf(world, 'a').session = reply.session;
  });

  it('that takes the place of another may say the same hello again when its welcome was lost on the way, until it used the session (S4)', () => {
    const world = shared();
    const old = agentOf(world, 'a');
    world.decide({ kind: 'replaceHost', actor: 'o', host: 'a', reason: 'new disk' });
    const empty = (): Reply => world.decide({
      kind: 'hello', actor: 'host:a', host: 'a', bootId: 'boot-new', agentVersion: '1', driver: 'iptables', roles: ['host'], addresses: ['10.77.0.11'], lastSession: 0,
      accepted: undefined, state: undefined, leases: [], routes: [], admit: false,
    });
    const first = empty();
    assert.equal(first.kind, 'welcome');
    const second = empty();
    assert.ok(second.kind === 'welcome' && first.kind === 'welcome' && second.session === first.session + 1);
    world.decide({ kind: 'heartbeat', host: 'a', session: second.session, acceptedRevision: 0, digest: '' });
    assert.equal(reasonOf(empty()), 'SECOND_MACHINE');
    assert.equal(reasonOf(world.hello(old)), 'SECOND_MACHINE', 'as is the one that it replaced');
    old.online = false;
  });

  it('that knows more than the database proves that the database is an old copy, and is asked for its state (S9)', () => {
    const world = shared();
    const agent = agentOf(world, 'a');
    const accepted = agent.accepted as { epoch: number; session: number; revision: number };
    assert.equal(reasonOf(hello(world, 'a', { lastSession: agent.session + 5 })), 'STATE_NEEDED');
    assert.equal(reasonOf(hello(world, 'a', { accepted: { ...accepted, epoch: accepted.epoch + 1 } })), 'STATE_NEEDED');
    assert.equal(reasonOf(hello(world, 'a', { accepted: { ...accepted, revision: 1_000_000 } })), 'STATE_NEEDED');
    assert.equal(reasonOf(hello(world, 'a', { host: 'stranger', lastSession: 3 })), 'STATE_NEEDED');
    assert.equal(world.book.host('stranger'), undefined);
  });

  it('of an agent that has no rules in the kernel is taken in scope host only (S7)', () => {
    const world = shared();
    const { session } = agentOf(world, 'a');
    assert.equal(reasonOf(hello(world, 'a', { driver: 'userspace' })), 'DRIVER_NOT_ADMITTED');
    assert.equal(world.tables.hosts.get('a')?.session, session);
    assert.equal(hello(world, 'a', { driver: 'iptables' }).kind, 'welcome');
    assert.equal(hello(hostScope(), 'a', { driver: 'userspace' }).kind, 'welcome');
  });

  it('of an unknown host is taken where the config admits it, and only with the roles it was created with where not', () => {
    const world = shared();
    world.agents.set('c', new FakeAgent('c', ['host'], '10.77.0.13'));
    assert.equal(reasonOf(hello(world, 'c', { admit: false })), 'NOT_ADMITTED');
    world.decide({ kind: 'createHost', actor: 'o', host: 'c', roles: ['host'], failureDomain: 'rack-1', publicHost: 'c.example' });
    assert.equal(reasonOf(hello(world, 'c', { admit: false, roles: ['host', 'gateway'] })), 'NOT_ADMITTED');
    assert.equal(world.hello(agentOf(world, 'c')).kind, 'welcome');
    const { failureDomain, publicHost } = world.book.host('c')?.record as { failureDomain: string; publicHost: string };
    assert.deepEqual([failureDomain, publicHost], ['rack-1', 'c.example']);
  });

  it('does not give a gateway two agents, nor scope host one', () => {
    const world = shared();
    world.agents.set('c', new FakeAgent('c', ['gateway'], '10.77.0.13'));
    assert.equal(reasonOf(hello(world, 'c')), 'GATEWAY_HAS_AGENT');
    assert.equal(reasonOf(world.decide({ kind: 'createHost', actor: 'o', host: 'c', roles: ['gateway'], failureDomain: '', publicHost: '' })), 'GATEWAY_HAS_AGENT');
    const hosts = hostScope();
    assert.equal(reasonOf(hello(hosts, 'a', { roles: ['host', 'gateway'] })), 'INVALID_FIELD');
  });

  it('of a host that gives the gateway role up makes room for another agent, and tells the old one no routes', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    const reply = hello(world, 'gw-1', { roles: ['host'] });
    assert.ok(reply.kind === 'welcome');
    assert.deepEqual(reply.state.upserts, []);
    assert.equal(world.book.gatewayAgent(), undefined);
    report(world, 'gw-1', { session: reply.session, applied: reply.state.version });
    world.agents.delete('gw-1');
    world.addAgent(new FakeAgent('gw-2', ['gateway'], '10.77.0.2'));
    world.settle();
    assert.equal([...agentOf(world, 'gw-2').kernel.values()].filter(({ kind }) => kind === 'route').length, world.book.leases().length);
  });

  it('with other addresses fences the routes to the host anew (S1)', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    const reply = hello(world, 'a', { addresses: ['fd00::11', '10.77.0.99', '10.77.0.98'] });
    assert.ok(reply.kind === 'welcome');
    assert.deepEqual(reply.state.upserts.map(({ kind }) => kind), ['lease'], 'it guards the ports, and serves nothing before the fence');
    report(world, 'a', { session: reply.session, applied: reply.state.version });
    const routes = [...agentOf(world, 'gw-1').objects.values()].filter((object) => object.kind === 'route' && object.host === 'a');
    assert.ok(routes.length > 0);
    for (const route of routes) assert.deepEqual(route.kind === 'route' && [route.fence, route.addresses], [true, ['10.77.0.99', 'fd00::11']], 'one of each family, IPv4 first');
    comeBack(world, 'a');
  });

  it('of the gateway is told in its snapshot alone what it has to do for silent hosts, not by a change before that', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    lose(world, 'a');
    world.restart();
    release(world, 'e');
    const { host, bootId, roles, address, session, accepted } = agentOf(world, 'gw-1');
    const decision = world.book.decide({ kind: 'hello', actor: 'h', host, bootId, agentVersion: '1', roles, addresses: [address], lastSession: session, accepted, leases: [], routes: [], admit: true }, world.nowMs);
    assert.ok(decision.reply.kind === 'welcome');
    assert.deepEqual(decision.pushes.filter((push) => push.host === 'gw-1'), []);
    assert.ok(decision.reply.state.upserts.some(({ kind }) => kind === 'withdrawal'));
    comeBack(world, 'gw-1');
  });

  it('begins with a snapshot of all that the host is to bring about', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want({ count: 2 })]));
    portsOf(world.allocate('f', 'a', [want()]));
    release(world, 'f');
    const reply = hello(world, 'a');
    assert.ok(reply.kind === 'welcome');
    assert.equal(reply.state.base, undefined);
    assert.deepEqual(reply.state.upserts.map(({ kind }) => kind).sort(), ['lease', 'mapping', 'mapping', 'release']);
    comeBack(world, 'a');
  });
});

describe('a heartbeat', () => {
  checkWorldsAfterEach();

  it('asks for a new stream when its digest stays behind for three of them, not when the agent gets on', () => {
    const world = shared();
    const agent = agentOf(world, 'a');
    const accepted = agent.accepted?.revision as number;
    portsOf(world.allocate('e', 'a', [want()]));
    const rebuilds = (digest: string, revision: number): boolean => {
      const reply = beat(world, 'a', { digest, acceptedRevision: revision });
      assert.ok(reply.kind === 'heartbeat');
      return reply.rebuild;
    };
    assert.deepEqual([rebuilds('0', accepted), rebuilds('0', accepted)], [false, false]);
    assert.equal(rebuilds(agent.digest(), agent.accepted?.revision as number), false, 'it has caught up');
    assert.deepEqual([1, 2, 3].map(() => rebuilds('0', agent.accepted?.revision as number)), [false, false, true], 'the same revision with another digest');
  });

  it('says nothing while the agent follows, whatever happens', () => {
    const world = shared();
    for (let n = 0; n < 8; n += 1) {
      portsOf(world.allocate(`e${n}`, n % 2 === 0 ? 'a' : 'b', [want({ count: 2 })]));
      if (n % 3 === 0) release(world, `e${n}`);
      world.settle();
      for (const host of ['a', 'b', 'gw-1']) assert.deepEqual(beat(world, host), { kind: 'heartbeat', staleSession: false, rebuild: false, resolveLeaks: [] });
    }
  });
});

describe('a mapping', () => {
  checkWorldsAfterEach();

  it('is live when its host and the gateway applied it, not before', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    assert.equal(stateOf(world, 'e'), 'pending');
    world.report(agentOf(world, 'a'));
    assert.equal(stateOf(world, 'e'), 'pending', 'the gateway has no route yet');
    world.report(agentOf(world, 'gw-1'));
    assert.equal(stateOf(world, 'e'), 'live');
    const other = shared();
    portsOf(other.allocate('e', 'a', [want()]));
    other.report(agentOf(other, 'gw-1'));
    assert.equal(stateOf(other, 'e'), 'pending', 'the host has no rule yet');
    other.report(agentOf(other, 'a'));
    assert.equal(stateOf(other, 'e'), 'pending', 'the gateway is told the route only now that the host guards its ports');
    other.report(agentOf(other, 'gw-1'));
    assert.equal(stateOf(other, 'e'), 'live');
  });

  it('in scope host is live when its host applied it', () => {
    const world = hostScope();
    portsOf(world.allocate('e', 'a', [want()]));
    world.report(agentOf(world, 'a'));
    assert.equal(stateOf(world, 'e'), 'live');
  });

  it('is not live by a report of an older revision, epoch or session', () => {
    const world = hostScope();
    const before = agentOf(world, 'a').accepted as { epoch: number; session: number; revision: number };
    portsOf(world.allocate('e', 'a', [want()]));
    const now = agentOf(world, 'a').accepted as typeof before;
    report(world, 'a', { applied: before });
    report(world, 'a', { applied: { ...now, epoch: now.epoch - 1 } });
    report(world, 'a', { applied: { ...now, session: now.session - 1 } });
    assert.equal(stateOf(world, 'e'), 'pending');
    report(world, 'a', { applied: now });
    assert.equal(stateOf(world, 'e'), 'live');
  });

  it('becomes blocked with the words of the host, and live again when the problem is gone', () => {
    const world = shared();
    const reply = world.allocate('e', 'a', [want()]);
    assert.ok(reply.kind === 'allocated');
    world.settle();
    const key = `mapping/${reply.mappings[0]?.mappingId}`;
    report(world, 'a', { problems: [{ key, reason: 'TARGET_REFUSED', message: '10.0.0.5 is not allowed' }] });
    assert.deepEqual([stateOf(world, 'e'), world.book.environment('e')?.mappings[0]?.reason], ['blocked', 'TARGET_REFUSED: 10.0.0.5 is not allowed']);
    report(world, 'a');
    assert.equal(stateOf(world, 'e'), 'live');
  });

  it('that was blocked is live again also when host or coordinator restarted meanwhile', () => {
    for (const restart of [(world: World) => world.restart(), () => undefined]) {
      const world = shared();
      const reply = world.allocate('e', 'a', [want()]);
      assert.ok(reply.kind === 'allocated');
      report(world, 'a', { problems: [{ key: `mapping/${reply.mappings[0]?.mappingId}`, reason: 'X', message: 'y' }] });
      assert.equal(stateOf(world, 'e'), 'blocked');
      restart(world);
      comeBack(world, 'gw-1');
      comeBack(world, 'a');
      assert.equal(stateOf(world, 'e'), 'live');
    }
  });

  it('is not blocked by another host, nor by a problem of what it was before', () => {
    const world = shared();
    const reply = world.allocate('e', 'a', [want()]);
    assert.ok(reply.kind === 'allocated');
    world.settle();
    const problems = [{ key: `mapping/${reply.mappings[0]?.mappingId}`, reason: 'X', message: 'y' }];
    report(world, 'b', { problems });
    assert.equal(stateOf(world, 'e'), 'live');
    const before = agentOf(world, 'a').accepted;
    world.decide({ kind: 'move', actor: 'o', environment: 'e', host: 'a', targets: [{ name: 'ssh', target: { kind: 'address', address: '10.0.0.6' }, internalPort: 0 }], verify: false });
    report(world, 'a', { problems, applied: before as never });
    assert.equal(stateOf(world, 'e'), 'pending');
    world.settle();
    assert.equal(stateOf(world, 'e'), 'live');
  });

  it('is pending again after its host rebooted, until that has its rules back; an agent restart leaves it live', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    world.hello(agentOf(world, 'a'));
    assert.equal(stateOf(world, 'e'), 'live');
    agentOf(world, 'a').bootId = 'boot-2';
    world.hello(agentOf(world, 'a'));
    assert.equal(stateOf(world, 'e'), 'pending');
    world.settle();
    assert.equal(stateOf(world, 'e'), 'live');
  });

  it('that is new waits for a gateway that rebooted to have its routes back', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    agentOf(world, 'gw-1').bootId = 'boot-2';
    world.hello(agentOf(world, 'gw-1'));
    portsOf(world.allocate('e', 'a', [want({ name: 'more' })]));
    world.report(agentOf(world, 'a'));
    assert.equal(world.book.environment('e')?.mappings[1]?.state, 'pending');
    world.report(agentOf(world, 'gw-1'));
    assert.equal(world.book.environment('e')?.mappings[1]?.state, 'live');
  });

  it('is verified when its host says that the target answered, and says so again only after a change', () => {
    const world = shared();
    const reply = world.allocate('e', 'a', [want()], { verify: true });
    assert.ok(reply.kind === 'allocated');
    const id = reply.mappings[0]?.mappingId as string;
    world.settle();
    assert.equal(world.book.isVerified(id), false);
    report(world, 'b', { verified: [id] });
    assert.equal(world.book.isVerified(id), false);
    report(world, 'a', { verified: [id] });
    assert.equal(world.book.isVerified(id), true);
    world.decide({ kind: 'move', actor: 'o', environment: 'e', host: 'b', targets: [], verify: true });
    assert.equal(world.book.isVerified(id), false);
  });

  it('is not put on a port that a foreign process of the host listens on, until that is gone', () => {
    const world = shared({ ranges: [{ first: 30_000, last: 30_003 }], strategy: 'sequential' });
    portsOf(world.allocate('e', 'a', [want()]));
    report(world, 'a', { occupied: [{ transport: 'tcp', port: 30_001 }] });
    const taken = world.allocate('f', 'a', [want({ choice: { kind: 'exact', port: 30_001 } })]);
    assert.ok(taken.kind === 'refused' && taken.reason === 'PORT_TAKEN' && taken.message.includes('listens'));
    assert.deepEqual(portsOf(world.allocate('f', 'a', [want({ count: 2 })])), [30_002, 30_003]);
    assert.equal(reasonOf(world.allocate('g', 'a', [want()])), 'POOL_EXHAUSTED');
    report(world, 'a');
    assert.deepEqual(portsOf(world.allocate('g', 'a', [want()])), [30_001]);
  });

  it('is not put on such a port either when that is leased to the host only now', () => {
    const world = hostScope({ ranges: [{ first: 30_000, last: 30_003 }], strategy: 'sequential' });
    report(world, 'a', { occupied: [{ transport: 'tcp', port: 30_000 }] });
    assert.deepEqual(portsOf(world.allocate('e', 'a', [want({ count: 3 })])), [30_001, 30_002, 30_003]);
  });

  it('keeps the drift repairs and the age of the last heartbeat of its host for whoever looks', () => {
    const world = shared();
    report(world, 'a', { driftRepairs: 7 });
    lose(world, 'b');
    assert.equal(world.book.host('a')?.driftRepairs, 7);
    assert.ok((world.book.host('b')?.heartbeatAgeMs as number) > TIMING.lostMs);
  });
});
