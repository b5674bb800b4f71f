import assert from 'node:assert/strict';
import { Protocol, Wait } from '../../../shared/gen/portlease/v1/common.js';
import { HostDuty, OperationsServiceService as OPERATIONS, UpdatePoolRequest, type Host } from '../../../shared/gen/portlease/v1/operations.js';
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
});
