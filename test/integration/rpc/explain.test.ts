import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Wait } from '../../../shared/gen/portlease/v1/common.js';
import { ExplainPortRequest, PortCondition, PortServiceService, type DeepPartial, type ExplainPortResponse } from '../../../shared/gen/portlease/v1/ports.js';
import { EXIT } from '../../../cli/exit.js';
import { SqliteJournal } from '../../../coordinator/journal/sqlite/journal.js';
import { Gateways } from '../../../coordinator/keeper/gateways.js';
import { systemClock } from '../../../shared/clock.js';
import { createLogger } from '../../../shared/log.js';
import { explainPort } from '../../../coordinator/rpc/explain.js';
import { portlease } from '../../unit/cli/world.js';
import { refusalOf } from '../../support/api.js';
import { eventually } from '../../support/wait.js';
import { TestCoordinator } from './coordinator.js';

const want = { name: 'ssh', source: { $case: 'pool' as const, value: 'tiny' }, target: { kind: { $case: 'address' as const, value: '10.1.0.1' } } };

describe('ExplainPort over the wire', () => {
  let coordinator: TestCoordinator;
  beforeEach(async () => { coordinator = await TestCoordinator.start(); });
  afterEach(() => coordinator.close());

  const explain = (request: DeepPartial<ExplainPortRequest>): Promise<ExplainPortResponse> =>
    coordinator.api.call(PortServiceService.explainPort, ExplainPortRequest.fromPartial({ space: 'gw', ...request }));

  async function allocated(environment: string): Promise<number> {
    const { mappings } = await coordinator.api.allocate({ tenant: 'acme', environment, host: 'h1', wants: [want], wait: Wait.WAIT_LIVE });
    return mappings[0]?.publicPort ?? 0;
  }

  it('tells an operator who has the port, through which lease, and what happened to it, newest first, in pages', async () => {
    await coordinator.agent({ host: 'g1', roles: ['gateway'], addresses: ['203.0.113.1'] });
    await coordinator.agent({ host: 'h1' });
    const port = await allocated('env-1');
    const inUse = await explain({ port });
    assert.deepEqual([inUse.condition, inUse.pool, inUse.mapping?.environment, inUse.lease?.host, inUse.lease?.routed, inUse.ofAnotherTenant], [PortCondition.PORT_CONDITION_IN_USE, 'tiny', 'env-1', 'h1', true, false]);
    await coordinator.api.release({ selector: { $case: 'environment', value: 'env-1' } });
    const resting = await explain({ port });
    assert.equal(resting.condition, PortCondition.PORT_CONDITION_RESTING);
    assert.ok(resting.freeAt !== undefined && resting.explanation.includes('rests until'));
    await eventually('the quarantine to be over', async () => (await explain({ port })).condition === PortCondition.PORT_CONDITION_LEASED, { withinMs: 5_000 });
    const { history, lastEnvironment } = await explain({ port });
    assert.equal(lastEnvironment, 'env-1');
    assert.deepEqual(history.filter(({ mappingId }) => mappingId !== '').map(({ kind, environment }) => [kind, environment]).filter(([kind]) => kind !== 'PortChanged'),
      [['PortAvailable', 'env-1'], ['PortReleased', 'env-1'], ['PortAllocated', 'env-1']]);
    assert.ok(history.some(({ kind }) => kind === 'LeaseGranted'));
    const first = await explain({ port, pageSize: 2 });
    const second = await explain({ port, pageSize: 2, pageToken: first.nextPageToken });
    assert.deepEqual([...first.history, ...second.history], history.slice(0, 4));
    assert.equal((await refusalOf(explain({ port: port - 1, pageToken: first.nextPageToken }))).details.reason, 'PAGE_TOKEN_INVALID');
  });

  it('tells who had the port long ago, when nothing else of that time is kept, and only its own tenant who that was', async () => {
    await coordinator.agent({ host: 'g1', roles: ['gateway'], addresses: ['203.0.113.1'] });
    await coordinator.agent({ host: 'h1' });
    const port = await allocated('env-1');
    await coordinator.api.release({ selector: { $case: 'environment', value: 'env-1' } });
    await eventually('the quarantine to be over', async () => (await explain({ port })).condition === PortCondition.PORT_CONDITION_LEASED, { withinMs: 5_000 });
    await coordinator.shutdown();
    const journal = await SqliteJournal.open({ path: join(coordinator.folder, 'c.db') });
    const soonMs = Date.now() + 60_000;
    await journal.purge({ eventsAtMs: soonMs, auditsAtMs: 0, releasedAtMs: soonMs, nowMs: soonMs }, () => Promise.resolve(true));
    await journal.close();
    await coordinator.boot();
    const { formerOwners, history } = await explain({ port });
    assert.deepEqual(formerOwners.map(({ environment, tenant, name, host }) => [environment, tenant, name, host]), [['env-1', 'acme', 'ssh', 'h1']]);
    const [owner] = formerOwners;
    assert.ok((owner?.createdAt?.seconds ?? 0) <= (owner?.releasedAt?.seconds ?? -1));
    assert.deepEqual(history.filter(({ kind }) => kind === 'PortAllocated'), []);
    const { out } = await portlease(['explain', String(port), '--space', 'gw', '--server', `unix:${coordinator.socket}`]);
    assert.match(out, /HAD BY +TENANT +HOST +FROM +UNTIL\nenv-1 +acme +h1 /);
  });

  it('tells others that another tenant has it, and its own tenant all', async () => {
    await coordinator.agent({ host: 'g1', roles: ['gateway'], addresses: ['203.0.113.1'] });
    await coordinator.agent({ host: 'h1' });
    const port = await allocated('env-1');
    await coordinator.shutdown();
    const journal = await SqliteJournal.open({ path: join(coordinator.folder, 'c.db') });
    const log = createLogger({ name: 'test', level: 'error', destination: { write: () => undefined } });
    const timing = { heartbeatMs: 200, deadlineMs: 200, suspectMs: 1_500, lostMs: 60_000 };
    const gateways = await Gateways.open({ journal, timing, clock: systemClock(), random: Math.random, log, onHealth: () => undefined });
    const asked = (tenant: string) => explainPort(gateways, ExplainPortRequest.fromPartial({ space: 'gw', port, tenant }), false);
    for (const tenant of ['', 'other']) {
      const answer = await asked(tenant);
      assert.deepEqual([answer.condition, answer.ofAnotherTenant, answer.mapping], [PortCondition.PORT_CONDITION_IN_USE, true, undefined]);
      assert.doesNotMatch(JSON.stringify(answer), /env-1|acme/);
    }
    assert.equal((await asked('acme')).mapping?.environment, 'env-1');
    assert.match(JSON.stringify((await asked('acme')).history), /env-1/);
    await journal.purge({ eventsAtMs: 0, auditsAtMs: 0, releasedAtMs: Date.now() + 1, nowMs: Date.now() }, () => Promise.resolve(true));
    assert.deepEqual((await asked('acme')).formerOwners, [], 'who has it now is no former owner');
    await gateways.close();
    await journal.close();
  });

  it('refuses spaces that there are not', async () => {
    const cases: [space: string, reason: string][] = [['none', 'GATEWAY_UNKNOWN'], ['edge/none', 'HOST_UNKNOWN'], ['edge', 'INVALID_FIELD'], ['gw/h1', 'INVALID_FIELD']];
    for (const [space, reason] of cases) assert.equal((await refusalOf(explain({ space, port: 30_000 }))).details.reason, reason, space);
  });

  it('fits on one screen of the command line', async () => {
    await coordinator.agent({ host: 'g1', roles: ['gateway'], addresses: ['203.0.113.1'] });
    await coordinator.agent({ host: 'h1' });
    const port = await allocated('env-1');
    const run = (...argv: string[]) => portlease(['explain', ...argv, '--server', `unix:${coordinator.socket}`]);
    const { exitCode, out, err } = await run(String(port), '--space=gw');
    assert.equal(exitCode, EXIT.ok, err);
    assert.match(out, new RegExp(`^port +${port} of gw, pool tiny \\(tcp\\)$`, 'm'));
    assert.match(out, /^condition +in use$/m);
    assert.match(out, /^environment +env-1 \(tenant acme\), port ssh$/m);
    assert.match(out, /^lease +l\w+, 3200\d(-3200\d)? of host h1 \(alive\), routed, token \d+\.\d+$/m);
    assert.match(out, /PortAllocated +env-1 +h1 +pending/);
    assert.ok(out.split('\n').length < 25);
    const document = JSON.parse((await run(String(port), '--space=gw', '--json', '--limit=1')).out) as { condition: string; history: object[] };
    assert.deepEqual([document.condition, document.history.length], ['PORT_CONDITION_IN_USE', 1]);
    const several = await run(String(port));
    assert.equal(several.exitCode, EXIT.usage);
    assert.match(several.err, /--space is missing.*\n.*gw/);
  });
});
