import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Row } from '../../bench/rows.js';
import { LoggedProcess } from '../../support/logged-process.js';
import { allProcesses, argvOf } from '../../support/processes.js';
import { ROOT } from '../../support/root.js';
import { eventually } from '../../support/wait.js';

const POSITIVE = ['steady.cpu', 'steady.rssmb', 'steady.heartbeat.p50', 'steady.heartbeat.p99', 'steady.allocate.p99', 'restart.seconds', 'restart.allocate.p99', 'loss33.calm.seconds', 'loss60.calm.seconds'];
const NOTHING_LOST = ['restart', 'loss33', 'loss60'].flatMap((phase) => [`${phase}.leaseslost`, `${phase}.mappingslost`]);

describe('npm run bench:fleet', () => {
  let folder: string;
  let place: string;
  let bench: LoggedProcess;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'portlease-fleet-test-'));
    place = mkdtempSync(join(tmpdir(), 'portlease-fleet-place-'));
    const argv = [process.execPath, join(ROOT, 'dist/test/bench/fleet/main.js'), '--hosts', '100', '--seconds', '2', '--restarts', '1', '--quick', '--json', join(folder, 'rows.json')];
    bench = new LoggedProcess(argv, { logFile: join(folder, 'bench.log'), env: { TMPDIR: place } });
  });

  afterEach(async () => {
    await bench.stop('SIGKILL');
    rmSync(folder, { recursive: true });
    rmSync(place, { recursive: true });
  });

  /** Processes that were started with a path in the place: the coordinator and those that play the agents. */
  function started(): string[] {
    return allProcesses().flatMap((pid) => argvOf(pid) ?? []).filter((argument) => argument.includes(place));
  }

  it('counts what a hundred agents cost, loses nothing over a crash of the coordinator and silences of a third and of most hosts, and cleans up', async function () {
    this.timeout(240_000);
    const { code } = await bench.ended;
    assert.equal(code, 0, bench.tail());
    const rows = new Map((JSON.parse(readFileSync(join(folder, 'rows.json'), 'utf8')) as Row[]).map(({ name, value }) => [name, value]));
    for (const figure of POSITIVE) assert.ok((rows.get(`fleet.h100.${figure}`) ?? 0) > 0, `${figure} is missing or 0 in ${JSON.stringify([...rows])}`);
    for (const figure of NOTHING_LOST) assert.equal(rows.get(`fleet.h100.${figure}`), 0, bench.tail(60));
    assert.match(bench.tail(60), /the machine is \d+ % idle/);
    assert.deepEqual(readdirSync(place), []);
    assert.deepEqual(started(), []);
  });

  it('ends its processes and removes their data when it is interrupted', async () => {
    await bench.line(/agents of 2 gateways have a session/, 60_000);
    assert.equal(new Set(started().filter((argument) => argument.endsWith('.json'))).size, 3, 'the agents are not played where the test looks for them');
    const { code } = await bench.stop('SIGINT', 20_000);
    assert.equal(code, 130, bench.tail());
    assert.deepEqual(readdirSync(place), []);
    assert.deepEqual(started(), []);
  });

  it('leaves no process behind when it is killed', async () => {
    await bench.line(/agents of 2 gateways have a session/, 60_000);
    assert.ok(started().length > 0);
    await bench.stop('SIGKILL');
    await eventually('all processes to end', () => started().length === 0, { withinMs: 10_000, hint: () => started().join('\n') });
  });
});
