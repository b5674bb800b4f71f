/**
 * What the journal takes by itself: `npx tsx test/bench/journal.ts`. Allocations of one port, each of a mapping, environment,
 * request, event and audit row, 1, 64 or 256 an append, one append after the other. Prints JSON lines {name, value, unit}.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import type { Changes } from '../../coordinator/book/types.js';
import { SqliteJournal } from '../../coordinator/journal/sqlite/journal.js';
import { allocation, changes, gatewayRecord } from '../integration/journal/records.js';

type Result = { name: string; value: number; unit: string };

const RUNS = 5;
const ROWS = 5;

for (const [batch, count] of [[1, 4_000], [64, 40_000], [256, 40_000]] as const) {
  const runs: Result[][] = [];
  for (let run = 0; run < RUNS; run++) runs.push(await measureAppends(batch, count));
  print(medians(runs));
}
print(await measureLoad(100_000));

async function measureAppends(batch: number, count: number): Promise<Result[]> {
  return withJournal(async (journal) => {
    const all = Array.from({ length: Math.ceil(count / batch) }, (_, i) => together(i * batch, batch));
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
    latencies.sort((a, b) => a - b);
    const allocations = all.length * batch;
    const name = (what: string) => `journal.b${batch}.${what}`;
    return [
      { name: name('allocations'), value: Math.round(allocations / seconds), unit: '1/s' },
      { name: name('rows'), value: Math.round(ROWS * allocations / seconds), unit: '1/s' },
      { name: name('cpu'), value: round((user + system) / allocations), unit: 'us/allocation' },
      { name: name('append.p50'), value: round(latencies[latencies.length >> 1] ?? 0), unit: 'ms' },
      { name: name('append.p99'), value: round(latencies[Math.floor(latencies.length * 0.99)] ?? 0), unit: 'ms' },
      { name: name('loop.p99'), value: round(loop.percentile(99) / 1e6 - 1), unit: 'ms' },
      { name: name('loop.max'), value: round(loop.max / 1e6 - 1), unit: 'ms' },
    ];
  });
}

async function measureLoad(count: number): Promise<Result[]> {
  return withJournal(async (journal) => {
    for (let from = 0; from < count; from += 1_000) await journal.append('gw', from, together(from, 1_000));
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
function together(from: number, count: number): Changes {
  const all = Array.from({ length: count }, (_, i) => allocation(from + i + 1));
  return changes(from + count, {
    environments: all.flatMap((one) => one.environments), mappings: all.flatMap((one) => one.mappings),
    requests: all.flatMap((one) => one.requests), events: all.flatMap((one) => one.events), audits: all.flatMap((one) => one.audits),
  });
}

function medians(runs: readonly Result[][]): Result[] {
  return (runs[0] ?? []).map(({ name, unit }, i) => {
    const values = runs.map((run) => run[i]?.value ?? 0).sort((a, b) => a - b);
    return { name, value: values[values.length >> 1] ?? 0, unit };
  });
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

function print(results: readonly Result[]): void {
  for (const result of results) console.log(JSON.stringify(result));
}
