import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmdirSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Wait } from '../../../shared/gen/portlease/v1/common.js';
import { OperationsServiceService as OPERATIONS } from '../../../shared/gen/portlease/v1/operations.js';
import { Refused, refusalOf, status } from '../../support/api.js';
import { eventually, within } from '../../support/wait.js';
import { TestCoordinator } from './coordinator.js';

const allocation = (environment: string) => ({
  tenant: 'acme', environment, host: 'h1', requestId: environment, wait: Wait.WAIT_RECORDED,
  wants: [{ name: 'p', source: { $case: 'pool' as const, value: 'ssh' }, target: { kind: { $case: 'address' as const, value: '10.1.0.1' } } }],
});

describe('a coordinator whose disk fills up', () => {
  let disk = '';
  let coordinator: TestCoordinator;
  beforeEach(async () => {
    disk = mkdtempSync(path.join(tmpdir(), 'portlease-full-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'portlease-test', disk]);
    mkdirSync(path.join(disk, 'db'));
    coordinator = await TestCoordinator.start({ 'database.path': path.join(disk, 'db', 'c.db') });
  });
  afterEach(async () => {
    await coordinator.close();
    execFileSync('umount', [disk]);
    rmdirSync(disk);
  });

  const filler = () => path.join(disk, 'filler');

  function fill(): void {
    const file = openSync(filler(), 'w');
    const block = Buffer.alloc(4096);
    try {
      for (;;) writeSync(file, block);
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
    } finally {
      closeSync(file);
    }
  }

  /** Allocates until nothing can be made durable any more; answers what was answered OK, and the refusal. */
  async function allocateUntilRefused(): Promise<{ answered: string[]; refused: Refused; open: string }> {
    const answered: string[] = [];
    for (let i = 0; i < 90; i += 1) {
      const environment = `env-${i}`;
      try {
        await coordinator.api.allocate(allocation(environment));
        answered.push(environment);
      } catch (error) {
        assert.ok(error instanceof Refused);
        return { answered, refused: error, open: environment };
      }
    }
    throw new Error('the disk did not fill up');
  }

  it('says so to everybody, goes on reading, and works again when there is space, with all that it answered', async () => {
    const agent = await coordinator.agent({ host: 'h1' });
    await coordinator.api.allocate(allocation('before'));
    fill();
    const { answered, refused, open } = await allocateUntilRefused();
    assert.deepEqual([refused.code, refused.details.reason], [status.UNAVAILABLE, 'JOURNAL_UNAVAILABLE']);
    assert.ok((refused.details.retryAfterMs ?? 0) > 0);
    assert.equal((await within('the session to be ended', agent.ended, { withinMs: 5000 }))?.details.reason, 'JOURNAL_UNAVAILABLE');
    assert.equal(await coordinator.api.isServing(), false);
    assert.equal((await refusalOf(coordinator.api.allocate(allocation('while-full')))).details.reason, 'JOURNAL_UNAVAILABLE');
    assert.equal((await coordinator.api.environment('before')).mappings.length, 1);
    assert.notEqual((await coordinator.api.call(OPERATIONS.getStatus, {})).journal, 'ok');

    rmSync(filler());
    await eventually('the coordinator to serve again', () => coordinator.api.isServing(), { withinMs: 15_000 });
    assert.equal((await coordinator.api.call(OPERATIONS.getStatus, {})).journal, 'ok');
    await coordinator.agent({ host: 'h1', lastSession: agent.session });
    const names = (await coordinator.api.mappings()).map(({ environment }) => environment);
    for (const environment of ['before', ...answered]) assert.ok(names.includes(environment), `${environment} was answered and is gone`);
    const retried = await coordinator.api.allocate(allocation(open));
    assert.equal(retried.mappings.length, 1);
  });
});
