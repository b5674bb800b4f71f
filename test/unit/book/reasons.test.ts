import assert from 'node:assert/strict';
import { agentOf, checkWorldsAfterEach, hostScope, lose, release, shared, suspect } from './checked.js';
import { REASONS, type Reason } from '../../../shared/reasons.js';
import type { Command, Reply, WantSpec } from '../../../coordinator/book/types.js';
import type { TunnelSpec } from '../../../shared/tunnel.js';
import { tunnelReport, tunnelSpec } from '../../support/tunnels.js';
import { containerSpec, FakeAgent, poolSpec, want, type World } from './world.js';

const FIRST = 30_000;
const ask = (world: World, over: Partial<WantSpec> = {}, host = 'a'): Reply => world.allocate('e', host, [want(over)]);
const exact = (port: number): Partial<WantSpec> => ({ choice: { kind: 'exact', port } });
const hello = (world: World, over: object): Reply => {
  const agent = agentOf(world, 'a');
  return world.decide({ kind: 'hello', actor: 'h', host: 'a', bootId: 'b', agentVersion: '1', roles: ['host'], addresses: [], lastSession: agent.session, accepted: agent.accepted, leases: [], routes: [], admit: true, ...over });
};
const decide = (world: World, command: Command): Reply => world.decide(command);
const host = (name: string, roles: ('host' | 'gateway')[] = ['host']): Command => ({ kind: 'createHost', actor: 'o', host: name, roles, failureDomain: '', publicHost: '' });
const pool = (name: string, first: number): Command => ({ kind: 'createPool', actor: 'o', pool: poolSpec({ pool: name, serviceType: 'ssh', ranges: [{ first, last: first + 9 }] }), seed: false });

/** What the services say by themselves, or the keeper: no row here. */
const NOT_BY_THE_BOOK: readonly Reason[] = [
  'DATABASE_IS_OLDER', 'GATEWAY_UNKNOWN', 'GATEWAY_EXISTS', 'GATEWAY_IN_USE', 'OTHER_GATEWAY', 'PORT_BLOCKED', 'NOT_LIVE_IN_TIME', 'NOT_VERIFIED_IN_TIME',
  'JOURNAL_UNAVAILABLE', 'STOPPING', 'NOT_MADE', 'IDENTITY_MISMATCH', 'RATE_LIMITED', 'PAGE_TOKEN_INVALID', 'ENVIRONMENT_FAILED', 'ENVIRONMENT_NOT_READY_IN_TIME', 'ROTATION_FAILED', 'REVISION_TOO_OLD', 'REVISION_AHEAD', 'TOO_MANY_WATCHERS', 'LEAK_NOT_GONE_IN_TIME',
  'TUNNEL_REFUSED', 'TUNNEL_NOT_UP_IN_TIME',
];

const tunnel = (world: World, spec: Partial<TunnelSpec> = {}): Reply => decide(world, { kind: 'createTunnel', actor: 'o', spec: tunnelSpec(spec) });

/** How to be refused for each of the other reasons, with the field that is at fault. */
const make = (world: World, bodyHash = 'h'): Reply => {
  const allocation = world.allocateCommand('e', 'a', [want()], { bodyHash, verify: true });
  const command: Command = { kind: 'createEnvironment', actor: 'o', allocation, container: containerSpec(), startTimeoutMs: 60_000 };
  if (decide(world, command).kind === 'waiting') world.settle();
  return decide(world, command);
};

const ROWS: Partial<Record<Reason, [field: string | undefined, provoke: (world: World) => Reply]>> = {
  INVALID_FIELD: ['wants[0].internal_port', (world) => ask(world, { internalPort: 65_535, count: 2 })],
  REQUEST_ID_REUSED: ['request_id', (world) => {
    const command = world.allocateCommand('e', 'a', [want()]);
    decide(world, command);
    return decide(world, { ...command, bodyHash: 'other' });
  }],
  ENVIRONMENT_EXISTS: ['environment', (world) => {
    make(world);
    return make(world, 'other');
  }],
  ENVIRONMENT_NOT_READY: ['environment', (world) => {
    make(world);
    return decide(world, { kind: 'rotateCredentials', actor: 'o', environment: 'e' });
  }],
  ENVIRONMENT_HAS_CONTAINER: ['environment', (world) => {
    make(world);
    return decide(world, { kind: 'move', actor: 'o', environment: 'e', host: 'b', targets: [], verify: false });
  }],
  NOT_ROTATABLE: ['environment', (world) => {
    ask(world);
    return decide(world, { kind: 'rotateCredentials', actor: 'o', environment: 'e' });
  }],
  HOST_BEHIND_TUNNEL: ['wants[0].protocol', (world) => {
    const agent = agentOf(world, 'a');
    hello(world, { roles: agent.roles, addresses: [agent.address], lastSession: agent.session, accepted: agent.accepted, tunnelKey: `ssh-ed25519 ${'A'.repeat(68)}` });
    decide(world, { kind: 'createPool', actor: 'o', pool: poolSpec({ pool: 'games', serviceType: 'game', protocol: 'tcp+udp', ranges: [{ first: 50_000, last: 50_009 }] }), seed: false });
    return ask(world, { source: { kind: 'pool', pool: 'games' } });
  }],
  TUNNEL_KEY_TAKEN: ['hello.tunnel_key', (world) => {
    const agent = agentOf(world, 'b');
    agent.tunnelKey = `ssh-ed25519 ${'A'.repeat(68)}`;
    world.hello(agent);
    const { roles, address, session, accepted } = agentOf(world, 'a');
    return hello(world, { roles, addresses: [address], lastSession: session, accepted, tunnelKey: agent.tunnelKey });
  }],
  LEAK_UNKNOWN: ['leak', (world) => decide(world, { kind: 'resolveLeak', actor: 'o', host: 'a', leak: 'listener/tcp/30000/7', reason: '', dryRun: false })],
  LEAK_IS_FOREIGN: ['leak', (world) => {
    const id = 'listener/tcp/30000/7';
    agentOf(world, 'a').leaks = [{ id, kind: 'listener', message: 'nginx', sightings: 3, repair: 'none', isAutomatic: false, mappingId: '', generation: 0, at: { transport: 'tcp', port: 30_000 } }];
    world.report(agentOf(world, 'a'));
    return decide(world, { kind: 'resolveLeak', actor: 'o', host: 'a', leak: id, reason: '', dryRun: false });
  }],
  POOL_UNKNOWN: ['wants[0].pool', (world) => ask(world, { source: { kind: 'pool', pool: 'none' } })],
  SERVICE_TYPE_UNKNOWN: ['wants[0].service_type', (world) => ask(world, { source: { kind: 'serviceType', serviceType: 'none' } })],
  SERVICE_TYPE_AMBIGUOUS: ['wants[0].service_type', (world) => {
    decide(world, pool('ssh-2', 40_000));
    return ask(world, { source: { kind: 'serviceType', serviceType: 'ssh' } });
  }],
  PROTOCOL_NOT_SERVED: ['wants[0].protocol', (world) => ask(world, { protocol: 'tcp+udp' })],
  GATEWAY_HAS_AGENT: ['host.roles', (world) => decide(world, host('gw-2', ['gateway']))],
  POOL_EXISTS: ['pool.pool', (world) => decide(world, pool('ssh', 40_000))],
  POOL_OVERLAP: ['pool.ranges[0]', (world) => decide(world, pool('other', FIRST + 31))],
  POOL_IN_USE: ['pool', (world) => {
    ask(world);
    return decide(world, { kind: 'deletePool', actor: 'o', pool: 'ssh' });
  }],
  POOL_EXHAUSTED: ['wants[0]', (world) => ask(world, { count: 33 })],
  NO_CONTIGUOUS_RUN: ['wants[0]', (world) => ask(world, { count: 33, contiguous: true })],
  PORT_TAKEN: ['wants[0].exact_port', (world) => {
    world.allocate('f', 'a', [want(exact(FIRST))]);
    return ask(world, exact(FIRST));
  }],
  PORT_RESERVED: ['wants[0].exact_port', (world) => {
    decide(world, { kind: 'updatePool', actor: 'o', pool: 'ssh', change: { reserved: [{ first: FIRST, last: FIRST }] }, drain: false });
    return ask(world, exact(FIRST));
  }],
  PORT_QUARANTINED: ['wants[0].exact_port', (world) => {
    world.allocate('f', 'a', [want(exact(FIRST))]);
    world.settle();
    release(world, 'f');
    world.settle();
    return ask(world, exact(FIRST));
  }],
  PORT_NOT_IN_POOL: ['wants[0].exact_port', (world) => ask(world, exact(FIRST - 1))],
  HOST_UNKNOWN: ['host', (world) => ask(world, {}, 'none')],
  HOST_EXISTS: ['host.host', (world) => decide(world, host('a'))],
  HOST_NOT_READY: ['host', (world) => {
    decide(world, host('c'));
    return ask(world, {}, 'c');
  }],
  HOST_SUSPECT: ['host', (world) => {
    suspect(world, 'a');
    return ask(world);
  }],
  HOST_LOST: ['host', (world) => {
    lose(world, 'a');
    return ask(world);
  }],
  HOST_NOT_SERVING: ['host', (world) => ask(world, {}, 'gw-1')],
  HOST_NOT_LOST: ['host', (world) => decide(world, { kind: 'reclaimHost', actor: 'o', host: 'a', reason: '', override: false })],
  GATEWAY_NOT_READY: [undefined, (world) => {
    lose(world, 'a');
    world.restart();
    return decide(world, { kind: 'reclaimHost', actor: 'o', host: 'a', reason: '', override: false });
  }],
  HOST_CORDONED: ['host', (world) => {
    decide(world, { kind: 'cordonHost', actor: 'o', host: 'a', reason: '' });
    return ask(world);
  }],
  HOST_FORGETTING: ['host', (world) => {
    ask(world);
    lose(world, 'a');
    decide(world, { kind: 'forgetHost', actor: 'o', host: 'a', reason: 'sold', hostIsOff: false, gatewayIsOff: false });
    return decide(world, { kind: 'replaceHost', actor: 'o', host: 'a', reason: 'x' });
  }],
  HOST_KEPT: ['host', (world) => {
    lose(world, 'a');
    decide(world, { kind: 'holdHost', actor: 'o', host: 'a', reason: '', forMs: 60_000 });
    return decide(world, { kind: 'reclaimHost', actor: 'o', host: 'a', reason: 'x', override: false });
  }],
  HOST_MAY_SERVE: ['host_is_off', () => {
    const world = hostScope();
    ask(world);
    lose(world, 'a');
    return decide(world, { kind: 'forgetHost', actor: 'o', host: 'a', reason: 'sold', hostIsOff: false, gatewayIsOff: false });
  }],
  GATEWAY_MAY_ROUTE: ['gateway_is_off', (world) => {
    ask(world);
    return decide(world, { kind: 'forgetHost', actor: 'o', host: 'gw-1', reason: 'sold', hostIsOff: true, gatewayIsOff: false });
  }],
  MASS_LOSS: ['host', (world) => {
    world.addAgent(new FakeAgent('c', ['host'], '10.77.0.13'));
    lose(world, 'a', 'b');
    return decide(world, { kind: 'reclaimHost', actor: 'o', host: 'a', reason: 'x', override: false });
  }],
  ENVIRONMENT_UNKNOWN: ['environment', (world) => decide(world, { kind: 'move', actor: 'o', environment: 'none', host: 'b', targets: [], verify: false })],
  ENVIRONMENT_ELSEWHERE: ['host', (world) => {
    ask(world);
    return ask(world, { name: 'x' }, 'b');
  }],
  ENVIRONMENT_OF_OTHER_TENANT: ['environment', (world) => {
    ask(world);
    return world.allocate('e', 'a', [want()], { tenant: 't2' });
  }],
  PORT_NAME_DIFFERS: ['wants[0].internal_port', (world) => {
    ask(world);
    return ask(world, { internalPort: 80 });
  }],
  MAPPING_UNKNOWN: ['mapping_id', (world) => decide(world, { kind: 'updateMapping', actor: 'o', mappingId: 'none', networks: undefined, maxConnections: 1 })],
  CLIENTS_HIDDEN: ['wants[0].client_networks', (world) => {
    const gateway = world.agents.get('gw-1') as FakeAgent;
    hello(world, { host: 'gw-1', roles: gateway.roles, addresses: [gateway.address], lastSession: gateway.session, accepted: gateway.accepted, hidesClients: true });
    return ask(world, { limits: { networks: ['198.51.100.0/24'], maxConnections: 0 } });
  }],
  AGENT_TOO_OLD: ['wants[0].max_connections', (world) => {
    const agent = world.agents.get('a') as FakeAgent;
    agent.capabilities = [];
    world.hello(agent);
    return ask(world, { limits: { networks: [], maxConnections: 1 } });
  }],
  TUNNEL_UNKNOWN: ['tunnel', (world) => decide(world, { kind: 'stopTunnel', actor: 'o', host: 'a', tunnel: 'db', reason: '' })],
  TUNNEL_EXISTS: ['spec.server', (world) => {
    tunnel(world);
    return tunnel(world, { server: 'other' });
  }],
  TUNNEL_OF_CONFIG: ['spec.tunnel', (world) => {
    const agent = agentOf(world, 'a');
    agent.tunnels = [tunnelReport({ isFromConfig: true })];
    world.report(agent);
    return tunnel(world);
  }],
  TUNNEL_STOPPED: ['tunnel', (world) => {
    tunnel(world);
    decide(world, { kind: 'stopTunnel', actor: 'o', host: 'a', tunnel: 'db', reason: '' });
    return decide(world, { kind: 'restartTunnel', actor: 'o', host: 'a', tunnel: 'db', reason: '' });
  }],
  TOO_MANY_TUNNELS: ['spec.host', (world) => {
    for (let n = 0; n < 256; n += 1) tunnel(world, { tunnel: `t-${n}` });
    return tunnel(world);
  }],
  SECOND_MACHINE: [undefined, (world) => hello(world, { lastSession: 0, accepted: undefined })],
  STATE_NEEDED: [undefined, (world) => hello(world, { lastSession: 99 })],
  RESTORING: [undefined, (world) => {
    hello(world, { lastSession: 99 });
    return ask(world);
  }],
  HOST_NOT_AWAITED: ['host', (world) => decide(world, { kind: 'waiveHost', actor: 'o', host: 'a', reason: 'gone' })],
  NOT_ADMITTED: [undefined, (world) => {
    world.agents.set('c', new FakeAgent('c', ['host'], '10.77.0.13'));
    return hello(world, { host: 'c', lastSession: 0, accepted: undefined, admit: false });
  }],
  DRIVER_NOT_ADMITTED: [undefined, (world) => hello(world, { driver: 'userspace' })],
  STALE_SESSION: [undefined, (world) => decide(world, { kind: 'report', host: 'a', session: 99, applied: { epoch: 1, session: 99, revision: 1 }, problems: [], confirmations: [], verified: [], driftRepairs: 0, occupied: [] })],
};

describe('refusals of the book', () => {
  checkWorldsAfterEach();

  for (const reason of Object.keys(REASONS) as Reason[]) {
    if (NOT_BY_THE_BOOK.includes(reason)) continue;
    it(`${reason} has its own reason, field and words`, () => {
      const row = ROWS[reason];
      assert.ok(row !== undefined, `no row for ${reason}: add one, or name it as not given by the book`);
      const [field, provoke] = row;
      const world = shared();
      const reply = provoke(world);
      assert.ok(reply.kind === 'refused', JSON.stringify(reply));
      assert.deepEqual([reply.reason, reply.field], [reason, field]);
      assert.ok(reply.message.length > 10 && !reply.message.includes('undefined'), reply.message);
      for (const value of Object.values(reply.metadata ?? {})) assert.equal(typeof value, 'string');
      assert.ok(reply.retryAfterMs === undefined || reply.retryAfterMs > 0);
    });
  }

  it('that may pass by themselves say when to try again', () => {
    for (const reason of ['HOST_NOT_READY', 'HOST_SUSPECT', 'HOST_LOST', 'PORT_QUARANTINED', 'GATEWAY_NOT_READY'] as const) {
      const reply = ROWS[reason]?.[1](shared());
      assert.ok(reply?.kind === 'refused' && (reply.retryAfterMs as number) > 0, reason);
    }
  });

  it('name every pool that an ambiguous service type fits', () => {
    const reply = ROWS.SERVICE_TYPE_AMBIGUOUS?.[1](shared());
    assert.ok(reply?.kind === 'refused');
    assert.equal(reply.metadata?.['pools'], 'ssh,ssh-2');
  });

  it('of a pool that is full give its figures (C8)', () => {
    const reply = ROWS.POOL_EXHAUSTED?.[1](shared());
    assert.ok(reply?.kind === 'refused');
    assert.deepEqual(reply.metadata, { pool: 'ssh', host: 'a', total: '32', reserved: '0', leased: '0', allocated: '0', held: '0', quarantined: '0', free: '32', other_host_helps: 'false' });
  });
});
