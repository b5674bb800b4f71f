/** PostgreSQL's best: one prepared statement with FOR UPDATE SKIP LOCKED, by its own load generator, on the other core. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../support/run.js';
import { LOAD_CORE, type LoadResult } from '../h2load.js';
import { quantile } from '../rows.js';
import type { Cluster } from './postgres.js';
import { checkTable, fillTable } from './table.js';

const STATEMENT = `UPDATE port SET status = 'allocated', environment = 'environment-' || :client_id, allocated_at = now()
 WHERE port = (SELECT port FROM port WHERE status = 'available' ORDER BY port FOR UPDATE SKIP LOCKED LIMIT 1) RETURNING port;
`;
const WARM_TRANSACTIONS = 1_600;

/** pgbench counts whole seconds, at least one. */
export async function measureSkipLocked(cluster: Cluster, clients: number, seconds: number): Promise<LoadResult> {
  await fillTable(cluster.admin, 'available');
  const warm = await pgbench(cluster, clients, ['-t', `${WARM_TRANSACTIONS / clients}`]);
  const timed = await pgbench(cluster, clients, ['-T', `${Math.max(1, Math.round(seconds))}`]);
  await checkTable(cluster.admin, warm.answered + timed.answered);
  return { callsPerSecond: timed.callsPerSecond, p50Ms: quantile(timed.timesMs, 0.5), p99Ms: quantile(timed.timesMs, 0.99) };
}

type Loaded = { answered: number; callsPerSecond: number; timesMs: number[] };

async function pgbench({ socketDirectory, program }: Cluster, clients: number, length: readonly string[]): Promise<Loaded> {
  const script = join(socketDirectory, 'skip-locked.sql');
  const logPrefix = `pgbench-${clients}${length.join('')}`;
  writeFileSync(script, STATEMENT);
  const argv = ['taskset', '-c', LOAD_CORE, program('pgbench'), '--host', socketDirectory, '--port', '5432', '--username', 'postgres', '--no-vacuum', '--protocol=prepared',
    '--file', script, '--client', `${clients}`, '--jobs', '1', '--log', '--log-prefix', join(socketDirectory, logPrefix), ...length, 'postgres'];
  const { stdout } = await run(argv, { timeoutMs: 120_000 });
  const answered = /number of transactions actually processed: (\d+)/.exec(stdout)?.[1];
  const rate = /tps = ([\d.]+) \(without initial connection time\)/.exec(stdout)?.[1];
  if (answered === undefined || rate === undefined || !/number of failed transactions: 0 /.test(stdout)) throw new Error(`pgbench did not do all of its transactions:\n${stdout}`);
  return { answered: Number(answered), callsPerSecond: Number(rate), timesMs: timesIn(socketDirectory, logPrefix) };
}

/** A line a transaction: client, number, microseconds, … */
function timesIn(directory: string, prefix: string): number[] {
  const logs = readdirSync(directory).filter((name) => name.startsWith(`${prefix}.`));
  return logs.flatMap((name) => readFileSync(join(directory, name), 'utf8').trim().split('\n')).map((line) => Number(line.split(' ')[2]) / 1_000);
}
