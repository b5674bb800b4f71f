/** The home-made port table: its function is a Node process, on one core with PostgreSQL. */
import { join } from 'node:path';
import { run } from '../../support/run.js';
import { ROOT } from '../../support/root.js';
import { SERVER_CORE, type LoadResult } from '../h2load.js';
import type { Served } from './home-made-function.js';
import type { Cluster } from './postgres.js';
import { checkTable, fillTable } from './table.js';

const FUNCTION = join(ROOT, 'dist/test/bench/baselines/home-made-function.js');
const WARM_SHARE = 0.5;

export async function measureHomeMade({ admin, socketDirectory }: Cluster, callers: number, seconds: number): Promise<LoadResult> {
  await fillTable(admin, 'status');
  const argv = [FUNCTION, socketDirectory, `${callers}`, `${seconds * WARM_SHARE}`, `${seconds}`];
  const { stdout } = await run(['taskset', '-c', SERVER_CORE, process.execPath, ...argv], { timeoutMs: 60_000 });
  const { answered, ...result } = JSON.parse(stdout) as Served;
  await checkTable(admin, answered);
  return result;
}
