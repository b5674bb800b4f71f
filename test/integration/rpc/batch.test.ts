import assert from 'node:assert/strict';
import { refusedOfStatus, type Refused } from '../../../cli/errors.js';
import { MappingState, Wait } from '../../../shared/gen/portlease/v1/common.js';
import type { AllocatePortsRequest, BatchAllocateResult, BatchAllocation, DeepPartial } from '../../../shared/gen/portlease/v1/ports.js';
import { refusalOf, status } from '../../support/api.js';
import { TestCoordinator } from './coordinator.js';

const want = (name: string, more: object = {}) => ({ name, source: { $case: 'pool' as const, value: 'ssh' }, target: { kind: { $case: 'address' as const, value: '10.1.0.1' } }, ...more });

function request(environment: string, more: DeepPartial<AllocatePortsRequest> = {}): DeepPartial<AllocatePortsRequest> {
  return { tenant: 'acme', environment, host: 'h1', wants: [want('ssh')], wait: Wait.WAIT_RECORDED, ...more };
}

function granted({ outcome }: BatchAllocateResult): BatchAllocation {
  assert.ok(outcome?.$case === 'allocated', JSON.stringify(outcome));
  return outcome.value;
}

function refusedIn({ outcome }: BatchAllocateResult): Refused {
  assert.ok(outcome?.$case === 'refused', JSON.stringify(outcome));
  return refusedOfStatus(outcome.value);
}

describe('BatchAllocatePorts over the wire', () => {
  let coordinator: TestCoordinator;
  beforeEach(async () => { coordinator = await TestCoordinator.start(); });
  afterEach(() => coordinator.close());

  const sequences = async (): Promise<number> => (await coordinator.api.gateways()).find(({ gateway }) => gateway === 'gw')?.revision ?? 0;

  it('answers each request in its place; one that is refused harms no other', async () => {
    await coordinator.agent({ host: 'h1' });
    const results = await coordinator.api.allocateBatch([
      request('env-1'),
      request('env-2', { host: 'nowhere' }),
      request('env-3', { wants: [want('a', { source: { $case: 'pool', value: 'none' } })] }),
      request('env-4', { wants: [want('a', { choice: { $case: 'exactPort', value: 29_999 } })] }),
      request('env-5', { tenant: 'Bad Name', wants: [] }),
      request('env-6', { wants: [want('b', { count: 2, contiguous: true }), want('c')] }),
    ]);
    assert.equal(results.length, 6);
    const [first, host, pool, port, fields, last] = results as [BatchAllocateResult, BatchAllocateResult, BatchAllocateResult, BatchAllocateResult, BatchAllocateResult, BatchAllocateResult];
    assert.equal(granted(first).environment, 'env-1');
    assert.deepEqual([refusedIn(host).code, refusedIn(host).details.reason, refusedIn(host).details.fields[0]?.field], [status.NOT_FOUND, 'HOST_UNKNOWN', 'host']);
    assert.deepEqual([refusedIn(pool).details.reason, refusedIn(pool).details.fields[0]?.field], ['POOL_UNKNOWN', 'wants[0].pool']);
    assert.deepEqual([refusedIn(port).details.reason, refusedIn(port).details.metadata['port']], ['PORT_NOT_IN_POOL', '29999']);
    assert.ok(refusedIn(port).remedy !== undefined);
    assert.deepEqual(refusedIn(fields).details.fields.map(({ field }) => field), ['tenant', 'wants']);
    const { ports, space, publicHost, replayed } = granted(last);
    assert.deepEqual(ports.map(({ name, index }) => [name, index]), [['b', 0], ['b', 1], ['c', 0]]);
    assert.equal((ports[1]?.publicPort ?? 0) - (ports[0]?.publicPort ?? 0), 1);
    assert.deepEqual([space, publicHost, replayed], ['gw', '203.0.113.1', false]);
    const { mappings } = await coordinator.api.environment('env-6');
    assert.deepEqual(ports.map(({ mappingId, publicPort, pool: from, internalPort, state }) => [mappingId, publicPort, from, internalPort, state]),
      mappings.map(({ mappingId, publicPort, pool: from, internalPort, state }) => [mappingId, publicPort, from, internalPort, state]));
  });

  it('S6: a retried batch gets the same answers, a request id with another body is refused alone', async () => {
    await coordinator.agent({ host: 'h1' });
    const batch = [request('env-1', { requestId: 'r1' }), request('env-2', { requestId: 'r2' })];
    const before = await coordinator.api.allocateBatch(batch);
    const again = await coordinator.api.allocateBatch([...batch, request('env-3', { requestId: 'r1' }), request('env-1', { requestId: 'r1' })]);
    assert.deepEqual(again.slice(0, 2).map((result) => granted(result).ports.map(({ mappingId }) => mappingId)), before.map((result) => granted(result).ports.map(({ mappingId }) => mappingId)));
    assert.deepEqual(again.slice(0, 2).map((result) => granted(result).replayed), [true, true]);
    assert.equal(refusedIn(again[2] as BatchAllocateResult).details.reason, 'REQUEST_ID_REUSED');
    assert.deepEqual(granted(again[3] as BatchAllocateResult).ports, granted(again[0] as BatchAllocateResult).ports);
  });

  it('decides in order: a request may take what an earlier one of the batch left', async () => {
    await coordinator.agent({ host: 'h1' });
    const tiny = (environment: string) => request(environment, { wants: [want('a', { source: { $case: 'pool', value: 'tiny' } })] });
    const results = await coordinator.api.allocateBatch([tiny('env-1'), tiny('env-2'), tiny('env-3'), request('env-4')]);
    assert.deepEqual(results.map(({ outcome }) => outcome?.$case), ['allocated', 'allocated', 'refused', 'allocated']);
    assert.deepEqual([refusedIn(results[2] as BatchAllocateResult).code, refusedIn(results[2] as BatchAllocateResult).details.reason], [status.RESOURCE_EXHAUSTED, 'POOL_EXHAUSTED']);
  });

  it('waits for each request as far as it says, and within the deadline of the call', async () => {
    await coordinator.agent({ host: 'h1' });
    const results = await coordinator.api.allocateBatch([request('env-1'), request('env-2', { requestId: 'r2', wait: Wait.WAIT_LIVE })], 800);
    assert.equal(granted(results[0] as BatchAllocateResult).ports[0]?.state, MappingState.MAPPING_STATE_PENDING);
    assert.deepEqual([refusedIn(results[1] as BatchAllocateResult).code, refusedIn(results[1] as BatchAllocateResult).details.reason], [status.DEADLINE_EXCEEDED, 'NOT_LIVE_IN_TIME']);
    await coordinator.agent({ host: 'g1', roles: ['gateway'], addresses: ['203.0.113.1'] });
    const [retry] = await coordinator.api.allocateBatch([request('env-2', { requestId: 'r2', wait: Wait.WAIT_LIVE })]);
    const { replayed, ports } = granted(retry as BatchAllocateResult);
    assert.deepEqual([replayed, ports[0]?.state], [true, MappingState.MAPPING_STATE_LIVE]);
  });

  it('undoes the one request that a host refuses, and keeps the others', async () => {
    await coordinator.agent({ host: 'g1', roles: ['gateway'], addresses: ['203.0.113.1'] });
    await coordinator.agent({
      host: 'h1', problemOf: (object) => (object.kind === 'mapping' && object.environment === 'env-2' ? { reason: 'PORT_IN_USE', message: 'sshd' } : undefined),
    });
    const results = await coordinator.api.allocateBatch(['env-1', 'env-2', 'env-3'].map((name) => request(name, { wait: Wait.WAIT_LIVE })));
    assert.deepEqual(results.map(({ outcome }) => outcome?.$case), ['allocated', 'refused', 'allocated']);
    assert.deepEqual([refusedIn(results[1] as BatchAllocateResult).details.reason, refusedIn(results[1] as BatchAllocateResult).details.metadata['undone']], ['PORT_BLOCKED', 'true']);
  });

  it('takes requests for several gateways, and names that are left out are made up', async () => {
    await coordinator.agent({ host: 'h1' });
    await coordinator.agent({ host: 'e1', gateway: 'edge', addresses: ['198.51.100.7'] });
    const results = (await coordinator.api.allocateBatch([request(''), request('', { host: 'e1' }), request('')])).map(granted);
    assert.deepEqual(results.map(({ space, publicHost }) => [space, publicHost]), [['gw', '203.0.113.1'], ['edge/e1', '198.51.100.7'], ['gw', '203.0.113.1']]);
    assert.equal(new Set(results.map(({ environment }) => environment)).size, 3);
    assert.equal(new Set(results.map(({ requestId }) => requestId)).size, 3);
  });

  it('changes nothing in a dry run', async () => {
    await coordinator.agent({ host: 'h1' });
    const sequence = await sequences();
    const results = (await coordinator.api.allocateBatch([request('env-1', { dryRun: true }), request('env-2', { dryRun: true })])).map(granted);
    assert.deepEqual(results.map(({ ports }) => [ports.length, ports[0]?.mappingId]), [[1, ''], [1, '']]);
    assert.equal(await sequences(), sequence);
  });

  it('refuses a batch that is empty or too large as a whole', async () => {
    const refusals = [
      [],
      Array.from({ length: 257 }, (_, i) => request(`env-${i}`)),
      Array.from({ length: 17 }, (_, i) => request(`env-${i}`, { wants: [want('a', { count: 256 })] })),
    ];
    for (const requests of refusals) {
      const { code, details } = await refusalOf(coordinator.api.allocateBatch(requests));
      assert.deepEqual([code, details.reason, details.fields[0]?.field], [status.INVALID_ARGUMENT, 'INVALID_FIELD', 'requests']);
    }
  });

  it('S2: gives no port twice to many batches at once, and fills the pool to the last port', async () => {
    await coordinator.agent({ host: 'h1' });
    const batches = Array.from({ length: 10 }, (_, b) => Array.from({ length: 11 }, (_, i) => request(`env-${b}-${i}`)));
    const results = (await Promise.all(batches.map((batch) => coordinator.api.allocateBatch(batch)))).flat();
    const ports = results.flatMap(({ outcome }) => (outcome?.$case === 'allocated' ? outcome.value.ports.map(({ publicPort }) => publicPort) : []));
    assert.deepEqual([ports.length, new Set(ports).size], [100, 100]);
    assert.deepEqual(results.flatMap((result) => (result.outcome?.$case === 'refused' ? [refusedIn(result).details.reason] : [])), Array(10).fill('POOL_EXHAUSTED'));
  });
});
