import assert from 'node:assert/strict';
import { Protocol, Wait } from '../../../shared/gen/portlease/v1/common.js';
import {
  GatewayScope, HostState, LeaseState, OperationsServiceService as OPERATIONS, Strategy, UpdatePoolRequest, type DeepPartial, type Pool,
} from '../../../shared/gen/portlease/v1/operations.js';
import { refusalOf, status } from '../../support/api.js';
import { TestCoordinator } from './coordinator.js';

const POOL = {
  gateway: 'gw', pool: 'web', serviceType: 'web', aliases: ['http'], ranges: [{ first: 40000, last: 40009 }], protocol: Protocol.PROTOCOL_TCP,
  reserved: [{ first: 40000, last: 40001 }], strategy: Strategy.STRATEGY_SEQUENTIAL, defaultInternalPort: 80, domainTemplate: '{env}.{service}.example.com',
};

const allocation = (environment: string) => ({
  tenant: 'acme', environment, host: 'h1', wait: Wait.WAIT_RECORDED,
  wants: [{ name: 'web', source: { $case: 'serviceType' as const, value: 'http' }, target: { kind: { $case: 'address' as const, value: '10.1.0.1' } } }],
});

describe('OperationsService over the wire', () => {
  let coordinator: TestCoordinator;
  beforeEach(async () => { coordinator = await TestCoordinator.start(); });
  afterEach(() => coordinator.close());

  const pool = async (name: string) => (await coordinator.api.pools('gw')).find((one) => one.pool === name);
  const update = (change: DeepPartial<Pool>, updateMask: string[]) =>
    coordinator.api.call(OPERATIONS.updatePool, UpdatePoolRequest.fromPartial({ pool: { gateway: 'gw', pool: 'web', ...change }, updateMask }));

  it('creates, changes, counts and removes a pool while it serves', async () => {
    await coordinator.agent({ host: 'h1' });
    const { pool: made } = await coordinator.api.createPool(POOL);
    const { recent, sinceStart, ...figures } = made?.figures ?? {};
    assert.deepEqual([recent?.granted, sinceStart?.allocation?.count, sinceStart?.successPercent], [0, 0, 100]);
    assert.deepEqual(figures, { total: 10, reserved: 2, leased: 0, allocated: 0, held: 0, quarantined: 0, free: 8, usagePercent: 0, draining: 0 });
    assert.equal(made?.quarantine?.seconds, 60);
    const { mappings: [first] } = await coordinator.api.allocate(allocation('a'));
    assert.ok(first !== undefined && first.publicPort >= 40002, 'reserved ports are not given');
    assert.equal(first.internalPort, 80);
    const { pool: wider } = await update({ ranges: [{ first: 40000, last: 40019 }], description: 'wider' }, ['ranges', 'description']);
    assert.deepEqual([wider?.description, wider?.serviceType], ['wider', 'web']);
    const { total, allocated, usagePercent } = wider?.figures ?? {};
    assert.deepEqual([total, allocated, usagePercent], [20, 1, 100 / 18]);
    const shrunk = await refusalOf(update({ ranges: [{ first: 40010, last: 40019 }], reserved: [] }, ['ranges', 'reserved']));
    assert.deepEqual([shrunk.code, shrunk.details.reason, shrunk.details.metadata['ports']], [status.FAILED_PRECONDITION, 'POOL_IN_USE', String(first.publicPort)]);
    assert.equal((await refusalOf(coordinator.api.call(OPERATIONS.deletePool, { gateway: 'gw', pool: 'web' }))).details.reason, 'POOL_IN_USE');
    await coordinator.api.call(OPERATIONS.deletePool, { gateway: 'gw', pool: 'tiny' });
    assert.equal(await pool('tiny'), undefined);
  });

  it('refuses pools that overlap others, themselves or its own ports, and names the ports', async () => {
    const own = Number(coordinator.address.split(':')[1]);
    const cases: [DeepPartial<Pool>, string, RegExp][] = [
      [{ ranges: [{ first: 30050, last: 30200 }] }, 'POOL_OVERLAP', /30050-30099/],
      [{ ranges: [{ first: 41000, last: 41010 }, { first: 41010, last: 41020 }] }, 'POOL_OVERLAP', /41010/],
      [{ pool: 'ssh' }, 'POOL_EXISTS', /ssh/],
      [{ ranges: [{ first: own - 1, last: own + 1 }], reserved: [] }, 'POOL_OVERLAP', new RegExp(String(own))],
      [{ gateway: 'absent' }, 'GATEWAY_UNKNOWN', /absent/],
    ];
    for (const [change, reason, message] of cases) {
      const refused = await refusalOf(coordinator.api.createPool({ ...POOL, reserved: [], ...change }));
      assert.equal(refused.details.reason, reason, JSON.stringify(change));
      assert.match(refused.message, message);
    }
  });

  it('creates gateways at run time, serves on them at once, and removes empty ones only', async () => {
    await coordinator.api.createGateway({ gateway: 'new', scope: GatewayScope.GATEWAY_SCOPE_SHARED, publicHost: 'new.example.com' });
    assert.equal((await refusalOf(coordinator.api.createGateway({ gateway: 'new', scope: GatewayScope.GATEWAY_SCOPE_SHARED, publicHost: 'x' }))).details.reason, 'GATEWAY_EXISTS');
    await coordinator.api.createPool({ ...POOL, gateway: 'new' });
    await coordinator.agent({ host: 'h1', gateway: 'new' });
    const { mappings: [mapping] } = await coordinator.api.allocate(allocation('a'));
    assert.deepEqual([mapping?.gateway, mapping?.publicHost, mapping?.space], ['new', 'new.example.com', 'new']);
    const inUse = await refusalOf(coordinator.api.call(OPERATIONS.deleteGateway, { gateway: 'new' }));
    assert.deepEqual([inUse.details.reason, inUse.details.metadata['pools'], inUse.details.metadata['hosts']], ['GATEWAY_IN_USE', '1', '1']);
    await coordinator.api.createGateway({ gateway: 'empty', scope: GatewayScope.GATEWAY_SCOPE_HOST });
    await coordinator.api.call(OPERATIONS.deleteGateway, { gateway: 'empty' });
    assert.deepEqual((await coordinator.api.gateways()).map(({ gateway }) => gateway), ['edge', 'gw', 'new']);
    assert.equal((await refusalOf(coordinator.api.call(OPERATIONS.deleteGateway, { gateway: 'empty' }))).details.reason, 'GATEWAY_UNKNOWN');
  });

  it('keeps gateways that were made at run time across a restart, and leaves changed pools of the config as they are', async () => {
    await coordinator.api.createGateway({ gateway: 'new', scope: GatewayScope.GATEWAY_SCOPE_HOST });
    await coordinator.api.call(OPERATIONS.updatePool, UpdatePoolRequest.fromPartial({ pool: { gateway: 'gw', pool: 'ssh', description: 'changed' }, updateMask: ['description'] }));
    await coordinator.api.call(OPERATIONS.deletePool, { gateway: 'gw', pool: 'tiny' });
    await coordinator.shutdown();
    await coordinator.boot();
    assert.deepEqual((await coordinator.api.gateways()).map(({ gateway }) => gateway), ['edge', 'gw', 'new']);
    assert.equal((await pool('ssh'))?.description, 'changed');
  });

  it('creates hosts, shows their state, and keeps their names unique over all gateways', async () => {
    const { host } = await coordinator.api.call(OPERATIONS.createHost, { host: { ...EMPTY_HOST, host: 'h1', gateway: 'gw', roles: [1], failureDomain: 'rack-1' } });
    assert.deepEqual([host?.state, host?.failureDomain, host?.session], [HostState.HOST_STATE_UNKNOWN, 'rack-1', 0]);
    const twin = await refusalOf(coordinator.api.call(OPERATIONS.createHost, { host: { ...EMPTY_HOST, host: 'h1', gateway: 'edge', roles: [1] } }));
    assert.equal(twin.details.reason, 'HOST_EXISTS');
    await coordinator.agent({ host: 'h1' });
    const alive = await coordinator.api.untilHost('h1', HostState.HOST_STATE_ALIVE);
    assert.deepEqual([alive.addresses, alive.session, alive.agentVersion], [['10.9.0.1'], 1, '0.0.0']);
    assert.equal((await refusalOf(coordinator.api.replaceHost('absent', 'why'))).details.reason, 'HOST_UNKNOWN');
    assert.equal((await refusalOf(coordinator.api.reclaimHost('h1', 'why'))).details.reason, 'HOST_NOT_LOST');
  });

  it('takes everything back from a lost host when an operator says so', async () => {
    await coordinator.agent({ host: 'g1', roles: ['gateway'], addresses: ['203.0.113.1'] });
    await coordinator.api.createPool(POOL);
    const agent = await coordinator.agent({ host: 'h1' });
    await coordinator.api.allocate(allocation('a'));
    const [lease] = await coordinator.api.leases({ host: 'h1' });
    assert.deepEqual([lease?.state, lease?.pool, lease?.allocated], [LeaseState.LEASE_STATE_ACTIVE, 'web', 1]);
    agent.silence();
    await coordinator.api.untilHost('h1', HostState.HOST_STATE_LOST);
    const { mappings, ports } = await coordinator.api.reclaimHost('h1', 'its mainboard burnt');
    assert.equal(mappings, 1);
    assert.ok(ports >= 1);
  });

  it('shows everything on one screen', async () => {
    await coordinator.agent({ host: 'h1' });
    const screen = await coordinator.api.call(OPERATIONS.getStatus, {});
    assert.equal(screen.journal, 'ok');
    assert.deepEqual(screen.gateways.map(({ gateway }) => gateway), ['edge', 'gw']);
    assert.deepEqual([screen.hostsAlive, screen.hostsUnknown, screen.environments, screen.mappings], [1, 0, 0, 0]);
    assert.deepEqual(screen.pools.map(({ gateway, pool: name }) => `${gateway}/${name}`).sort(), ['edge/ssh', 'gw/rdp', 'gw/ssh', 'gw/tiny']);
  });
});

const EMPTY_HOST = {
  host: '', gateway: '', roles: [], failureDomain: '', publicHost: '', state: 0, addresses: [], session: 0, agentVersion: '', heartbeatAge: undefined,
  mappings: 0, leasedPorts: 0, driftRepairs: 0, replaceable: false, duty: 0, keptUntil: undefined, routes: undefined,
};
