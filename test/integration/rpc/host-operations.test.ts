import assert from 'node:assert/strict';
import { Role } from '../../../shared/gen/portlease/v1/agents.js';
import { MappingState, Protocol, Wait } from '../../../shared/gen/portlease/v1/common.js';
import { CreateHostRequest, HostDuty, HostState, OperationsServiceService as OPERATIONS, UpdatePoolRequest, type Host } from '../../../shared/gen/portlease/v1/operations.js';
import { refusalOf, status } from '../../support/api.js';
import { eventually } from '../../support/wait.js';
import { TestCoordinator } from './coordinator.js';

const note = { host: 'h1', reason: 'new disk' };
const allocation = (environment: string, host = 'h1') => ({
  tenant: 'acme', environment, host, wait: Wait.WAIT_LIVE,
  wants: [{ name: 'ssh', source: { $case: 'pool' as const, value: 'ssh' }, target: { kind: { $case: 'address' as const, value: '10.1.0.1' } } }],
});

describe('what operators say of hosts, over the wire', () => {
  let coordinator: TestCoordinator;
  beforeEach(async () => {
    coordinator = await TestCoordinator.start();
    await coordinator.agent({ host: 'g1', roles: ['gateway'], addresses: ['203.0.113.1'] });
    await coordinator.agent({ host: 'h1' });
    await coordinator.agent({ host: 'h2', addresses: ['10.9.0.2'] });
  });
  afterEach(() => coordinator.close());

  const isSo = (host: string, what: string, holds: (host: Host) => boolean): Promise<Host> =>
    eventually(`${host} to be ${what}`, async () => {
      const found = await coordinator.api.host(host);
      return found !== undefined && holds(found) ? found : undefined;
    }, { withinMs: 10_000 });

  it('cordons: no new ports there, with a reason and host of its own, also after a restart of the coordinator', async () => {
    await coordinator.api.allocate(allocation('before'));
    const { host } = await coordinator.api.call(OPERATIONS.cordonHost, note);
    assert.deepEqual([host?.host, host?.duty, host?.mappings], ['h1', HostDuty.HOST_DUTY_CORDONED, 1]);
    const refused = await refusalOf(coordinator.api.allocate(allocation('after')));
    assert.deepEqual([refused.code, refused.details.reason, refused.details.metadata['host']], [status.FAILED_PRECONDITION, 'HOST_CORDONED', 'h1']);
    await coordinator.shutdown();
    await coordinator.boot();
    assert.equal((await coordinator.api.host('h1'))?.duty, HostDuty.HOST_DUTY_CORDONED);
    assert.equal((await coordinator.api.call(OPERATIONS.uncordonHost, { host: 'h1', reason: '' })).host?.duty, HostDuty.HOST_DUTY_OPEN);
  });

  it('drains: what is unused goes back behind the fence, the rest as environments go, and it says what is left', async () => {
    await coordinator.api.allocate(allocation('last'));
    const { host } = await coordinator.api.call(OPERATIONS.drainHost, note);
    assert.deepEqual([host?.duty, host?.mappings, host?.leasedPorts], [HostDuty.HOST_DUTY_DRAINING, 1, 1]);
    await coordinator.api.release({ selector: { $case: 'environment', value: 'last' } });
    const drained = await isSo('h1', 'drained', ({ duty }) => duty === HostDuty.HOST_DUTY_DRAINED);
    assert.deepEqual([drained.mappings, drained.leasedPorts], [0, 0]);
    assert.deepEqual(await coordinator.api.leases({ host: 'h1' }), []);
  });

  it('holds for a time that ends by itself', async () => {
    const { host } = await coordinator.api.call(OPERATIONS.holdHost, { ...note, duration: { seconds: 0, nanos: 700_000_000 } });
    assert.ok(host?.keptUntil !== undefined);
    await isSo('h1', 'kept no more', ({ keptUntil }) => keptUntil === undefined);
    await coordinator.api.call(OPERATIONS.holdHost, { ...note, duration: { seconds: 7_200, nanos: 0 } });
    assert.equal((await coordinator.api.call(OPERATIONS.holdHost, { ...note, duration: { seconds: 0, nanos: 0 } })).host?.keptUntil, undefined);
  });

  it('shrinks a pool that is in use when it is told to drain, and shows what is left (A4)', async () => {
    await coordinator.api.createPool({ pool: 'web', gateway: 'gw', ranges: [{ first: 40_000, last: 40_009 }], protocol: Protocol.PROTOCOL_TCP, defaultInternalPort: 80, quarantine: { seconds: 0, nanos: 0 } });
    const { mappings: [mapping] } = await coordinator.api.allocate({ ...allocation('e'), wants: [{ name: 'web', source: { $case: 'pool', value: 'web' }, choice: { $case: 'exactPort', value: 40_007 }, target: { kind: { $case: 'address', value: '10.1.0.1' } } }] });
    const shrink = (drain: boolean) => coordinator.api.call(OPERATIONS.updatePool, UpdatePoolRequest.fromPartial({ pool: { pool: 'web', gateway: 'gw', ranges: [{ first: 40_000, last: 40_004 }] }, updateMask: ['ranges'], drain }));
    const refused = await refusalOf(shrink(false));
    assert.deepEqual([refused.details.reason, refused.details.metadata['ports'], refused.details.metadata['pool']], ['POOL_IN_USE', '40007', 'web']);
    const { pool } = await shrink(true);
    assert.deepEqual([pool?.figures?.total, pool?.figures?.draining, pool?.figures?.allocated], [5, 1, 0]);
    await coordinator.shutdown();
    await coordinator.boot();
    const figures = async () => (await coordinator.api.pools('gw')).find(({ pool: name }) => name === 'web')?.figures;
    assert.equal((await figures())?.draining, 1);
    await coordinator.agent({ host: 'g1', roles: ['gateway'], addresses: ['203.0.113.1'], lastSession: 1 });
    await coordinator.agent({ host: 'h1', lastSession: 1 });
    await coordinator.api.release({ selector: { $case: 'environment', value: mapping?.environment ?? '' } });
    const { draining, free } = await figures() ?? {};
    assert.deepEqual([draining, free], [0, 5]);
  });

  it('forgets a lost host once the gateway confirmed, and does not know it afterwards', async () => {
    const agent = await coordinator.agent({ host: 'h3', addresses: ['10.9.0.3'] });
    const { mappings: [mapping] } = await coordinator.api.allocate(allocation('e', 'h3'));
    assert.equal((await refusalOf(coordinator.api.forgetHost('h3'))).details.reason, 'HOST_NOT_LOST');
    assert.equal((await refusalOf(coordinator.api.forgetHost('none'))).details.reason, 'HOST_UNKNOWN');
    agent.silence();
    await coordinator.api.untilHost('h3', HostState.HOST_STATE_LOST);
    const { mappings } = await coordinator.api.forgetHost('h3', { reason: 'sold' });
    assert.equal(mappings, 1);
    await eventually('h3 to be gone', async () => await coordinator.api.host('h3') === undefined, { withinMs: 10_000 });
    assert.deepEqual((await coordinator.api.mappings({ environment: 'e' })).map(({ state }) => state), [MappingState.MAPPING_STATE_RELEASED]);
    const port = mapping?.publicPort ?? 0;
    const again = await eventually('its port to have rested', async () => {
      const { mappings: [got] } = await coordinator.api.allocate({ ...allocation('f', 'h2'), wants: [{ ...allocation('f').wants[0], choice: { $case: 'exactPort', value: port } }] });
      return got;
    }, { withinMs: 10_000 });
    assert.equal(again.publicPort, port);
    const back = await coordinator.agent({ host: 'h3', addresses: ['10.9.0.3'], lastSession: agent.session });
    assert.deepEqual([back.session, back.objects.size], [agent.session + 1, 0], 'where everybody is admitted it starts from nothing');
  });

  it('forgets a host with an address of its own only when somebody answers for it, and corrects a role that was mistyped', async () => {
    const agent = await coordinator.agent({ host: 'e1', gateway: 'edge', addresses: ['198.51.100.7'] });
    await coordinator.api.allocate(allocation('e', 'e1'));
    agent.silence();
    await coordinator.api.untilHost('e1', HostState.HOST_STATE_LOST);
    const refused = await refusalOf(coordinator.api.forgetHost('e1'));
    assert.deepEqual([refused.code, refused.details.reason], [status.FAILED_PRECONDITION, 'HOST_MAY_SERVE']);
    assert.deepEqual(await coordinator.api.forgetHost('e1', { hostIsOff: true }), { forgotten: true, mappings: 1, ports: 10 });
    const create = (roles: Role[]) => coordinator.api.call(OPERATIONS.createHost, CreateHostRequest.fromPartial({ host: { host: 'e1', gateway: 'gw', roles } }));
    await create([Role.ROLE_HOST]);
    assert.deepEqual(await coordinator.api.forgetHost('e1'), { forgotten: true, mappings: 0, ports: 0 });
    assert.deepEqual((await create([Role.ROLE_HOST])).host?.roles, [Role.ROLE_HOST]);
  });

  it('forgets a gateway only when somebody answers for it, and leaves its role to the next', async () => {
    await coordinator.api.allocate(allocation('e'));
    assert.equal((await refusalOf(coordinator.api.forgetHost('g1'))).details.reason, 'GATEWAY_MAY_ROUTE');
    assert.equal((await refusalOf(coordinator.api.forgetHost('g1', { gatewayIsOff: true }))).details.reason, 'HOST_NOT_LOST');
    coordinator.agentOf('g1').silence();
    await coordinator.api.untilHost('g1', HostState.HOST_STATE_LOST);
    assert.equal((await coordinator.api.forgetHost('g1', { gatewayIsOff: true })).forgotten, true);
    assert.equal((await coordinator.api.mappings({ environment: 'e' }))[0]?.state, MappingState.MAPPING_STATE_PENDING);
    await coordinator.agent({ host: 'g2', roles: ['gateway'], addresses: ['203.0.113.2'] });
    await eventually('the next gateway to route it', async () => (await coordinator.api.mappings({ environment: 'e' }))[0]?.state === MappingState.MAPPING_STATE_LIVE, { withinMs: 10_000 });
  });

  it('shows a mass loss with how to override it, and reclaims nothing meanwhile', async () => {
    const agents = [];
    for (const n of [4, 5, 6, 7]) agents.push(await coordinator.agent({ host: `h${n}`, addresses: [`10.9.0.${n}`] }));
    const tiny = (environment: string, host: string, count = 1) => ({
      ...allocation(environment, host), wants: [{ name: 'x', count, source: { $case: 'pool' as const, value: 'tiny' }, target: { kind: { $case: 'address' as const, value: '10.1.0.1' } } }],
    });
    await coordinator.api.allocate(tiny('e', 'h4', 2));
    for (const agent of agents) agent.silence();
    await coordinator.api.untilHost('h4', HostState.HOST_STATE_LOST);
    const loss = await eventually('a mass loss', async () => (await coordinator.api.status()).massLosses[0], { withinMs: 10_000 });
    assert.deepEqual([loss.gateway, loss.failureDomain, loss.lostHosts, loss.hosts, loss.overriddenUntil], ['gw', '', 4, 6, undefined]);
    const refused = await refusalOf(coordinator.api.allocate(tiny('f', 'h1')));
    assert.deepEqual([refused.code, refused.details.reason, refused.details.metadata['lost_hosts']], [status.RESOURCE_EXHAUSTED, 'MASS_LOSS', '4']);
    assert.equal((await refusalOf(coordinator.api.reclaimHost('h4', 'burnt'))).details.reason, 'MASS_LOSS');
    const override = { gateway: 'gw', failureDomain: '', reason: 'they are gone', duration: { seconds: 60, nanos: 0 } };
    assert.ok((await coordinator.api.call(OPERATIONS.overrideMassLoss, override)).overriddenUntil !== undefined);
    assert.ok((await coordinator.api.status()).massLosses[0]?.overriddenUntil !== undefined);
    await coordinator.api.reclaimHost('h4', 'burnt');
    assert.equal((await refusalOf(coordinator.api.call(OPERATIONS.overrideMassLoss, { ...override, failureDomain: 'none' }))).details.reason, 'INVALID_FIELD');
  });
});
