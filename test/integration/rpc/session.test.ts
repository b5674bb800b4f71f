import assert from 'node:assert/strict';
import { refusalOf, status } from '../../support/api.js';
import { HostState } from '../../../shared/gen/portlease/v1/operations.js';
import { Wait } from '../../../shared/gen/portlease/v1/common.js';
import { eventually, within } from '../../support/wait.js';
import { TestCoordinator } from './coordinator.js';
import type { FakeAgent } from './fake-agent.js';

const allocation = (environment: string, pool = 'ssh') => ({
  tenant: 'acme', environment, host: 'h1', wait: Wait.WAIT_RECORDED,
  wants: [{ name: 'p', source: { $case: 'pool' as const, value: pool }, target: { kind: { $case: 'address' as const, value: '10.1.0.1' } } }],
});

describe('AgentService over the wire', () => {
  let coordinator: TestCoordinator;
  beforeEach(async () => { coordinator = await TestCoordinator.start(); });
  afterEach(() => coordinator.close());

  const ended = (agent: FakeAgent) => within('the stream to end', agent.ended, { withinMs: 5000 });

  it('sends a snapshot first and changes on top of it, each with its base', async () => {
    const agent = await coordinator.agent({ host: 'h1' });
    for (const name of ['a', 'b', 'c']) await coordinator.api.allocate(allocation(name));
    await eventually('three mappings', () => agent.mappings().length === 3, { withinMs: 2000 });
    const [snapshot, ...changes] = agent.deltas;
    assert.equal(snapshot?.base, undefined);
    assert.ok(changes.length > 0 && changes.every(({ base }) => base !== undefined));
    assert.deepEqual(await agent.heartbeat(), { staleSession: false, rebuild: false, resolveLeaks: [] });
  });

  it('ends the older stream of a host when a newer session is welcomed', async () => {
    const older = await coordinator.agent({ host: 'h1' });
    const newer = await coordinator.agent({ host: 'h1', lastSession: older.session });
    const reason = await ended(older);
    assert.deepEqual([reason?.code, reason?.details.reason], [status.ABORTED, 'STALE_SESSION']);
    assert.deepEqual(await older.heartbeat(), { staleSession: true, rebuild: false, resolveLeaks: [] });
    assert.deepEqual(await newer.heartbeat(), { staleSession: false, rebuild: false, resolveLeaks: [] });
    await coordinator.api.allocate(allocation('env'));
    await eventually('the newer one to be told', () => newer.mappings().length === 1, { withinMs: 2000 });
    assert.equal(older.mappings().length, 0);
  });

  it('refuses a second machine with the id of a host until an operator says that it replaces it', async () => {
    const first = await coordinator.agent({ host: 'h1' });
    await first.heartbeat();
    const second = await refusalOf(coordinator.agent({ host: 'h1' }));
    assert.deepEqual([second.code, second.details.reason], [status.FAILED_PRECONDITION, 'SECOND_MACHINE']);
    await coordinator.api.replaceHost('h1', 'its disk died');
    await coordinator.agent({ host: 'h1' });
    assert.equal((await ended(first))?.details.reason, 'STALE_SESSION');
  });

  it('refuses unknown gateways, hosts of other gateways, and hosts that nobody admitted', async () => {
    assert.equal((await refusalOf(coordinator.agent({ host: 'h1', gateway: 'absent' }))).details.reason, 'GATEWAY_UNKNOWN');
    await coordinator.agent({ host: 'h1' });
    assert.equal((await refusalOf(coordinator.agent({ host: 'h1', gateway: 'edge' }))).details.reason, 'OTHER_GATEWAY');
    await coordinator.shutdown();
    await coordinator.boot({ admit: 'known' });
    assert.equal((await refusalOf(coordinator.agent({ host: 'stranger' }))).details.reason, 'NOT_ADMITTED');
  });

  it('names the field of a bad hello, and ends a stream that begins with something else', async () => {
    const bad = await refusalOf(coordinator.agent({ host: 'Not_a_label' }));
    assert.deepEqual([bad.code, bad.details.reason, bad.details.fields[0]?.field], [status.INVALID_ARGUMENT, 'INVALID_FIELD', 'hello.host']);
    const agent = await coordinator.agent({ host: 'h1' });
    agent.send({ $case: 'hello', value: { host: 'h1', gateway: 'gw', bootId: 'b', version: '1', roles: [1], addresses: ['10.0.0.1'], driver: 1, lastSession: 0, accepted: undefined, leases: [], routes: [], state: undefined, hidesClients: false, tunnelKey: '', capabilities: [] } });
    assert.deepEqual((await ended(agent))?.details.fields.map(({ field }) => field), ['message']);
  });

  it('refuses reports of another session', async () => {
    const agent = await coordinator.agent({ host: 'h1', reports: false });
    agent.session += 1;
    agent.report();
    assert.equal((await ended(agent))?.details.reason, 'STALE_SESSION');
  });

  it('sees a silent host as suspect, gives it no new ports, then as lost, and takes it back after a new hello', async () => {
    const agent = await coordinator.agent({ host: 'h1' });
    await coordinator.api.allocate(allocation('env'));
    agent.silence();
    await coordinator.api.untilHost('h1', HostState.HOST_STATE_SUSPECT);
    const suspect = await refusalOf(coordinator.api.allocate(allocation('env-2')));
    assert.equal(suspect.details.reason, 'HOST_SUSPECT');
    assert.ok((suspect.details.retryAfterMs ?? 0) > 0);
    await coordinator.api.untilHost('h1', HostState.HOST_STATE_LOST);
    assert.deepEqual(await agent.heartbeat(), { staleSession: true, rebuild: false, resolveLeaks: [] });
    await coordinator.agent({ host: 'h1', lastSession: agent.session });
    await coordinator.api.allocate(allocation('env-2'));
  });

  it('merges what a hanging agent does not read, and gives it all at once when it goes on', async () => {
    const agent = await coordinator.agent({ host: 'h1' });
    agent.hang();
    for (let i = 0; i < 10; i += 1) {
      await Promise.all(Array.from({ length: 10 }, (_, j) => coordinator.api.allocate(allocation(`env-${i}-${j}`))));
    }
    agent.goOn();
    await eventually('all mappings', () => agent.mappings().length === 100, { withinMs: 5000 });
    assert.deepEqual(await agent.heartbeat(), { staleSession: false, rebuild: false, resolveLeaks: [] });
  });

  it('lets many agents in at once, and each gets its session', async () => {
    const agents = await Promise.all(Array.from({ length: 100 }, (_, i) => coordinator.agent({ host: `many-${i}`, addresses: [`10.8.0.${i + 1}`], heartbeatMs: 0 })));
    assert.ok(agents.every(({ session }) => session === 1));
  });

  it('ends sessions when the coordinator stops, and the agents are told why', async () => {
    const agent = await coordinator.agent({ host: 'h1' });
    const reason = agent.ended;
    const stopped = coordinator.stop();
    assert.equal((await within('the end', reason, { withinMs: 5000 }))?.code, status.UNAVAILABLE);
    await stopped;
  });
});
