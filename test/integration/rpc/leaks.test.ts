import assert from 'node:assert/strict';
import { LeakKind } from '../../../shared/gen/portlease/v1/leaks.js';
import { ListLeaksRequest, OperationsServiceService, ResolveLeakRequest, type ListLeaksResponse } from '../../../shared/gen/portlease/v1/operations.js';
import type { Leak } from '../../../shared/leak.js';
import { refusalOf } from '../../support/api.js';
import { eventually } from '../../support/wait.js';
import { TestCoordinator } from './coordinator.js';
import type { FakeAgent } from './fake-agent.js';

const process = (pid: number): Leak => ({
  id: `tunnelProcess/${pid}/100`, kind: 'tunnelProcess', message: `process ${pid}\u001b[31m has the mark\n`, sightings: 3, repair: 'endProcess', isAutomatic: false, mappingId: '', generation: 0, at: undefined,
});
const published = (port: number): Leak => ({ ...process(1), id: `publishedPort/tcp/${port}/0123456789ab`, kind: 'publishedPort', repair: 'none', at: { transport: 'tcp', port } });

describe('leaks, over the wire', () => {
  let coordinator: TestCoordinator;
  let agent: FakeAgent;
  beforeEach(async () => {
    coordinator = await TestCoordinator.start();
    await coordinator.agent({ host: 'g1', roles: ['gateway'], addresses: ['203.0.113.1'] });
    agent = await coordinator.agent({ host: 'h1' });
  });
  afterEach(() => coordinator.close());

  const list = (of: Partial<ListLeaksRequest> = {}): Promise<ListLeaksResponse> => coordinator.api.call(OperationsServiceService.listLeaks, ListLeaksRequest.fromPartial(of));
  const resolve = (leak: string, of: Partial<ResolveLeakRequest> = {}, timeoutMs = 10_000) =>
    coordinator.api.call(OperationsServiceService.resolveLeak, ResolveLeakRequest.fromPartial({ host: 'h1', leak, reason: 'test', ...of }), timeoutMs);
  const find = async (...leaks: Leak[]): Promise<void> => {
    agent.leaks = leaks;
    agent.report();
    await eventually('them to be listed', async () => (await list()).leaks.length === leaks.length, { withinMs: 5_000 });
  };

  it('are listed in order, in pages, by gateway, host and pool, with texts on one line, and counted in the status', async () => {
    await find(process(3), published(30_001), process(2));
    const first = await list({ pageSize: 2 });
    assert.deepEqual(first.leaks.map(({ leak }) => leak?.leak), [published(30_001).id, process(2).id]);
    const rest = await list({ pageSize: 2, pageToken: first.nextPageToken });
    assert.deepEqual([rest.leaks.map(({ leak }) => [leak?.leak, leak?.kind, leak?.message]), rest.nextPageToken], [[[process(3).id, LeakKind.LEAK_KIND_TUNNEL_PROCESS, 'process 3 [31m has the mark']], '']);
    assert.deepEqual((await list({ pool: 'ssh' })).leaks.map(({ leak, pool, gateway, host }) => [leak?.leak, pool, gateway, host]), [[published(30_001).id, 'ssh', 'gw', 'h1']]);
    for (const none of [{ host: 'g1' }, { gateway: 'edge' }, { pool: 'tiny' }]) assert.deepEqual((await list(none)).leaks, []);
    assert.equal((await coordinator.api.call(OperationsServiceService.getStatus, {})).leaks, 3);
  });

  it('are resolved by the host, which its heartbeats ask, and the caller hears when it is done', async () => {
    await find(process(7));
    const asked = resolve(process(7).id);
    await eventually('the host to be asked', () => agent.resolves.has(process(7).id), { withinMs: 5_000 });
    agent.leaks = [];
    agent.report();
    assert.deepEqual([(await asked).resolved, (await list()).leaks], [true, []]);
  });

  it('say to a caller whose time is up that the host has not said that it is gone', async () => {
    await find(process(7));
    assert.equal((await refusalOf(resolve(process(7).id, {}, 700))).details.reason, 'LEAK_NOT_GONE_IN_TIME');
  });

  it('are told in a dry run, and refused where they are not portlease\'s or not there', async () => {
    await find(process(7), published(30_001));
    const plan = await resolve(process(7).id, { dryRun: true });
    assert.deepEqual([plan.resolved, plan.leak?.leak?.leak], [false, process(7).id]);
    assert.deepEqual([(await refusalOf(resolve(published(30_001).id))).details.reason, (await refusalOf(resolve('listener/tcp/1/1'))).details.reason], ['LEAK_IS_FOREIGN', 'LEAK_UNKNOWN']);
    assert.equal((await refusalOf(resolve('listener/tcp/1/1', { host: 'absent' }))).details.reason, 'HOST_UNKNOWN');
    assert.equal(agent.resolves.size, 0);
  });
});
