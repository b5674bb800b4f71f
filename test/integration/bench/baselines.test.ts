import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Row } from '../../bench/rows.js';
import { LoggedProcess } from '../../support/logged-process.js';
import { allProcesses, argvOf } from '../../support/processes.js';
import { ROOT } from '../../support/root.js';
import { eventually } from '../../support/wait.js';

const FIGURES = ['portlease.c1m1', 'portlease.c4m64', 'portlease.batch64', 'homemade.c1', 'homemade.c64', 'skiplocked.c4', 'skiplocked.c16', 'skiplocked.c64', 'etcd.put', 'etcd.grant', 'etcd.both',
  'ratio.homemade', 'ratio.others', 'ratio.homemade.batch64', 'ratio.others.batch64'];

describe('npm run bench:baselines', () => {
  let folder: string;
  let place: string;
  let bench: LoggedProcess;

  function start(): void {
    const argv = [process.execPath, join(ROOT, 'dist/test/bench/baselines/main.js'), '--runs', '1', '--seconds', '0.3', '--json', join(folder, 'rows.json')];
    bench = new LoggedProcess(argv, { logFile: join(folder, 'bench.log'), env: { TMPDIR: place } });
  }

  /** Processes that were started with a path in the place. */
  function servers(): string[] {
    return allProcesses().flatMap((pid) => argvOf(pid) ?? []).filter((argument) => argument.includes(place));
  }

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'portlease-baselines-test-'));
    place = mkdtempSync(join(tmpdir(), 'portlease-baselines-place-'));
    chmodSync(place, 0o711);
  });

  afterEach(async () => {
    await bench.stop('SIGKILL');
    rmSync(folder, { recursive: true });
    rmSync(place, { recursive: true });
  });

  it('measures every system with its own check of the result, and leaves neither process nor file', async () => {
    start();
    const { code } = await bench.ended;
    assert.equal(code, 0, bench.tail());
    const rows = JSON.parse(readFileSync(join(folder, 'rows.json'), 'utf8')) as Row[];
    for (const figure of FIGURES) assert.ok((rows.find(({ name }) => name === `baselines.${figure}`)?.value ?? 0) > 0, `${figure} is missing or 0 in ${JSON.stringify(rows)}`);
    assert.match(bench.tail(), /portlease \/ home-made table .* (met|missed)/);
    assert.deepEqual(readdirSync(place), []);
    assert.deepEqual(servers(), []);
  });

  it('ends its servers and removes their data when it is interrupted', async () => {
    start();
    await bench.line(/homemade\.c1 /, 50_000);
    assert.ok(servers().some((argument) => argument.includes('postgres')), 'PostgreSQL does not run where the test looks for it');
    const { code } = await bench.stop('SIGINT', 20_000);
    assert.equal(code, 130, bench.tail());
    assert.deepEqual(readdirSync(place), []);
    assert.deepEqual(servers(), []);
  });

  it('leaves no server behind when it is killed', async () => {
    start();
    await bench.line(/homemade\.c1 /, 50_000);
    assert.ok(servers().length > 0);
    await bench.stop('SIGKILL');
    await eventually('PostgreSQL to end', () => servers().length === 0, { withinMs: 10_000, hint: () => servers().join('\n') });
  });
});
