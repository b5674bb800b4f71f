/** SIGKILL to the coordinator, started again at once: how long until every agent is back, and that nothing is lost. */
import { setTimeout as pause } from 'node:timers/promises';
import { medianOf, quantile, type Row } from '../rows.js';
import type { FleetBench } from './bench.js';
import { countLost, untilCalm } from './calm.js';
import { readLedger } from './ledger.js';
import { cpuMeter, residentMib } from './machine.js';
import { inWords } from './scheduler.js';

const BACK_WITHIN_MS = 120_000;
/** The scheduler goes on for so long when all are back. */
const AFTER_MS = 2_000;

export async function measureRestarts(bench: FleetBench): Promise<Row[]> {
  const runs: Row[][] = [];
  for (let run = 1; run <= bench.options.restarts; run += 1) {
    await bench.settle();
    await bench.announce(`restart ${run} of ${bench.options.restarts}`);
    runs.push(await restartOnce(bench));
  }
  // Of what must be 0 the worst run counts, of the others the median.
  const worst = (name: string): number => Math.max(...runs.flat().filter((row) => row.name === name).map(({ value }) => value));
  return medianOf(runs).map((row) => (row.name.endsWith('lost') ? { ...row, value: worst(row.name) } : row));
}

async function restartOnce(bench: FleetBench): Promise<Row[]> {
  const { coordinator, scheduler, options: { allocationsPerSecond } } = bench;
  const before = await readLedger(coordinator.api);
  const answeredBefore = scheduler.answered.length;
  await bench.mark();
  const stop = scheduler.begin(allocationsPerSecond);
  await pause(AFTER_MS);
  const killedMs = performance.timeOrigin + performance.now();
  await coordinator.kill();
  await coordinator.start();
  const serving = performance.timeOrigin + performance.now() - killedMs;
  const cpu = cpuMeter(coordinator.pid);
  const { lastMs, streams } = await bench.untilBack(BACK_WITHIN_MS);
  const { seconds: cpuSeconds } = cpu();
  await pause(AFTER_MS);
  const samples = await stop();
  await untilCalm(coordinator.api, bench.agents, BACK_WITHIN_MS);
  const lost = await countLost(coordinator.api, before, scheduler.answered.slice(answeredBefore));
  const seconds = (lastMs - killedMs) / 1_000;
  const { pid } = coordinator;
  process.stdout.write(`  served again after ${(serving / 1_000).toFixed(1)} s, all back after ${seconds.toFixed(1)} s with ${streams} streams opened, ${cpuSeconds.toFixed(1)} s of CPU meanwhile, at most ${Math.round(residentMib(pid, 'VmHWM'))} MiB\n`);
  process.stdout.write(`  allocations: ${inWords(samples)}\n`);
  return [
    { name: 'restart.seconds', value: seconds, unit: 's' },
    { name: 'restart.cpuseconds', value: cpuSeconds, unit: 's' },
    { name: 'restart.leaseslost', value: lost.leases, unit: '' },
    { name: 'restart.mappingslost', value: lost.mappings, unit: '' },
    { name: 'restart.allocate.p99', value: quantile(samples.recorded, 0.99), unit: 'ms' },
    { name: 'restart.live.p99', value: quantile(samples.live, 0.99), unit: 'ms' },
    { name: 'restart.rssmb', value: residentMib(pid, 'VmRSS'), unit: 'MiB' },
  ];
}
