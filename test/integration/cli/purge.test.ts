import assert from 'node:assert/strict';
import { EXIT } from '../../../cli/exit.js';
import { Connection } from '../../../coordinator/journal/sqlite/connection.js';
import { portlease } from '../../unit/cli/world.js';
import { Watch } from '../../support/watch.js';
import { within } from '../../support/wait.js';
import { TestCoordinator } from '../rpc/coordinator.js';

const WANT = '--want=name=ssh,pool=ssh,target=10.1.0.1';
const OLD_MS = Date.parse('2026-01-01T00:00:00Z');

describe('portlease purge', () => {
  let coordinator: TestCoordinator;
  beforeEach(async () => { coordinator = await TestCoordinator.start(); });
  afterEach(() => coordinator.close());

  const run = (...argv: string[]) => portlease([...argv, '--server', `unix:${coordinator.socket}`]);
  const json = async (...argv: string[]) => JSON.parse((await run(...argv, '--json')).out) as Record<string, number | boolean>;

  /** A port released long ago, and everything until then as old: written while the coordinator is off. */
  async function growOld(): Promise<void> {
    const agent = await coordinator.agent({ host: 'h1' });
    await coordinator.agent({ host: 'g1', roles: ['gateway'], addresses: ['203.0.113.1'] });
    assert.equal((await run('allocate', 'env-1', '--host=h1', '--tenant=acme', WANT)).exitCode, EXIT.ok);
    assert.equal((await run('release', 'env-1')).exitCode, EXIT.ok);
    await coordinator.shutdown();
    const database = await Connection.open(`${coordinator.folder}/c.db`, 'readWrite');
    await database.exec(`DROP TRIGGER event_is_append_only; UPDATE event SET at_ms = ${OLD_MS};
      UPDATE mapping SET state = 'released', until_ms = ${OLD_MS}; DELETE FROM request`);
    await database.close();
    await coordinator.boot();
    await coordinator.agent({ host: 'h1', lastSession: agent.session });
  }

  it('says what would go, takes it, and says that nothing is left', async () => {
    await growOld();
    const due = await json('purge', '--dry-run');
    assert.deepEqual([due['mappings'], due['audits'], due['finished']], [1, 0, true]);
    assert.ok(Number(due['events']) > 5);
    const { out } = await run('purge');
    assert.match(out, /^deleted\nreleased ports +1, of before \d{4}-/);
    const left = await json('purge', '--dry-run');
    assert.deepEqual([left['mappings'], left['events']], [0, 0]);
    assert.ok(coordinator.log.some((line) => line.includes('"msg":"purged"') && line.includes('"mappings":1')));
  });

  it('refuses a watcher below what was purged, and serves one that starts at the oldest', async () => {
    await growOld();
    const first = new Watch(coordinator.address, { afterRevision: 1 });
    await first.until('an old event', ({ events }) => events.length > 0);
    first.close();
    await run('purge');
    await coordinator.shutdown();
    await coordinator.boot();
    const late = new Watch(coordinator.address, { afterRevision: 1 });
    const refused = await within('the watch to be refused', late.ended, { withinMs: 5_000 });
    assert.deepEqual([refused?.code, refused?.details.reason], [11, 'REVISION_TOO_OLD']);
    late.close();
    const fresh = new Watch(coordinator.address, { afterRevision: 0 });
    await fresh.until('what is kept', ({ events }) => events.some(({ kind, host }) => kind === 'HostAlive' && host === 'h1'));
    fresh.close();
    const outcome = await run('events', '--gateway=gw', '--after=1');
    assert.match(outcome.err, /reason: REVISION_TOO_OLD[^]*next: {3}List again/);
  });
});
