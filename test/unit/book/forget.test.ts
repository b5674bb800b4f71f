import assert from 'node:assert/strict';
import { agentOf, checkWorldsAfterEach, comeBack, hostScope, lose, mappingAt, release, shared, suspect } from './checked.js';
import type { PoolSpec, Reply } from '../../../coordinator/book/types.js';
import { FakeAgent, portsOf, reasonOf, want, World } from './world.js';

const FIRST = 30_000;
type Said = { hostIsOff?: boolean; gatewayIsOff?: boolean };

const forget = (world: World, host = 'a', said: Said = {}): Reply =>
  world.decide({ kind: 'forgetHost', actor: 'operator:o', host, reason: 'sold', hostIsOff: false, gatewayIsOff: false, ...said });
const isGone = (reply: Reply): boolean => {
  assert.equal(reply.kind, 'forgotten', JSON.stringify(reply));
  return reply.kind === 'forgotten' && reply.isGone;
};
const eventsOf = (world: World, kind: string) => world.tables.events.filter((event) => event.kind === kind);
const hello = (world: World, agent: FakeAgent, admit: boolean): Reply => world.decide({
  kind: 'hello', actor: `host:${agent.host}`, host: agent.host, bootId: agent.bootId, agentVersion: '1', roles: agent.roles, addresses: [agent.address],
  lastSession: agent.session, accepted: agent.accepted, leases: [], routes: [], admit,
});

/** Who a client reaches through the gateway: host and environment that its kernel and that host's lead to. */
function reached(world: World, port: number): string | undefined {
  for (const route of agentOf(world, 'gw-1').kernel.values()) {
    if (route.kind !== 'route' || port < route.ports.first || port > route.ports.last) continue;
    const host = [...world.agents.values()].find(({ address }) => route.addresses.includes(address));
    for (const served of host?.kernel.values() ?? []) if (served.kind === 'mapping' && served.port === port) return `${served.environment} on ${host?.host}`;
  }
  return undefined;
}

/** e is on a, which was lost. */
function lostWith(pool: Partial<PoolSpec> = {}): { world: World; port: number } {
  const world = shared(pool);
  const [port] = portsOf(world.allocate('e', 'a', [want()])) as [number];
  world.settle();
  assert.equal(reached(world, port), 'e on a');
  lose(world, 'a');
  return { world, port };
}

describe('a host that is forgotten', () => {
  checkWorldsAfterEach();

  it('is simply removed when it never said hello: its role can be another one then', () => {
    const world = shared();
    const create = (roles: ('host' | 'gateway')[]) => world.decide({ kind: 'createHost', actor: 'o', host: 'c', roles, failureDomain: '', publicHost: '' });
    create(['host']);
    assert.ok(isGone(forget(world, 'c')));
    assert.equal(world.book.host('c'), undefined);
    assert.equal(create(['host']).kind, 'host');
    assert.equal(reasonOf(forget(world, 'none')), 'HOST_UNKNOWN');
  });

  it('and was to be the gateway leaves that role to another one', () => {
    const world = new World('shared');
    world.decide({ kind: 'createHost', actor: 'o', host: 'gpu-1', roles: ['gateway'], failureDomain: '', publicHost: '' });
    const gateway = new FakeAgent('gw-1', ['gateway'], '10.77.0.1');
    assert.equal(reasonOf(world.addAgent(gateway)), 'GATEWAY_HAS_AGENT');
    assert.ok(isGone(forget(world, 'gpu-1')));
    assert.equal(world.hello(gateway).kind, 'welcome');
  });

  it('is removed once the gateway confirmed that nothing leads there, and not before (S8)', () => {
    const { world, port } = lostWith();
    const reply = forget(world);
    assert.ok(reply.kind === 'forgotten');
    assert.deepEqual([reply.mappings, reply.isGone], [1, false]);
    assert.equal(world.book.host('a')?.record.duty, 'forgetting');
    assert.equal(mappingAt(world, port), 'releasing');
    world.pass(1_000);
    assert.equal(world.book.host('a')?.record.duty, 'forgetting', 'time alone removes nothing');
    world.settle();
    assert.equal(reached(world, port), undefined);
    world.pass(500);
    assert.equal(world.book.host('a'), undefined);
    assert.equal(world.tables.hosts.has('a'), false);
    assert.deepEqual(eventsOf(world, 'HostForgotten').map(({ host }) => host), ['a']);
    assert.equal(world.book.environment('e'), undefined);
  });

  it('leaves the quarantine of its ports to run in full, also over a restart (S12)', () => {
    const { world, port } = lostWith({ quarantineMs: 5_000 });
    forget(world);
    world.settle();
    world.pass(500);
    assert.equal(world.book.host('a'), undefined);
    assert.equal(mappingAt(world, port), 'quarantined');
    const exact = [want({ choice: { kind: 'exact', port } })];
    assert.equal(reasonOf(world.allocate('f', 'b', exact)), 'PORT_QUARANTINED');
    world.restart();
    for (const host of ['gw-1', 'b']) world.hello(agentOf(world, host));
    world.settle();
    world.pass(4_500);
    assert.equal(reasonOf(world.allocate('f', 'b', exact)), 'PORT_QUARANTINED');
    world.pass(1_000);
    assert.deepEqual(portsOf(world.allocate('f', 'b', exact)), [port]);
  });

  it('is unknown when it says hello again, and what it still serves is what nobody reaches (S1, S8)', () => {
    const { world, port } = lostWith();
    forget(world);
    world.settle();
    world.pass(2_000);
    portsOf(world.allocate('f', 'b', [want({ choice: { kind: 'exact', port } })]));
    world.settle();
    const old = agentOf(world, 'a');
    assert.ok([...old.kernel.values()].some((object) => object.kind === 'mapping' && object.port === port), 'its kernel serves as before');
    assert.equal(reached(world, port), 'f on b');
    old.online = true;
    assert.equal(reasonOf(hello(world, old, false)), 'NOT_ADMITTED');
    const reply = world.decide({ kind: 'heartbeat', host: 'a', session: old.session, acceptedRevision: 0, digest: '' });
    assert.equal(reasonOf(reply), 'HOST_UNKNOWN');
    assert.equal(world.report(old).kind, 'refused');
    assert.equal(reached(world, port), 'f on b');
    old.online = false;
  });

  it('starts from nothing where everybody is admitted: what it remembers is older, and serves nothing that others got (S3, S4)', () => {
    const { world, port } = lostWith();
    const { session } = agentOf(world, 'a');
    forget(world);
    world.settle();
    world.pass(2_000);
    portsOf(world.allocate('f', 'b', [want({ choice: { kind: 'exact', port } })]));
    world.settle();
    world.restart();
    for (const host of ['gw-1', 'b']) world.hello(agentOf(world, host));
    const old = agentOf(world, 'a');
    old.online = true;
    assert.equal(world.hello(old).kind, 'welcome');
    assert.equal(old.session, session + 1, 'its session numbers go on');
    assert.deepEqual([...old.objects.keys()], []);
    assert.equal(world.book.inside.forgotten.size, 0);
    world.settle();
    assert.equal(old.kernel.size, 0);
    assert.equal(reached(world, port), 'f on b');
    portsOf(world.allocate('g', 'a', [want()]));
  });

  it('may be created again, with other roles, and any machine that had the name may come (S4)', () => {
    const { world } = lostWith();
    const { session } = agentOf(world, 'a');
    forget(world);
    world.settle();
    world.pass(500);
    assert.equal(world.decide({ kind: 'createHost', actor: 'o', host: 'a', roles: ['host'], failureDomain: 'rack-1', publicHost: '' }).kind, 'host');
    world.pass(5_000);
    assert.equal(world.book.host('a')?.state, 'unknown', 'nobody has come yet');
    const empty = new FakeAgent('a', ['host'], '10.77.0.99', 'boot-9');
    assert.equal(hello(world, empty, false).kind, 'welcome');
    assert.equal(world.book.host('a')?.record.session, session + 1);
  });

  it('is refused a hello while it is being forgotten, and asked to say hello instead of being heard', () => {
    const { world } = lostWith();
    forget(world);
    const old = agentOf(world, 'a');
    old.online = true;
    assert.equal(reasonOf(hello(world, old, true)), 'NOT_ADMITTED');
    assert.deepEqual(world.decide({ kind: 'heartbeat', host: 'a', session: old.session, acceptedRevision: 0, digest: '' }), { kind: 'heartbeat', staleSession: true, rebuild: false, resolveLeaks: [] });
    old.online = false;
    for (const kind of ['cordonHost', 'uncordonHost', 'drainHost'] as const) assert.equal(reasonOf(world.decide({ kind, actor: 'o', host: 'a', reason: '' })), 'HOST_FORGETTING');
    assert.equal(reasonOf(world.decide({ kind: 'createHost', actor: 'o', host: 'a', roles: ['host'], failureDomain: '', publicHost: '' })), 'HOST_EXISTS');
  });

  it('goes on being forgotten over a restart', () => {
    const { world, port } = lostWith();
    forget(world);
    world.restart();
    world.hello(agentOf(world, 'gw-1'));
    world.decide({ kind: 'tick' });
    assert.equal(world.book.host('a')?.record.duty, 'forgetting');
    agentOf(world, 'b').online = false;
    world.settle();
    world.pass(500);
    assert.equal(world.book.host('a'), undefined);
    assert.equal(mappingAt(world, port), 'quarantined');
  });

  it('must not answer, nor be given up too early, unless it has nothing', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    assert.equal(reasonOf(forget(world)), 'HOST_NOT_LOST');
    assert.equal(reasonOf(forget(world, 'a', { hostIsOff: true })), 'HOST_NOT_LOST', 'it is not off: it answers');
    world.settle();
    suspect(world, 'a');
    assert.equal(reasonOf(forget(world)), 'HOST_NOT_LOST');
    assert.ok(!isGone(forget(world, 'a', { hostIsOff: true })), 'the gateway confirms all the same (S8)');
    world.settle();
    world.pass(500);
    assert.equal(world.book.host('a'), undefined);
    assert.ok(isGone(forget(world, 'b')), 'it answers, and has nothing');
  });

  it('waits for the gateway, whose word nothing replaces (S1)', () => {
    const { world, port } = lostWith();
    agentOf(world, 'gw-1').online = false;
    world.pass(4_000);
    assert.ok(!isGone(forget(world, 'a', { hostIsOff: true })));
    world.pass(60_000);
    assert.ok(!isGone(forget(world, 'a', { hostIsOff: true })));
    assert.equal(mappingAt(world, port), 'releasing');
    comeBack(world, 'gw-1');
    world.pass(500);
    assert.equal(world.book.host('a'), undefined);
  });

  it('is refused before the gateway said hello (S9), and while it is kept, unless it is said to be off', () => {
    const { world } = lostWith();
    world.decide({ kind: 'holdHost', actor: 'o', host: 'a', reason: '', forMs: 60_000 });
    assert.equal(reasonOf(forget(world)), 'HOST_KEPT');
    world.restart();
    assert.equal(reasonOf(forget(world, 'a', { hostIsOff: true })), 'GATEWAY_NOT_READY');
    for (const host of ['gw-1', 'b']) world.hello(agentOf(world, host));
    assert.ok(!isGone(forget(world, 'a', { hostIsOff: true })));
  });

  it('ends also what it only guards for others: it stays until that fence is confirmed', () => {
    const world = shared();
    const [port] = portsOf(world.allocate('e', 'a', [want()])) as [number];
    world.settle();
    agentOf(world, 'gw-1').online = false;
    world.decide({ kind: 'move', actor: 'o', environment: 'e', host: 'b', targets: [], verify: false });
    lose(world, 'a');
    assert.ok(!isGone(forget(world)));
    comeBack(world, 'gw-1');
    world.pass(500);
    assert.equal(world.book.host('a'), undefined);
    assert.equal(reached(world, port), 'e on b');
  });
});

describe('a host of a gateway without a fence that is forgotten', () => {
  checkWorldsAfterEach();

  function lostAlone(pool: Partial<PoolSpec> = {}): { world: World; port: number } {
    const world = hostScope(pool);
    const [port] = portsOf(world.allocate('e', 'a', [want()])) as [number];
    world.settle();
    lose(world, 'a');
    return { world, port };
  }

  it('has to be said to be off: then it goes at once, and its numbers rest as always (S12)', () => {
    const { world, port } = lostAlone({ quarantineMs: 5_000, ranges: [{ first: FIRST, last: FIRST + 3 }] });
    assert.equal(reasonOf(forget(world)), 'HOST_MAY_SERVE');
    assert.ok(isGone(forget(world, 'a', { hostIsOff: true })));
    assert.equal(world.book.host('a'), undefined);
    assert.equal(mappingAt(world, port, 'gw/a'), 'quarantined');
    const audit = world.tables.audits.at(-1);
    assert.deepEqual([audit?.action, audit?.outcome, JSON.parse(audit?.detail ?? '') as unknown], ['ForgetHost', 'ok', { host: 'a', reason: 'sold', hostIsOff: true, gatewayIsOff: false }]);
    assert.deepEqual([world.book.poolFigures('ssh')?.total, world.book.poolFigures('ssh')?.free], [4, 4], 'what is left is b');
    const again = new FakeAgent('a', ['host'], '10.77.0.55', 'boot-2');
    world.addAgent(again);
    world.settle();
    const exact = [want({ choice: { kind: 'exact', port } })];
    assert.equal(reasonOf(world.allocate('f', 'a', exact)), 'PORT_QUARANTINED');
    world.pass(5_500);
    assert.deepEqual(portsOf(world.allocate('f', 'a', exact)), [port]);
  });

  it('gets nothing new, when it was not off, before it dropped all that it served (S8, S12)', () => {
    const { world, port } = lostAlone();
    forget(world, 'a', { hostIsOff: true });
    world.pass(2_000);
    const old = agentOf(world, 'a');
    old.online = true;
    world.hello(old);
    const command = world.allocateCommand('f', 'a', [want({ choice: { kind: 'exact', port } })]);
    assert.equal(world.decide(command).kind, 'waiting');
    world.report(old);
    assert.equal(old.kernel.size, 0);
    assert.deepEqual(portsOf(world.decide(command)), [port]);
  });

  it('goes without any word when it was drained', () => {
    const world = hostScope();
    portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    world.decide({ kind: 'drainHost', actor: 'o', host: 'a', reason: '' });
    release(world, 'e');
    world.settle();
    world.pass(500);
    assert.ok(isGone(forget(world)));
  });
});

describe('the agent of a gateway that is forgotten', () => {
  checkWorldsAfterEach();

  /** e is live on a; the gateway is silent, and moving f from a to b waits for it. */
  function silentGateway(): { world: World; live: number; moving: number } {
    const world = shared();
    const [live] = portsOf(world.allocate('e', 'a', [want()])) as [number];
    const [moving] = portsOf(world.allocate('f', 'a', [want()])) as [number];
    world.settle();
    agentOf(world, 'gw-1').online = false;
    world.decide({ kind: 'move', actor: 'o', environment: 'f', host: 'b', targets: [], verify: false });
    world.pass(4_000);
    return { world, live, moving };
  }

  it('has to be said to be off, and must not answer (S1)', () => {
    const { world } = silentGateway();
    assert.equal(reasonOf(forget(world, 'gw-1')), 'GATEWAY_MAY_ROUTE');
    assert.equal(reasonOf(forget(world, 'gw-1', { hostIsOff: true })), 'GATEWAY_MAY_ROUTE');
    comeBack(world, 'gw-1');
    assert.equal(reasonOf(forget(world, 'gw-1', { gatewayIsOff: true })), 'HOST_NOT_LOST');
  });

  it('frees the role and no port: what waits for a fence waits for the next gateway, and nothing is live meanwhile (S1, S8, S12)', () => {
    const { world, live, moving } = silentGateway();
    release(world, 'e');
    agentOf(world, 'a').online = false;
    world.pass(4_000);
    assert.ok(isGone(forget(world, 'gw-1', { gatewayIsOff: true })));
    assert.equal(world.book.gatewayAgent(), undefined);
    world.pass(60_000);
    world.settle();
    assert.deepEqual([mappingAt(world, live), mappingAt(world, moving)], ['releasing', 'pending']);
    assert.equal(world.book.environment('f')?.mappings[0]?.reason, 'WAITS_FOR_FENCE');
    world.agents.delete('gw-1');
    world.addAgent(new FakeAgent('gw-1', ['gateway'], '10.77.0.2', 'another'));
    world.settle();
    assert.deepEqual([mappingAt(world, live), mappingAt(world, moving)], ['quarantined', 'live']);
    assert.equal(reached(world, moving), 'f on b');
  });

  it('gives the role to a machine of another name, and is refused itself when it was not off', () => {
    const { world } = silentGateway();
    const old = agentOf(world, 'gw-1');
    forget(world, 'gw-1', { gatewayIsOff: true });
    assert.equal(world.addAgent(new FakeAgent('gw-2', ['gateway'], '10.77.0.2')).kind, 'welcome');
    world.settle();
    old.online = true;
    assert.equal(reasonOf(hello(world, old, true)), 'GATEWAY_HAS_AGENT');
    assert.equal(reasonOf(hello(world, old, false)), 'NOT_ADMITTED');
    old.online = false;
    assert.ok(world.book.environment('e')?.mappings.every(({ state }) => state === 'live'));
  });

  it('lets a host go at once that is off, too, when no gateway is left: there is nothing that could lead to it', () => {
    const { world, live } = silentGateway();
    lose(world, 'a');
    forget(world, 'gw-1', { gatewayIsOff: true });
    assert.equal(reasonOf(forget(world)), 'GATEWAY_NOT_READY', 'it might still serve when the next gateway comes');
    assert.ok(isGone(forget(world, 'a', { hostIsOff: true })));
    assert.equal(mappingAt(world, live), 'quarantined');
    assert.equal(world.book.host('a'), undefined);
  });

  it('that is a host as well goes as a whole', () => {
    const world = shared();
    world.settle();
    const gateway = agentOf(world, 'gw-1');
    gateway.roles.push('host');
    world.hello(gateway);
    world.settle();
    const [port] = portsOf(world.allocate('e', 'gw-1', [want()])) as [number];
    world.settle();
    gateway.online = false;
    world.pass(4_000);
    assert.ok(isGone(forget(world, 'gw-1', { gatewayIsOff: true })));
    assert.equal(mappingAt(world, port), 'quarantined');
  });

  it('goes without a word once it routes nothing any more and said so', () => {
    const world = shared();
    world.settle();
    assert.ok(isGone(forget(world, 'gw-1')));
  });
});
