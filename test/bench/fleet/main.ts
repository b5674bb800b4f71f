/** `npm run bench:fleet`: a real coordinator and thousands of simulated agents, as docs/bench.md says. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Row } from '../rows.js';
import { FleetBench } from './bench.js';
import { verdicts } from './goals.js';
import { measureLosses } from './loss.js';
import { optionsOf, type Options, type Phase } from './options.js';
import { measureRestarts } from './restart.js';
import { measureSteady } from './steady.js';

const EXIT_USAGE = 64;
const EXIT_STOPPED = 130;

const MEASURES: Record<Phase, (bench: FleetBench) => Promise<Row[]>> = { steady: measureSteady, restart: measureRestarts, loss: measureLosses };

async function measure(bench: FleetBench, { hosts, phases }: Options): Promise<Row[]> {
  await bench.start();
  const rows: Row[] = [];
  for (const phase of phases) {
    for (const row of await MEASURES[phase](bench)) {
      const named = { ...row, name: `fleet.h${hosts}.${row.name}`, value: Math.round(row.value * 1_000) / 1_000 };
      rows.push(named);
      process.stdout.write(`${named.name.padEnd(40)} ${String(named.value).padStart(10)} ${named.unit}\n`);
    }
  }
  return rows;
}

async function main(options: Options): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'portlease-fleet-'));
  const bench = new FleetBench(options, directory);
  const stopped = new Promise<'stopped'>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => { resolve('stopped'); });
  });
  let outcome: 'stopped' | Row[];
  try {
    outcome = await Promise.race([measure(bench, options), stopped]);
  } finally {
    await bench.close();
    rmSync(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  }
  if (outcome === 'stopped') process.exit(EXIT_STOPPED);
  process.stdout.write(`\n${verdicts(outcome)}`);
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(outcome, undefined, 2)}\n`);
}

function understood(argv: readonly string[]): Options {
  try {
    return optionsOf(argv);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exit(EXIT_USAGE);
  }
}

await main(understood(process.argv.slice(2)));
