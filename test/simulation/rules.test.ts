import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { packageFile } from '../../shared/package-files.js';
import { simulateMutant } from './mutate.js';
import { MUTATIONS } from './mutations.js';
import { shrink } from './shrink.js';
import { simulate, type Outcome, type SimulationOptions } from './simulation.js';

const PROGRAM = packageFile('dist/test/simulation/main.js');

function run(...argv: string[]): Promise<{ exitCode: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [PROGRAM, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] });
    const output: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => output.push(chunk));
    child.on('error', reject);
    child.on('close', (exitCode) => { resolve({ exitCode, output: Buffer.concat(output).toString() }); });
  });
}

async function assertNothingBreaks(...argv: string[]): Promise<void> {
  const { exitCode, output } = await run(...argv);
  assert.equal(exitCode, 0, output);
  assert.match(output, /^no rule broke: [1-9]\d{5,} steps/m, output);
}

describe('the simulation', function () {
  this.timeout('5m');

  it('breaks no rule in a shared space, whatever fails (S1, S2, S3, S4, S5, S6, S7, S8, S9, S11, S12, S13)', () =>
    assertNothingBreaks('--steps', '2000000', '--scope', 'shared'));

  it('breaks no rule in scope host, whatever fails (S2, S3, S4, S5, S6, S7, S9, S11, S12, S13)', () =>
    assertNothingBreaks('--steps', '500000', '--scope', 'host', '--seed', '100000'));

  it('breaks no rule among eight hosts', () => assertNothingBreaks('--steps', '400000', '--hosts', '8', '--seed', '200000'));

  it('is the same each time with the same seed', async () => {
    const options: SimulationOptions = { seed: 7, steps: 8_000, hosts: 3, scope: 'shared', isVerbose: true };
    const [first, second] = [await simulate(options), await simulate(options)];
    assert.equal(first.breach, undefined);
    assert.deepEqual(second.trace, first.trace);
    assert.deepEqual(second.state, first.state);
    assert.ok(first.trace.some((line) => line.includes('commit')));
    const other = await simulate({ ...options, seed: 8 });
    assert.notDeepEqual(other.trace, first.trace);
  });

  it('refuses options that mean nothing', async () => {
    const { exitCode, output } = await run('--steps', '0');
    assert.notEqual(exitCode, 0);
    assert.match(output, /--steps.*not a whole number above 0/);
  });
});

describe('the search for the shortest story', () => {
  const failsWith = (needed: readonly number[]) => (options: SimulationOptions): Promise<Outcome> => {
    const only = options.only ?? new Set(Array.from({ length: 100 }, (_, number) => number));
    const breach = needed.every((number) => only.has(number)) ? 'S1: met' : undefined;
    return Promise.resolve({ steps: 10, actions: 100, breach, trace: [], state: [], virtualMs: 0, outcomes: new Map() });
  };

  it('finds the actions that the failure needs, and no others', async () => {
    const simulated = failsWith([17, 63, 64]);
    const options: SimulationOptions = { seed: 1, steps: 10, hosts: 1, scope: 'shared' };
    const { only } = await shrink(simulated, { options, failed: await simulated(options), tries: 1_000 });
    assert.deepEqual([...only].sort((a, b) => a - b), [17, 63, 64]);
  });

  it('gives up after the tries that it is allowed', async () => {
    const simulated = failsWith([17, 63, 64]);
    let runs = 0;
    const counted = (options: SimulationOptions): Promise<Outcome> => { runs += 1; return simulated(options); };
    const options: SimulationOptions = { seed: 1, steps: 10, hosts: 1, scope: 'shared' };
    const { only } = await shrink(counted, { options, failed: await simulated(options), tries: 5 });
    assert.equal(runs, 5);
    assert.ok(only.has(17) && only.has(63) && only.has(64));
  });
});

describe('the simulation finds a planted bug:', function () {
  this.timeout('3m');

  for (const mutation of MUTATIONS) {
    it(`${mutation.name}, within ${mutation.within} steps`, async () => {
      const { exitCode, output } = await simulateMutant(mutation);
      assert.equal(exitCode, 1, output);
      assert.match(output, /^seed \d+ \((?:shared|host)\), step \d+: (?:S\d+|liveness): /m, output);
    });
  }
});
