import assert from 'node:assert/strict';
import type { DesiredObject, Reply, TunnelCommand, TunnelView } from '../../../coordinator/book/types.js';
import type { TunnelReport, TunnelSpec, TunnelState } from '../../../shared/tunnel.js';
import { tunnelReport, tunnelSpec } from '../../support/tunnels.js';
import { agentOf, backUp, checkWorldsAfterEach, comeBack, hostScope, lose, shared } from './checked.js';
import { FakeAgent, reasonOf, type World } from './world.js';

const ACTOR = 'operator:o';

function create(world: World, spec: Partial<TunnelSpec> = {}): Reply {
  return world.decide({ kind: 'createTunnel', actor: ACTOR, spec: tunnelSpec(spec) });
}

function ask(world: World, kind: Exclude<TunnelCommand['kind'], 'createTunnel'>, tunnel = 'db'): Reply {
  return world.decide({ kind, actor: ACTOR, host: 'a', tunnel, reason: 'why' });
}

/** The host says so of one tunnel that it was told of, or of one of its config, and of no other. */
function say(world: World, state: TunnelState, more: Partial<TunnelReport> = {}): void {
  const agent = agentOf(world, 'a');
  agent.tunnels = [tunnelReport({ state, restart: objectOf(world)?.restart ?? 0, ...more })];
  world.report(agent);
}

function objectOf(world: World, tunnel = 'db'): Extract<DesiredObject, { kind: 'tunnel' }> | undefined {
  const object = agentOf(world, 'a').objects.get(`tunnel/${tunnel}`);
  return object?.kind === 'tunnel' ? object : undefined;
}

function viewOf(world: World, tunnel = 'db'): TunnelView {
  const view = world.book.tunnel('a', tunnel);
  assert.ok(view !== undefined, `there is no tunnel ${tunnel}`);
  return view;
}

const told = (world: World) => world.tables.events.filter(({ kind }) => kind.startsWith('Tunnel')).map(({ kind, detail }) => {
  const { reason = '' } = JSON.parse(detail) as { reason?: string };
  return reason === '' ? kind : `${kind} ${reason}`;
});
const audits = (world: World) => world.tables.audits.filter(({ action }) => action.endsWith('Tunnel')).map(({ action, outcome }) => `${action} ${outcome}`);

describe('a tunnel in the book', () => {
  checkWorldsAfterEach();

  it('is recorded and told to its host in one decision, and is pending until that says something', () => {
    const world = shared();
    const reply = create(world);
    assert.ok(reply.kind === 'tunnel' && !reply.replayed);
    assert.deepEqual(objectOf(world)?.spec, tunnelSpec());
    assert.deepEqual([viewOf(world).state, viewOf(world).isFromConfig, viewOf(world).revision], ['pending', false, world.book.sequence]);
    assert.deepEqual([...world.tables.tunnels.keys()], ['a/db']);
    assert.deepEqual(audits(world), ['CreateTunnel ok']);
  });

  it('is the same when the same spec comes again, which leaves no further record, and refused with what differs otherwise', () => {
    const world = shared();
    create(world);
    const before = world.book.sequence;
    const again = create(world);
    assert.ok(again.kind === 'tunnel' && again.replayed);
    assert.equal(world.book.sequence, before);
    const other = create(world, { server: 'other', options: { Compression: 'yes' } });
    assert.equal(reasonOf(other), 'TUNNEL_EXISTS');
    assert.deepEqual(other.kind === 'refused' && other.metadata, { host: 'a', tunnel: 'db', fields: 'server,options' });
    assert.deepEqual(audits(world), ['CreateTunnel ok', 'CreateTunnel TUNNEL_EXISTS']);
  });

  it('is refused where there is no such host, and beyond 256 of one host', () => {
    const world = shared();
    assert.equal(reasonOf(create(world, { host: 'absent' })), 'HOST_UNKNOWN');
    for (let i = 0; i < 256; i += 1) assert.equal(create(world, { tunnel: `t-${i}` }).kind, 'tunnel');
    assert.equal(reasonOf(create(world)), 'TOO_MANY_TUNNELS');
    assert.equal(create(world, { host: 'b' }).kind, 'tunnel');
    assert.equal(create(world, { tunnel: 't-9' }).kind, 'tunnel', 'one that is there');
  });

  it('is restarted by a number that grows; until its host has heard of that, the former connection is ending', () => {
    const world = shared();
    create(world);
    say(world, 'up');
    const former = objectOf(world)?.restart ?? 0;
    assert.equal(ask(world, 'restartTunnel').kind, 'tunnel');
    assert.ok((objectOf(world)?.restart ?? 0) > former);
    say(world, 'up', { restart: former });
    assert.equal(viewOf(world).state, 'ending');
    say(world, 'up');
    assert.equal(viewOf(world).state, 'up');
    assert.deepEqual(audits(world), ['CreateTunnel ok', 'RestartTunnel ok']);
    assert.match(world.tables.audits.at(-1)?.detail ?? '', /"reason":"why"/);
  });

  it('is stopped until it is started, and not restarted meanwhile', () => {
    const world = shared();
    create(world);
    say(world, 'up');
    const { restart } = objectOf(world) ?? {};
    ask(world, 'stopTunnel');
    assert.deepEqual([objectOf(world)?.isStopped, viewOf(world).state], [true, 'ending']);
    say(world, 'stopped');
    assert.equal(viewOf(world).state, 'stopped');
    assert.equal(reasonOf(ask(world, 'restartTunnel')), 'TUNNEL_STOPPED');
    ask(world, 'startTunnel');
    assert.deepEqual([objectOf(world)?.isStopped, objectOf(world)?.restart, viewOf(world).state], [false, restart, 'pending']);
    assert.deepEqual(told(world), ['TunnelUp', 'TunnelDown STOPPED']);
  });

  it('is gone when it is removed: that it was up is told, and absent is fine', () => {
    const world = shared();
    create(world);
    say(world, 'up');
    const reply = ask(world, 'removeTunnel');
    assert.equal(reply.kind === 'tunnelRemoved' && reply.tunnel?.state, 'up');
    assert.deepEqual([objectOf(world), world.book.tunnels(), world.tables.tunnels.size], [undefined, [], 0]);
    say(world, 'up');
    assert.deepEqual(world.book.tunnels(), [], 'its host has not heard of that yet');
    assert.deepEqual(ask(world, 'removeTunnel'), { kind: 'tunnelRemoved', tunnel: undefined });
    assert.deepEqual([told(world), reasonOf(ask(world, 'stopTunnel'))], [['TunnelUp', 'TunnelDown REMOVED'], 'TUNNEL_UNKNOWN']);
  });

  it('that is made anew is not taken for the former one, which its host still reports', () => {
    const world = shared();
    create(world);
    say(world, 'up');
    const former = objectOf(world)?.restart ?? 0;
    ask(world, 'removeTunnel');
    create(world, { server: 'other' });
    say(world, 'up', { restart: former });
    assert.equal(viewOf(world).state, 'ending');
    say(world, 'backoff', { reason: 'SSH_FAILED' });
    assert.deepEqual(told(world), ['TunnelUp', 'TunnelDown REMOVED', 'TunnelDown SSH_FAILED']);
  });

  it('is not restarted on a host that nobody reaches; what is recorded is told to it when it is back', () => {
    const world = shared();
    create(world);
    say(world, 'up');
    lose(world, 'a');
    assert.equal(reasonOf(ask(world, 'restartTunnel')), 'HOST_LOST');
    assert.deepEqual([viewOf(world).state, viewOf(world).reason], ['up', 'HOST_LOST']);
    assert.deepEqual(world.book.tunnelCounts(), { up: 0, down: 1 });
    create(world, { tunnel: 'later' });
    comeBack(world, 'a');
    assert.ok(objectOf(world, 'later') !== undefined);
    assert.deepEqual([viewOf(world).reason, viewOf(world, 'later').state], ['', 'pending']);
  });

  it('goes with its host when that is forgotten', () => {
    const world = hostScope();
    create(world);
    say(world, 'up');
    assert.equal(world.decide({ kind: 'forgetHost', actor: ACTOR, host: 'a', reason: 'sold', hostIsOff: false, gatewayIsOff: false }).kind, 'forgotten');
    assert.deepEqual([world.tables.tunnels.size, world.book.tunnels()], [0, []]);
    world.addAgent(new FakeAgent('a', ['host'], '10.77.0.11'));
    assert.equal(objectOf(world), undefined);
  });

  it('outlives a start of the coordinator, of which its host hears nothing', () => {
    const world = shared();
    create(world);
    say(world, 'up');
    ask(world, 'stopTunnel');
    const object = objectOf(world);
    world.restart();
    assert.equal(viewOf(world).state, 'pending');
    comeBack(world, 'a');
    assert.deepEqual({ ...objectOf(world), version: 0 }, { ...object, version: 0 });
  });

  it('is read back from its host when the database is an older copy, with what was ordered', () => {
    const world = shared();
    create(world, { tunnel: 'gone' });
    const putBack = backUp(world);
    ask(world, 'removeTunnel', 'gone');
    create(world);
    ask(world, 'stopTunnel');
    const object = objectOf(world);
    world.settle();
    putBack();
    for (const host of ['a', 'b', 'gw-1']) {
      const { bootId, roles, address, session, accepted, objects } = agentOf(world, host);
      world.decide({
        kind: 'hello', actor: `host:${host}`, host, bootId, agentVersion: '1', roles, addresses: [address], lastSession: session, accepted, leases: [], routes: [], admit: true, state: [...objects.values()],
      });
      if (host === 'a') assert.equal(reasonOf(create(world)), 'RESTORING');
    }
    for (const host of ['gw-1', 'a', 'b']) world.hello(agentOf(world, host));
    world.settle();
    assert.deepEqual([...world.tables.tunnels.keys()], ['a/db']);
    assert.deepEqual({ ...objectOf(world), version: 0 }, { ...object, version: 0 });
    assert.equal(create(world).kind, 'tunnel', 'nothing of it has to rest');
  });
});

describe('what is told of a tunnel', () => {
  checkWorldsAfterEach();

  it('is told once for each change: not by each report, not by a hello, not by a start', () => {
    const world = shared();
    create(world);
    say(world, 'connecting');
    say(world, 'up');
    say(world, 'up');
    world.hello(agentOf(world, 'a'));
    say(world, 'up');
    agentOf(world, 'a').tunnels = [];
    world.report(agentOf(world, 'a'));
    say(world, 'up');
    world.restart();
    comeBack(world, 'a');
    say(world, 'up');
    assert.deepEqual(told(world), ['TunnelUp']);
    say(world, 'connecting', { reason: 'PROBE_FAILED' });
    say(world, 'backoff', { reason: 'SSH_FAILED' });
    world.restart();
    comeBack(world, 'a');
    say(world, 'backoff', { reason: 'SSH_FAILED' });
    assert.deepEqual(told(world), ['TunnelUp', 'TunnelDown PROBE_FAILED']);
    say(world, 'up');
    assert.deepEqual(told(world), ['TunnelUp', 'TunnelDown PROBE_FAILED', 'TunnelUp']);
  });

  it('names one that never came up, one that is blocked, and one that flaps', () => {
    const world = shared();
    create(world);
    say(world, 'backoff', { reason: 'SSH_FAILED' });
    say(world, 'blocked', { reason: 'PORT_TAKEN_BY_OTHER' });
    say(world, 'connecting');
    say(world, 'blocked', { reason: 'PORT_TAKEN_BY_OTHER' });
    say(world, 'up', { isFlapping: true });
    say(world, 'blocked', { reason: 'PORT_TAKEN_BY_OTHER', isFlapping: true });
    assert.deepEqual(told(world), [
      'TunnelDown SSH_FAILED', 'TunnelBlocked PORT_TAKEN_BY_OTHER', 'TunnelUp', 'TunnelFlapping', 'TunnelDown PORT_TAKEN_BY_OTHER', 'TunnelBlocked PORT_TAKEN_BY_OTHER',
    ]);
    const { host, detail } = world.tables.events.findLast(({ kind }) => kind === 'TunnelDown') ?? {};
    assert.deepEqual([host, JSON.parse(detail ?? '{}')], ['a', { tunnel: 'db', server: 'bastion', state: 'blocked', reason: 'PORT_TAKEN_BY_OTHER', message: '' }]);
  });
});

describe('a tunnel of the config of its host', () => {
  checkWorldsAfterEach();

  it('is listed and told of as others are, with no record, and cannot be removed', () => {
    const world = shared();
    say(world, 'up', { isFromConfig: true });
    say(world, 'up', { isFromConfig: true });
    assert.deepEqual([viewOf(world).isFromConfig, viewOf(world).state, viewOf(world).revision, world.tables.tunnels.size], [true, 'up', 0, 0]);
    assert.equal(reasonOf(ask(world, 'removeTunnel')), 'TUNNEL_OF_CONFIG');
    say(world, 'connecting', { isFromConfig: true });
    assert.deepEqual(told(world), ['TunnelUp', 'TunnelDown']);
  });

  it('is stopped, started and restarted by an object that says it is of the config: only a restart makes its connection anew', () => {
    const world = shared();
    say(world, 'up', { isFromConfig: true });
    ask(world, 'stopTunnel');
    assert.deepEqual([objectOf(world)?.isOfConfig, objectOf(world)?.isStopped, objectOf(world)?.restart], [true, true, 0]);
    say(world, 'stopped', { isFromConfig: true });
    ask(world, 'startTunnel');
    assert.equal(objectOf(world)?.restart, 0);
    say(world, 'up', { isFromConfig: true });
    ask(world, 'restartTunnel');
    assert.ok((objectOf(world)?.restart ?? 0) > 0);
    assert.deepEqual([viewOf(world).state, viewOf(world).isFromConfig, viewOf(world).revision], ['ending', true, 0]);
    assert.equal(reasonOf(ask(world, 'removeTunnel')), 'TUNNEL_OF_CONFIG');
    assert.deepEqual(told(world), ['TunnelUp', 'TunnelDown STOPPED', 'TunnelUp']);
  });

  it('may change in the config: what is ordered next carries its new spec, and what is refused carries nothing', () => {
    const world = shared();
    say(world, 'up', { isFromConfig: true });
    ask(world, 'stopTunnel');
    const spec = tunnelSpec({ server: 'other' });
    say(world, 'stopped', { isFromConfig: true, spec });
    assert.equal(reasonOf(ask(world, 'restartTunnel')), 'TUNNEL_STOPPED');
    assert.equal(objectOf(world)?.spec.server, 'bastion');
    assert.deepEqual([world.tables.tunnels.get('a/db')?.spec.server, viewOf(world).spec.server], ['bastion', 'other']);
    ask(world, 'startTunnel');
    assert.equal(objectOf(world)?.spec.server, 'other');
  });

  it('is told to be down when it is in the config no more, or its host is forgotten, and up when it comes back', () => {
    const world = hostScope();
    const report = (...tunnels: TunnelReport[]): void => {
      agentOf(world, 'a').tunnels = tunnels;
      world.report(agentOf(world, 'a'));
    };
    const up = tunnelReport({ isFromConfig: true });
    report(up);
    report();
    report();
    report(up);
    assert.deepEqual(told(world), ['TunnelUp', 'TunnelDown REMOVED', 'TunnelUp']);
    ask(world, 'startTunnel');
    report();
    report({ ...up });
    assert.deepEqual(told(world).slice(3), ['TunnelDown REMOVED', 'TunnelUp'], 'also where orders for it are left');
    world.restart();
    create(world);
    assert.deepEqual(told(world).slice(5), ['TunnelDown REMOVED'], 'another tunnel took its place');
    agentOf(world, 'a').tunnels = [];
    comeBack(world, 'a');
    report(tunnelReport({ spec: tunnelSpec({ tunnel: 'other' }), isFromConfig: true }));
    world.decide({ kind: 'forgetHost', actor: ACTOR, host: 'a', reason: 'sold', hostIsOff: false, gatewayIsOff: false });
    assert.deepEqual(told(world).slice(6), ['TunnelUp', 'TunnelDown REMOVED']);
  });

  it('that is in the config no more leaves orders behind, which can be removed, or give way to a tunnel of that name', () => {
    const world = shared();
    say(world, 'up', { isFromConfig: true });
    ask(world, 'stopTunnel');
    agentOf(world, 'a').tunnels = [];
    world.report(agentOf(world, 'a'));
    assert.equal(create(world).kind, 'tunnel');
    assert.deepEqual([objectOf(world)?.isOfConfig, objectOf(world)?.isStopped], [undefined, false]);
    assert.equal(ask(world, 'removeTunnel').kind, 'tunnelRemoved');
    assert.equal(world.tables.tunnels.size, 0);
  });

  it('goes before one of its name: none is made, and one that was made before is shown as what is in the way', () => {
    const world = shared();
    say(world, 'up', { isFromConfig: true });
    assert.equal(reasonOf(create(world)), 'TUNNEL_OF_CONFIG');
    create(world, { tunnel: 'web' });
    agentOf(world, 'a').tunnels = [tunnelReport({ isFromConfig: true, spec: tunnelSpec({ tunnel: 'web', server: 'other' }) })];
    world.report(agentOf(world, 'a'));
    const view = viewOf(world, 'web');
    assert.deepEqual([view.isFromConfig, view.spec.server, view.state, view.reason, view.revision > 0], [true, 'other', 'up', 'TUNNEL_OF_CONFIG', true]);
    assert.equal(ask(world, 'removeTunnel', 'web').kind, 'tunnelRemoved', 'the one that was made over RPC');
    assert.deepEqual([viewOf(world, 'web').reason, viewOf(world, 'web').revision], ['', 0]);
  });
});
