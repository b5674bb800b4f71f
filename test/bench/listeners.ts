/** Who listens on leased ports of a host where 5,000 sockets listen: how long the agent waits for that, and how long it stands still meanwhile. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import type { Wanted } from '../../agent/drivers/connections/listeners.js';
import { ForeignListeners } from '../../agent/drivers/holders/foreign.js';
import { Helper } from '../../agent/drivers/holders/helper.js';
import { createLogger } from '../../shared/log.js';
import { medianOf, quantile, type Row, type Size } from './rows.js';

const LISTENERS = 5_000;
const FIRST = 20_000;
/** That hold them. */
const PROCESSES = 10;

/** Listens on COUNT ports from FIRST on; ends with its input. */
const PROGRAM = `
const [first, count] = process.argv.slice(1).map(Number);
const open = port => new Promise((resolve, reject) => require('net').createServer().on('error', reject).listen(port, '0.0.0.0', resolve));
Promise.all(Array.from({ length: count }, (_, i) => open(first + i))).then(() => console.log('listening'));
process.stdin.on('end', () => process.exit()).resume();
`;

/** All are in one network namespace, which the first one makes. */
const SHARE = LISTENERS / PROCESSES;

type Service = { pid: number; end(): Promise<void> };

async function serve(first: number, inFrontOf: readonly string[]): Promise<Service> {
  const [file, ...args] = [...inFrontOf, process.execPath, '-e', PROGRAM, `${first}`, `${SHARE}`];
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(createInterface({ input: child.stdout }), 'line');
  return {
    pid: child.pid as number,
    end: async () => {
      const ended = once(child, 'exit');
      child.stdin.end();
      await ended;
    },
  };
}

export async function benchListeners({ runs, samples }: Size): Promise<Row[]> {
  const services = [await serve(FIRST, ['unshare', '--net'])];
  const netDir = `/proc/${services[0]?.pid}/net`;
  try {
    for (let at = 1; at < PROCESSES; at += 1) services.push(await serve(FIRST + at * SHARE, ['nsenter', `--net=/proc/${services[0]?.pid}/ns/net`]));
    const helper = new Helper();
    const foreign = new ForeignListeners({ addresses: ['10.0.0.1'], log: createLogger({ name: 'bench', level: 'silent' }), netDir, helper });
    try {
      await foreign.find(wanted(FIRST, 1));
      const rows: Row[][] = [];
      for (let run = 0; run < runs; run += 1) rows.push(await take(foreign, samples));
      return medianOf(rows);
    } finally {
      await helper.close();
    }
  } finally {
    for (const service of services.reverse()) await service.end();
  }
}

async function take(foreign: ForeignListeners, samples: number): Promise<Row[]> {
  // Another port each time: who holds its socket is not known yet.
  const one = await sampled(samples, () => timed(foreign, wanted(FIRST + Math.floor(Math.random() * LISTENERS), 1), 1));
  const free = await sampled(samples, () => timed(foreign, wanted(FIRST + LISTENERS, 1_000), 0));
  const all = await sampled(samples, async () => {
    await foreign.find(wanted(FIRST + LISTENERS, 1));
    return timed(foreign, wanted(FIRST, LISTENERS), LISTENERS);
  });
  return [
    { name: 'listeners.n5000.ms', value: quantile(one.tookMs, 0.5), unit: 'ms' }, { name: 'listeners.n5000.p99.ms', value: quantile(one.tookMs, 0.99), unit: 'ms' },
    { name: 'listeners.n5000.free.ms', value: quantile(free.tookMs, 0.5), unit: 'ms' }, { name: 'listeners.n5000.all.ms', value: quantile(all.tookMs, 0.5), unit: 'ms' },
    { name: 'listeners.n5000.stall.ms', value: one.stallMs, unit: 'ms' }, { name: 'listeners.n5000.all.stall.ms', value: all.stallMs, unit: 'ms' },
  ];
}

/** `stallMs`: p99 of the delay of this process's event loop meanwhile. */
async function sampled(samples: number, ask: () => Promise<number>): Promise<{ tookMs: number[]; stallMs: number }> {
  const loop = monitorEventLoopDelay({ resolution: 1 });
  loop.enable();
  const tookMs: number[] = [];
  for (let i = 0; i < samples; i += 1) tookMs.push(await ask());
  loop.disable();
  return { tookMs, stallMs: loop.percentile(99) / 1e6 };
}

async function timed(foreign: ForeignListeners, ports: Wanted, expected: number): Promise<number> {
  await pause(20);
  const startMs = performance.now();
  const found = await foreign.find(ports);
  const tookMs = performance.now() - startMs;
  const unknown = found.filter(({ holder }) => holder === undefined).length;
  if (found.length !== expected || unknown > 0) throw new Error(`found ${found.length} of ${expected} listeners, ${unknown} of them without their process`);
  return tookMs;
}

function wanted(first: number, count: number): Wanted {
  return { tcp: [{ first, last: first + count - 1 }], udp: [] };
}
