/** From the start of the coordinator's process, on a database with many live mappings, until it says that it serves. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SqliteJournal } from '../../coordinator/journal/sqlite/journal.js';
import { Api } from '../support/api.js';
import { LoggedProcess } from '../support/logged-process.js';
import { ROOT } from '../support/root.js';
import { medianOf, type Row, type Size } from './rows.js';
import { UNIT_FLAGS } from './rpc.js';
import { fillDatabase } from './start-database.js';

const PORT = 24_000 + (process.pid % 500);

/** `mappings` is a multiple of 4,000. */
export async function benchStart(mappings: number, { runs }: Size): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), 'portlease-bench-'));
  try {
    const database = join(directory, 'book.db');
    const journal = await SqliteJournal.open({ path: database });
    try {
      await fillDatabase(journal, mappings);
      await checkLive(journal, mappings);
    } finally {
      await journal.close();
    }
    const config = join(directory, 'coordinator.yaml');
    writeFileSync(config, JSON.stringify({ listen: { grpc: `127.0.0.1:${PORT}`, unix: join(directory, 'api.sock') }, database: { path: database }, log: { level: 'info' } }));
    const starts: Row[][] = [];
    for (let run = 0; run < runs; run += 1) starts.push(await startOnce(config, mappings));
    return medianOf(starts);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** On all cores: nothing else is measured meanwhile. */
async function startOnce(config: string, mappings: number): Promise<Row[]> {
  const startMs = performance.now();
  const server = new LoggedProcess(['setpriv', '--pdeathsig', 'TERM', process.execPath, ...UNIT_FLAGS, join(ROOT, 'dist/coordinator/main.js'), '--config', config], { logFile: `${config}.log` });
  let api: Api | undefined;
  try {
    await server.line(/"msg":"serving"/, 60_000);
    api = new Api(`127.0.0.1:${PORT}`);
    if (!await api.isServing()) throw new Error(`the coordinator says that it does not serve\n${server.tail()}`);
    const seconds = (performance.now() - startMs) / 1_000;
    const residentKib = Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))?.[1]);
    await checkMappings(api, mappings);
    return [{ name: `start.m${mappings}.seconds`, value: seconds, unit: 's' }, { name: `start.m${mappings}.rssmb`, value: residentKib / 1_024, unit: 'MiB' }];
  } finally {
    api?.close();
    await server.stop();
  }
}

async function checkLive(journal: SqliteJournal, mappings: number): Promise<void> {
  let live = 0;
  for (const { gateway } of await journal.gateways()) live += ((await journal.load(gateway))?.mappings ?? []).filter(({ state }) => state === 'live').length;
  if (live !== mappings) throw new Error(`${live} of ${mappings} mappings are live`);
}

/** Throws unless the coordinator has them all. */
async function checkMappings(api: Api, mappings: number): Promise<void> {
  const found = (await api.pools()).reduce((sum, { figures }) => sum + (figures?.allocated ?? 0), 0);
  if (found !== mappings) throw new Error(`${mappings} mappings were stored, and the coordinator counts ${found}`);
}
