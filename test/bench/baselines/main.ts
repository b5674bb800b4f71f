/** `npm run bench:baselines`: portlease beside port tables in PostgreSQL and beside etcd, as docs/bench.md says. */
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { parseArgs } from 'node:util';
import type { LoadResult } from '../h2load.js';
import { busyShare } from './busy.js';
import { measureEtcd } from './etcd.js';
import { CALLERS, rowsOf, tableOf, type RunResults } from './figures.js';
import { measureHomeMade } from './home-made.js';
import { openPlace } from './place.js';
import { measurePortlease } from './portlease.js';
import { withPostgres } from './postgres.js';
import { measureSkipLocked } from './skip-locked.js';

const EXIT_NEEDS_ROOT = 2;
const EXIT_STOPPED = 130;
const QUIET = 0.1;

type Report = (name: string, result: LoadResult) => void;
type System = (directory: string, seconds: number, report: Report) => Promise<void>;

const SYSTEMS: readonly System[] = [
  (directory, seconds, report) => withPostgres(directory, async (cluster) => {
    for (const callers of CALLERS.homeMade) report(`homemade.c${callers}`, await measureHomeMade(cluster, callers, seconds));
    for (const clients of CALLERS.skipLocked) report(`skiplocked.c${clients}`, await measureSkipLocked(cluster, clients, seconds));
  }),
  async (_, seconds, report) => {
    const { one, many, batches } = await measurePortlease(seconds);
    report('portlease.c1m1', one);
    report('portlease.c4m64', many);
    report('portlease.batch64', batches);
  },
  async (directory, seconds, report) => {
    const { put, grant } = await measureEtcd(directory, seconds);
    report('etcd.put', put);
    report('etcd.grant', grant);
  },
];

/** One server at a time; each run begins with another system, so that a machine that slows down slows all of them. */
async function measure(directory: string, { runs, seconds }: { runs: number; seconds: number }): Promise<RunResults[]> {
  const all: RunResults[] = [];
  for (let run = 0; run < runs; run += 1) {
    const results = new Map<string, LoadResult>();
    const report: Report = (name, result) => {
      results.set(name, result);
      process.stdout.write(`run ${run + 1} of ${runs}: ${name.padEnd(20)} ${Math.round(result.callsPerSecond).toLocaleString('en').padStart(8)}/s\n`);
    };
    await warnIfBusy();
    for (let turn = 0; turn < SYSTEMS.length; turn += 1) await SYSTEMS[(run + turn) % SYSTEMS.length]!(directory, seconds, report);
    all.push(results);
  }
  return all;
}

async function warnIfBusy(): Promise<void> {
  const busy = await busyShare();
  if (busy > QUIET) process.stdout.write(`others use ${Math.round(100 * busy)} % of a core: figures and ratios are not those of a quiet machine\n`);
}

function options(): { runs: number; seconds: number; json: string | undefined } {
  const { values } = parseArgs({ options: { json: { type: 'string' }, runs: { type: 'string', default: '5' }, seconds: { type: 'string', default: '2' } } });
  const [runs, seconds] = [Number(values.runs), Number(values.seconds)];
  if (!Number.isInteger(runs) || runs < 1 || !(seconds > 0)) throw new Error('npm run bench:baselines -- [--json FILE] [--runs N] [--seconds S]');
  return { runs, seconds, json: values.json };
}

/** All temporary files, also of what is called here, lie in the place, so that its end removes them. */
async function main(): Promise<void> {
  const { json, ...size } = options();
  const place = openPlace(tmpdir());
  process.env['TMPDIR'] = place.directory;
  const stopped = new Promise<'stopped'>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => { resolve('stopped'); });
  });
  let outcome: 'stopped' | RunResults[];
  try {
    outcome = await Promise.race([measure(place.directory, size), stopped]);
  } finally {
    await place.close();
  }
  if (outcome === 'stopped') process.exit(EXIT_STOPPED);
  const rows = rowsOf(outcome);
  process.stdout.write(`\n${tableOf(rows)}\n`);
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(rows, undefined, 2)}\n`);
}

if (process.getuid?.() !== 0) {
  process.stderr.write(`bench: PostgreSQL is started as its own user: root is needed, and nothing was done. Run:\n\n  sudo ${process.argv.join(' ')}\n`);
  process.exit(EXIT_NEEDS_ROOT);
}
await main();
