import assert from 'node:assert/strict';
import { credentials } from '@grpc/grpc-js';
import { MappingState, Wait } from '../../../shared/gen/portlease/v1/common.js';
import { HostState } from '../../../shared/gen/portlease/v1/operations.js';
import { AllocatePortsRequest, PortServiceClient, type DeepPartial } from '../../../shared/gen/portlease/v1/ports.js';
import { refusalOf, status } from '../../support/api.js';
import { eventually } from '../../support/wait.js';
import { TestCoordinator } from './coordinator.js';

const want = (name: string, more: object = {}) => ({ name, source: { $case: 'pool' as const, value: 'ssh' }, target: { kind: { $case: 'address' as const, value: '10.1.0.1' } }, ...more });

function request(environment: string, more: DeepPartial<AllocatePortsRequest> = {}): DeepPartial<AllocatePortsRequest> {
  return { tenant: 'acme', environment, host: 'h1', wants: [want('ssh')], ...more };
}

describe('AllocatePorts over the wire', () => {
  let coordinator: TestCoordinator;
  beforeEach(async () => { coordinator = await TestCoordinator.start(); });
  afterEach(() => coordinator.close());

  it('answers with live mappings when host and gateway have applied them', async () => {
    await coordinator.agent({ host: 'g1', roles: ['gateway'], addresses: ['203.0.113.1'] });
    const agent = await coordinator.agent({ host: 'h1' });
    const { environment, mappings, replayed, requestId } = await coordinator.api.allocate(request('env-1'));
    assert.equal(replayed, false);
    assert.ok(requestId.length > 8, 'made up when it is left out');
    assert.equal(mappings.length, 1);
    const [mapping] = mappings;
    assert.deepEqual([mapping?.state, mapping?.publicHost, mapping?.host, mapping?.internalPort, mapping?.space, mapping?.reason],
      [MappingState.MAPPING_STATE_LIVE, '203.0.113.1', 'h1', 22, 'gw', '']);
    assert.deepEqual(environment?.mappings, mappings);
    assert.deepEqual(agent.mappings().map(({ port }) => port), [mapping?.publicPort]);
  });

  it('waits for the gateway as well: without its route a mapping is not live', async () => {
    await coordinator.agent({ host: 'h1' });
    const refused = await refusalOf(coordinator.api.allocate(request('env-1', { requestId: 'r1' }), 700));
    assert.equal(refused.code, status.DEADLINE_EXCEEDED);
    assert.equal(refused.details.reason, 'NOT_LIVE_IN_TIME');
    const { mappings: [recorded] } = await coordinator.api.environment('env-1');
    assert.equal(recorded?.state, MappingState.MAPPING_STATE_PENDING);
    const retry = coordinator.api.allocate(request('env-1', { requestId: 'r1' }));
    await coordinator.agent({ host: 'g1', roles: ['gateway'], addresses: ['203.0.113.1'] });
    const { mappings, replayed } = await retry;
    assert.equal(replayed, true);
    assert.deepEqual([mappings[0]?.mappingId, mappings[0]?.state], [recorded.mappingId, MappingState.MAPPING_STATE_LIVE]);
  });

  it('answers at once when recorded is enough', async () => {
    const agent = await coordinator.agent({ host: 'h1', reports: false });
    agent.report();
    const { mappings } = await coordinator.api.allocate(request('env-1', { wait: Wait.WAIT_RECORDED }));
    assert.equal(mappings[0]?.state, MappingState.MAPPING_STATE_PENDING);
  });

  it('waits for the target when asked to, and says which port did not answer', async () => {
    await coordinator.agent({ host: 'g1', roles: ['gateway'], addresses: ['203.0.113.1'] });
    const agent = await coordinator.agent({ host: 'h1' });
    const body = request('env-1', { requestId: 'r1', wait: Wait.WAIT_VERIFIED });
    const refused = await refusalOf(coordinator.api.allocate(body, 600));
    assert.equal(refused.details.reason, 'NOT_VERIFIED_IN_TIME');
    const retry = coordinator.api.allocate(body);
    const [mapping] = agent.mappings();
    assert.equal(mapping?.verify, true);
    agent.verified = [mapping.mappingId];
    agent.report();
    assert.equal((await retry).mappings[0]?.state, MappingState.MAPPING_STATE_LIVE);
  });

  it('undoes everything when the host refuses one port, and passes its reason on', async () => {
    await coordinator.agent({ host: 'g1', roles: ['gateway'], addresses: ['203.0.113.1'] });
    const agent = await coordinator.agent({
      host: 'h1',
      problemOf: (object) => (object.kind === 'mapping' && object.internalPort === 81 ? { reason: 'PORT_IN_USE', message: 'sshd listens there' } : undefined),
    });
    const kept = await coordinator.api.allocate(request('env-1', { wants: [want('old')] }));
    const refused = await refusalOf(coordinator.api.allocate(request('env-1', { wants: [want('old'), want('a'), want('b', { internalPort: 81 })] })));
    assert.equal(refused.code, status.FAILED_PRECONDITION);
    assert.equal(refused.details.reason, 'PORT_BLOCKED');
    assert.match(refused.details.metadata['host_reason'] ?? '', /PORT_IN_USE.*sshd listens there/);
    assert.equal(refused.details.metadata['undone'], 'true');
    await eventually('the undone ports to be gone', async () => {
      const { mappings } = await coordinator.api.environment('env-1');
      return mappings.length === 1 && mappings[0]?.mappingId === kept.mappings[0]?.mappingId;
    }, { withinMs: 3000 });
    assert.deepEqual(agent.mappings().map(({ mappingId }) => mappingId), kept.mappings.map(({ mappingId }) => mappingId));
  });

  it('keeps what a cancelled call was recorded with', async () => {
    await coordinator.agent({ host: 'h1' });
    const client = new PortServiceClient(coordinator.address, credentials.createInsecure());
    const cancelled = new Promise((resolve) => {
      const call = client.allocatePorts(AllocatePortsRequest.fromPartial(request('env-1', { requestId: 'r1' })), resolve);
      void eventually('the ports to be recorded', async () => (await coordinator.api.environment('env-1')).mappings.length === 1, { withinMs: 3000 })
        .then(() => { call.cancel(); });
    });
    await cancelled;
    client.close();
    const again = await coordinator.api.allocate(request('env-1', { requestId: 'r1', wait: Wait.WAIT_RECORDED }));
    assert.equal(again.replayed, true);
    assert.equal(again.environment?.mappings.length, 1);
  });

  it('gives the same answer to the same request id, and refuses another body', async () => {
    await coordinator.agent({ host: 'h1' });
    const first = await coordinator.api.allocate(request('env-1', { requestId: 'r1', wait: Wait.WAIT_RECORDED, labels: { a: '1', b: '2' } }));
    const again = await coordinator.api.allocate(request('env-1', { requestId: 'r1', wait: Wait.WAIT_RECORDED, labels: { b: '2', a: '1' } }));
    assert.equal(again.replayed, true);
    assert.deepEqual(again.mappings, first.mappings);
    const refused = await refusalOf(coordinator.api.allocate(request('env-1', { requestId: 'r1', wants: [want('other')] })));
    assert.deepEqual([refused.code, refused.details.reason, refused.details.fields[0]?.field], [status.INVALID_ARGUMENT, 'REQUEST_ID_REUSED', 'request_id']);
  });

  it('shows what a dry run would give and records nothing', async () => {
    await coordinator.agent({ host: 'h1' });
    const { mappings } = await coordinator.api.allocate(request('env-1', { dryRun: true }));
    assert.equal(mappings[0]?.pool, 'ssh');
    assert.equal((await refusalOf(coordinator.api.environment('env-1'))).details.reason, 'ENVIRONMENT_UNKNOWN');
  });

  it('refuses an environment that another gateway has', async () => {
    await coordinator.agent({ host: 'h1' });
    await coordinator.agent({ host: 'e1', gateway: 'edge', addresses: ['198.51.100.7'] });
    await coordinator.api.allocate(request('env-1', { wait: Wait.WAIT_RECORDED }));
    const refused = await refusalOf(coordinator.api.allocate(request('env-1', { host: 'e1' })));
    assert.deepEqual([refused.details.reason, refused.details.metadata['gateway']], ['ENVIRONMENT_ELSEWHERE', 'gw']);
    const both = await Promise.allSettled(['h1', 'e1'].map((host) => coordinator.api.allocate(request('env-2', { host, wait: Wait.WAIT_RECORDED }))));
    assert.deepEqual(both.map(({ status: outcome }) => outcome).sort(), ['fulfilled', 'rejected']);
  });

  it('serves the same number on each host of a gateway in scope host, under the name of the host', async () => {
    for (const [host, address] of [['e1', '198.51.100.7'], ['e2', '198.51.100.8']] as const) await coordinator.agent({ host, gateway: 'edge', addresses: [address] });
    const answers = await Promise.all(['e1', 'e2'].map((host) => coordinator.api.allocate(request(`env-${host}`, { host, wants: [want('ssh', { choice: { $case: 'exactPort', value: 30003 } })] }))));
    assert.deepEqual(answers.map(({ mappings: [mapping] }) => [mapping?.publicHost, mapping?.publicPort, mapping?.space]), [['198.51.100.7', 30003, 'edge/e1'], ['198.51.100.8', 30003, 'edge/e2']]);
  });

  it('never gives a port twice to many schedulers that retry and cancel, and fills the pool to the last port', async () => {
    await coordinator.agent({ host: 'h1' });
    const client = new PortServiceClient(coordinator.address, credentials.createInsecure());
    const ports = new Map<number, string>();
    await Promise.all(Array.from({ length: 100 }, async (_, i) => {
      const body = request(`env-${i}`, { requestId: `r-${i}`, wait: Wait.WAIT_RECORDED });
      if (i % 3 === 0) await new Promise<void>((resolve) => { client.allocatePorts(AllocatePortsRequest.fromPartial(body), () => { resolve(); }).cancel(); });
      const answers = await Promise.all(Array.from({ length: 1 + (i % 2) }, () => coordinator.api.allocate(body)));
      for (const { mappings: [mapping] } of answers) {
        assert.ok(mapping !== undefined);
        assert.equal(ports.get(mapping.publicPort) ?? body.environment, body.environment, `port ${mapping.publicPort} was given twice`);
        ports.set(mapping.publicPort, body.environment ?? '');
      }
    }));
    client.close();
    assert.equal(ports.size, 100);
    const refused = await refusalOf(coordinator.api.allocate(request('one-more')));
    assert.deepEqual([refused.code, refused.details.reason], [status.RESOURCE_EXHAUSTED, 'POOL_EXHAUSTED']);
  });

  it('keeps what it answered across a restart, and grants on a host again after its hello', async () => {
    const agent = await coordinator.agent({ host: 'h1' });
    const { mappings } = await coordinator.api.allocate(request('env-1', { wait: Wait.WAIT_RECORDED }));
    const { session } = agent;
    await coordinator.shutdown();
    await coordinator.boot();
    assert.deepEqual((await coordinator.api.environment('env-1')).mappings.map(({ mappingId }) => mappingId), mappings.map(({ mappingId }) => mappingId));
    assert.equal((await refusalOf(coordinator.api.allocate(request('env-2')))).details.reason, 'HOST_NOT_READY');
    const back = await coordinator.agent({ host: 'h1', lastSession: session });
    assert.ok(back.session > session);
    assert.deepEqual(back.mappings().map(({ mappingId }) => mappingId), mappings.map(({ mappingId }) => mappingId));
    await coordinator.api.untilHost('h1', HostState.HOST_STATE_ALIVE);
    await coordinator.api.allocate(request('env-2', { wait: Wait.WAIT_RECORDED }));
  });
});
