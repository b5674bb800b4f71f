/**
 * What the journal takes by itself. Allocations of one port, each of a mapping, environment, request, event and audit row; 1, 64 or
 * 256 an append, one append after the other; names in order, or scattered (each touches other pages). By itself:
 * `npx tsx test/bench/journal.ts`.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import type { Changes } from '../../coordinator/book/types.js';
import { SqliteJournal } from '../../coordinator/journal/sqlite/journal.js';
import { allocation, changes, gatewayRecord } from '../integration/journal/records.js';
import { median, quantile, type Row } from './rows.js';

type Names = 'ordered' | 'scattered';
type Load = { label: string; batch: number; count: number; names: Names };

const RUNS = 5;
const ROWS = 5;
const LOADS: readonly Load[] = [
  { label: 'b1', batch: 1, count: 4_000, names: 'ordered' },
  { label: 'b64', batch: 64, count: 40_000, names: 'ordered' },
  { label: 'b256', batch: 256, count: 40_000, names: 'ordered' },
  { label: 'b64.scattered', batch: 64, count: 40_000, names: 'scattered' },
  { label: 'b256.scattered', batch: 256, count: 40_000, names: 'scattered' },
];

export async function benchJournal(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const load of LOADS) {
    const runs: Row[][] = [];
    for (let run = 0; run < RUNS; run++) runs.push(await measureAppends(load));
    rows.push(...medians(runs));
  }
  return [...rows, ...await measureLoad(100_000)];
}

async function measureAppends({ label, batch, count, names }: Load): Promise<Row[]> {
  return withJournal(async (journal) => {
    const all = Array.from({ length: Math.ceil(count / batch) }, (_, i) => together(i * batch, batch, names));
    const latencies: number[] = [];
    const loop = monitorEventLoopDelay({ resolution: 1 });
    loop.enable();
    const cpu = process.cpuUsage();
    const start = performance.now();
    for (const one of all) {
      const from = performance.now();
      await journal.append('gw', one.gateway.sequence - batch, one);
      latencies.push(performance.now() - from);
    }
    const seconds = (performance.now() - start) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    loop.disable();
    const allocations = all.length * batch;
    const name = (what: string) => `journal.${label}.${what}`;
    return [
      { name: name('allocations'), value: Math.round(allocations / seconds), unit: '1/s' },
      { name: name('rows'), value: Math.round(ROWS * allocations / seconds), unit: '1/s' },
      { name: name('cpu'), value: round((user + system) / allocations), unit: 'us/allocation' },
      { name: name('append.p50'), value: round(median(latencies)), unit: 'ms' },
      { name: name('append.p99'), value: round(quantile(latencies, 0.99)), unit: 'ms' },
      { name: name('loop.p99'), value: round(loop.percentile(99) / 1e6 - 1), unit: 'ms' },
      { name: name('loop.max'), value: round(loop.max / 1e6 - 1), unit: 'ms' },
    ];
  });
}

async function measureLoad(count: number): Promise<Row[]> {
  return withJournal(async (journal) => {
    for (let from = 0; from < count; from += 1_000) await journal.append('gw', from, together(from, 1_000, 'ordered'));
    const loop = monitorEventLoopDelay({ resolution: 1 });
    loop.enable();
    const start = performance.now();
    await journal.load('gw');
    const milliseconds = performance.now() - start;
    loop.disable();
    return [{ name: `journal.load.m${count}`, value: Math.round(milliseconds), unit: 'ms' },
      { name: `journal.load.m${count}.loop.max`, value: round(loop.max / 1e6), unit: 'ms' }];
  });
}

async function withJournal<T>(work: (journal: SqliteJournal) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(path.join(tmpdir(), 'portlease-bench-'));
  const journal = await SqliteJournal.open({ path: path.join(folder, 'portlease.db') });
  try {
    await journal.createGateway(gatewayRecord());
    return await work(journal);
  } finally {
    await journal.close();
    rmSync(folder, { recursive: true });
  }
}

/** One batch of allocations, as a book hands it over. */
function together(from: number, count: number, names: Names): Changes {
  const all = Array.from({ length: count }, (_, i) => allocation(from + i + 1));
  const whole = changes(from + count, {
    environments: all.flatMap((one) => one.environments), mappings: all.flatMap((one) => one.mappings),
    requests: all.flatMap((one) => one.requests), events: all.flatMap((one) => one.events), audits: all.flatMap((one) => one.audits),
  });
  if (names === 'scattered') {
    for (const record of [...whole.environments, ...whole.mappings]) record.environment = scattered(record.environment);
    for (const record of whole.requests) record.requestId = scattered(record.requestId);
  }
  return whole;
}

function scattered(name: string): string {
  return createHash('md5').update(name).digest('hex');
}

function medians(runs: readonly Row[][]): Row[] {
  return (runs[0] ?? []).map(({ name, unit }, i) => ({ name, value: median(runs.map((run) => run[i]?.value ?? 0)), unit }));
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

if (process.argv[1] === import.meta.filename) for (const row of await benchJournal()) console.log(JSON.stringify(row));
