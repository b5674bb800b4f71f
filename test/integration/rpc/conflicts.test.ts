import assert from 'node:assert/strict';
import { MappingState, OnConflict, Wait } from '../../../shared/gen/portlease/v1/common.js';
import { conflictSentence } from '../../../shared/conflict-text.js';
import { refusalOf } from '../../support/api.js';
import { EventServiceService, ListEventsRequest } from '../../../shared/gen/portlease/v1/events.js';
import { ExplainPortRequest, PortServiceService } from '../../../shared/gen/portlease/v1/ports.js';
import { eventually } from '../../support/wait.js';
import { conflictToWire } from '../../../shared/wire.js';
import type { Conflict } from '../../../shared/desired.js';
import type { FakeAgent } from './fake-agent.js';
import { TestCoordinator } from './coordinator.js';

const ID = '4f'.repeat(32);
const at = (port: number): Conflict => ({
  transport: 'tcp', port, address: '0.0.0.0', uid: 33, user: 'www-data',
  holder: { pid: 812, program: 'nginx', command: 'nginx: (+2 arguments)', containerId: ID, startedAtMs: 1_700_000_000_000, proxyFor: '', environment: '' },
});

type Given = { environment: string; onConflict?: OnConflict; exactPort?: number; wait?: Wait; requestId?: string };
const allocation = ({ environment, onConflict, exactPort, wait, requestId }: Given) => ({
  tenant: 'acme', environment, host: 'h1', ...wait === undefined ? {} : { wait }, ...requestId === undefined ? {} : { requestId },
  wants: [{
    name: 'ssh', source: { $case: 'pool' as const, value: 'ssh' }, target: { kind: { $case: 'address' as const, value: '10.1.0.1' } },
    ...onConflict === undefined ? {} : { onConflict }, ...exactPort === undefined ? {} : { choice: { $case: 'exactPort' as const, value: exactPort } },
  }],
});

describe('foreign processes on leased ports, over the wire', () => {
  let coordinator: TestCoordinator;
  let agent: FakeAgent;
  beforeEach(async () => {
    coordinator = await TestCoordinator.start();
    await coordinator.agent({ host: 'g1', roles: ['gateway'], addresses: ['203.0.113.1'] });
    agent = await coordinator.agent({ host: 'h1' });
  });
  afterEach(() => coordinator.close());

  const portOf = async (of: Given): Promise<number> => (await coordinator.api.allocate(allocation(of))).mappings[0]?.publicPort ?? 0;
  const mappingOf = async (environment: string) => (await coordinator.api.environment(environment)).mappings.find(({ state }) => state !== MappingState.MAPPING_STATE_RELEASING);
  /** What the pool would give next, now taken by a process. */
  const takeNext = async (): Promise<number> => {
    const { mappings } = await coordinator.api.allocate({ ...allocation({ environment: 'probe' }), dryRun: true });
    const port = mappings[0]?.publicPort ?? 0;
    agent.conflicts = [at(port)];
    return port;
  };

  for (const wait of [Wait.WAIT_LIVE, Wait.WAIT_VERIFIED]) {
    it(`give a caller who waits until its port is ${wait === Wait.WAIT_LIVE ? 'live' : 'verified'} another number, and a retry the same one (S6)`, async () => {
      const first = await portOf({ environment: 'first' });
      agent.conflicts = Array.from({ length: 100 }, (_, i) => at(first - 50 + i)).filter(({ port }) => port !== first && port % 8 !== 7);
      if (wait === Wait.WAIT_VERIFIED) agent.verified = Array.from({ length: 5 }, () => 'm0');
      const asked = coordinator.api.allocate(allocation({ environment: 'env', wait, requestId: 'r-1' }));
      if (wait === Wait.WAIT_VERIFIED) {
        await eventually('the mapping that is served to be verified', async () => {
          agent.verified = agent.mappings().map(({ mappingId }) => mappingId);
          agent.report();
          return (await mappingOf('env').catch(() => undefined))?.state === MappingState.MAPPING_STATE_LIVE;
        }, { withinMs: 10_000 });
      }
      const { mappings: [mapping] } = await asked;
      assert.ok(mapping !== undefined && mapping.state === MappingState.MAPPING_STATE_LIVE);
      assert.ok(!agent.conflicts.some(({ port }) => port === mapping.publicPort), `${mapping.publicPort} is taken`);
      const { events } = await coordinator.api.call(EventServiceService.listEvents, ListEventsRequest.fromPartial({ gateway: 'gw', filter: { environment: 'env', kinds: ['PortRenumbered'] } }));
      assert.equal(events[0]?.detail['port'], `${mapping.publicPort}`);
      const retry = await coordinator.api.allocate(allocation({ environment: 'env', wait, requestId: 'r-1' }));
      assert.deepEqual([retry.replayed, retry.mappings[0]?.publicPort, retry.mappings[0]?.mappingId], [true, mapping.publicPort, mapping.mappingId]);
      const { mappings } = await coordinator.api.environment('env');
      assert.equal(mappings.filter(({ state }) => state === MappingState.MAPPING_STATE_LIVE).length, 1);
    });
  }

  it('leave the number alone that a caller was told at once, and block it', async () => {
    await portOf({ environment: 'first' });
    const port = await takeNext();
    assert.equal(await portOf({ environment: 'env', wait: Wait.WAIT_RECORDED }), port);
    await eventually('it to be blocked', async () => (await mappingOf('env'))?.state === MappingState.MAPPING_STATE_BLOCKED, { withinMs: 5_000 });
    const mapping = await mappingOf('env');
    assert.deepEqual([mapping?.publicPort, mapping?.reason], [port, `PORT_CONFLICT: ${conflictSentence(at(port))}`]);
  });

  it('refuse a caller who asked for this very number, with the process, and undo its allocation', async () => {
    await portOf({ environment: 'first' });
    const port = await takeNext();
    const refusal = await refusalOf(coordinator.api.allocate(allocation({ environment: 'env', exactPort: port })));
    assert.equal(refusal.details.reason, 'PORT_BLOCKED');
    assert.match(refusal.message, /nginx \(pid 812, user www-data/);
    assert.equal(refusal.details.metadata['undone'], 'true');
    const taken = await refusalOf(coordinator.api.allocate(allocation({ environment: 'other', exactPort: port })));
    assert.match(taken.details.reason ?? '', /^PORT_(TAKEN|QUARANTINED)$/);
  });

  it('renumber a live mapping only when its want says so', async () => {
    const kept = await portOf({ environment: 'kept' });
    const moved = await portOf({ environment: 'moved', onConflict: OnConflict.ON_CONFLICT_RENUMBER });
    agent.conflicts = [at(kept), at(moved)];
    agent.report();
    await eventually('the one to be blocked', async () => (await mappingOf('kept'))?.state === MappingState.MAPPING_STATE_BLOCKED, { withinMs: 5_000 });
    await eventually('the other one to be live with another number', async () => {
      const mapping = await mappingOf('moved');
      return mapping?.state === MappingState.MAPPING_STATE_LIVE && mapping.publicPort !== moved;
    }, { withinMs: 5_000 });
    assert.equal((await mappingOf('kept'))?.publicPort, kept);
    agent.conflicts = [];
    agent.report();
    await eventually('the one to be live again', async () => (await mappingOf('kept'))?.state === MappingState.MAPPING_STATE_LIVE, { withinMs: 5_000 });
  });

  it('are listed with process and environment, in pages and by host, and explained', async () => {
    const port = await portOf({ environment: 'env' });
    agent.conflicts = [at(port)];
    agent.report();
    await eventually('it to be listed', async () => (await coordinator.api.conflicts()).length === 1, { withinMs: 5_000 });
    const [found] = await coordinator.api.conflicts({ host: 'h1', pool: 'ssh' });
    assert.ok(found !== undefined);
    const { since, mappingId, ...rest } = found;
    assert.ok(since !== undefined && mappingId !== '');
    assert.deepEqual(rest, { gateway: 'gw', host: 'h1', space: 'gw', pool: 'ssh', environment: 'env', mappingState: MappingState.MAPPING_STATE_BLOCKED, conflict: conflictToWire(at(port)) });
    for (const filter of [{ host: 'absent' }, { pool: 'absent' }]) assert.deepEqual(await coordinator.api.conflicts(filter), []);
    const explained = await coordinator.api.call(PortServiceService.explainPort, ExplainPortRequest.fromPartial({ space: 'gw', port }));
    assert.match(explained.explanation, /an environment has it .*; a process of the host has it, too: nginx \(pid 812/);
    assert.equal(explained.conflicts[0]?.holder?.command, 'nginx: (+2 arguments)');
    assert.ok(explained.history.some(({ kind, detail }) => kind === 'PortConflict' && detail['program'] === 'nginx'));
  });
});
