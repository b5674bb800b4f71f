import assert from 'node:assert/strict';
import { MappingState, Wait } from '../../../shared/gen/portlease/v1/common.js';
import { refusalOf, status } from '../../support/api.js';
import { TestCoordinator } from './coordinator.js';

const target = { kind: { $case: 'address' as const, value: '10.1.0.1' } };
const allocation = (environment: string, want: object, more: object = {}) => ({
  tenant: 'acme', environment, host: 'h1', ...more, wants: [{ name: 'ssh', source: { $case: 'pool' as const, value: 'ssh' }, target, ...want }],
});
const LIMITS = { clientNetworks: ['198.51.100.0/24', '2001:DB8:0::/32'], maxConnections: 5 };

describe('limits of a mapping over the wire', () => {
  let coordinator: TestCoordinator;
  beforeEach(async () => {
    coordinator = await TestCoordinator.start();
    await coordinator.agent({ host: 'g1', roles: ['gateway'], addresses: ['203.0.113.1'] });
  });
  afterEach(() => coordinator.close());

  it('are told to the host in their one form, shown in lists, and part of what a request id stands for (S6)', async () => {
    const agent = await coordinator.agent({ host: 'h1' });
    const request = allocation('a', LIMITS, { requestId: 'r-1' });
    const { mappings: [mapping] } = await coordinator.api.allocate(request);
    const networks = ['198.51.100.0/24', '2001:db8::/32'];
    assert.deepEqual([mapping?.clientNetworks, mapping?.maxConnections], [networks, 5]);
    assert.deepEqual(agent.mappings().map(({ limits }) => limits), [{ networks, maxConnections: 5 }]);
    assert.deepEqual((await coordinator.api.mappings()).map(({ clientNetworks }) => clientNetworks), [networks]);
    assert.equal((await coordinator.api.allocate(request)).replayed, true);
    for (const other of [{ maxConnections: 6 }, { clientNetworks: ['198.51.100.0/25'] }, { clientNetworks: [], maxConnections: 0 }]) {
      const { details } = await refusalOf(coordinator.api.allocate(allocation('a', { ...LIMITS, ...other }, { requestId: 'r-1' })));
      assert.equal(details.reason, 'REQUEST_ID_REUSED');
    }
  });

  it('that are none name the network and what may be meant', async () => {
    const refusal = await refusalOf(coordinator.api.allocate(allocation('a', { clientNetworks: ['198.51.100.0/24', '198.51.100.7/24'] })));
    assert.equal(refusal.code, status.INVALID_ARGUMENT);
    assert.deepEqual(refusal.details.fields.map(({ field }) => field), ['wants[0].client_networks[1]']);
    assert.match(refusal.details.fields[0]?.description ?? '', /198\.51\.100\.0\/24 for the network, or 198\.51\.100\.7\/32 for this one address/);
  });

  it('are changed without another number; the answer comes when the host has applied it, and again the same', async () => {
    const agent = await coordinator.agent({ host: 'h1' });
    const { mappings: [before] } = await coordinator.api.allocate(allocation('a', {}));
    const mappingId = before?.mappingId ?? '';
    for (let attempt = 0; attempt < 2; attempt++) {
      const { mapping } = await coordinator.api.updateMapping({ mappingId, clientNetworks: { networks: ['10.0.0.0/8'] }, maxConnections: 3 });
      assert.deepEqual([mapping?.publicPort, mapping?.generation, mapping?.state, mapping?.clientNetworks, mapping?.maxConnections],
        [before?.publicPort, before?.generation, MappingState.MAPPING_STATE_LIVE, ['10.0.0.0/8'], 3]);
    }
    assert.deepEqual(agent.mappings()[0]?.limits, { networks: ['10.0.0.0/8'], maxConnections: 3 });
    const { mapping } = await coordinator.api.updateMapping({ mappingId, clientNetworks: {} });
    assert.deepEqual([mapping?.clientNetworks, mapping?.maxConnections], [[], 3]);
  });

  it('are recorded at once when that is enough, and not live in time when the host does not say so', async () => {
    const agent = await coordinator.agent({ host: 'h1' });
    const mappingId = (await coordinator.api.allocate(allocation('a', {}))).mappings[0]?.mappingId ?? '';
    agent.reports = false;
    const { mapping } = await coordinator.api.updateMapping({ mappingId, maxConnections: 1, wait: Wait.WAIT_RECORDED });
    assert.deepEqual([mapping?.state, mapping?.maxConnections], [MappingState.MAPPING_STATE_PENDING, 1]);
    assert.equal((await refusalOf(coordinator.api.updateMapping({ mappingId, maxConnections: 2 }, 500))).code, status.DEADLINE_EXCEEDED);
    agent.reports = true;
    agent.report();
    assert.equal((await coordinator.api.updateMapping({ mappingId, maxConnections: 2 })).mapping?.maxConnections, 2);
  });

  it('of a mapping that is not there, or of which nothing is said, are refused', async () => {
    await coordinator.agent({ host: 'h1' });
    const absent = await refusalOf(coordinator.api.updateMapping({ mappingId: 'm00', maxConnections: 1 }));
    assert.deepEqual([absent.code, absent.details.reason, absent.details.fields[0]?.field], [status.NOT_FOUND, 'MAPPING_UNKNOWN', 'mapping_id']);
    assert.deepEqual((await refusalOf(coordinator.api.updateMapping({ mappingId: 'm00' }))).details.fields.map(({ field }) => field), ['client_networks']);
  });

  it('that the host cannot enforce are said to be blocked, and the allocation is undone', async () => {
    await coordinator.agent({ host: 'h1', problemOf: object => (object.kind === 'mapping' && object.limits !== undefined ? { reason: 'NO_CLIENT_OF_FAMILY', message: 'none' } : undefined) });
    const refusal = await refusalOf(coordinator.api.allocate(allocation('a', { clientNetworks: ['2001:db8::/32'] })));
    assert.equal(refusal.details.reason, 'PORT_BLOCKED');
    const mappingId = (await coordinator.api.allocate(allocation('b', {}))).mappings[0]?.mappingId ?? '';
    assert.equal((await refusalOf(coordinator.api.updateMapping({ mappingId, clientNetworks: { networks: ['2001:db8::/32'] } }))).details.reason, 'PORT_BLOCKED');
    assert.equal((await coordinator.api.mappings({ environment: 'b' }))[0]?.state, MappingState.MAPPING_STATE_BLOCKED);
    assert.equal((await coordinator.api.updateMapping({ mappingId, clientNetworks: {} })).mapping?.state, MappingState.MAPPING_STATE_LIVE);
  });

  it('are there after a restart of the coordinator', async () => {
    await coordinator.agent({ host: 'h1' });
    await coordinator.api.allocate(allocation('a', LIMITS));
    await coordinator.shutdown();
    await coordinator.boot();
    assert.deepEqual((await coordinator.api.mappings()).map(({ clientNetworks, maxConnections }) => [clientNetworks, maxConnections]), [[['198.51.100.0/24', '2001:db8::/32'], 5]]);
  });
});
