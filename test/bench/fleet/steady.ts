/** The fleet at rest: heartbeats only, then with a scheduler at work. */
import { setTimeout as pause } from 'node:timers/promises';
import { quantile, type Row } from '../rows.js';
import type { FleetBench } from './bench.js';
import { cpuMeter, residentMib } from './machine.js';
import { inWords } from './scheduler.js';

export async function measureSteady(bench: FleetBench): Promise<Row[]> {
  await bench.settle();
  await bench.announce('steady');
  return [...await atRest(bench), ...await atWork(bench)];
}

async function atRest(bench: FleetBench): Promise<Row[]> {
  const { coordinator: { pid }, options: { steadyMs } } = bench;
  await bench.heartbeats();
  const cpu = cpuMeter(pid);
  const agentsCpu = bench.groups.map((group) => cpuMeter(group.pid));
  await pause(steadyMs);
  const { share } = cpu();
  const agentsShare = agentsCpu.reduce((sum, meter) => sum + meter().share, 0);
  const { ms, failures } = await bench.heartbeats();
  process.stdout.write(`  ${ms.length} heartbeats, ${failures} failed; the agents' processes use ${Math.round(100 * agentsShare)} % of a core, the coordinator at most ${Math.round(residentMib(pid, 'VmHWM'))} MiB so far\n`);
  return [
    { name: 'steady.cpu', value: share, unit: 'of a core' },
    { name: 'steady.rssmb', value: residentMib(pid, 'VmRSS'), unit: 'MiB' },
    { name: 'steady.heartbeat.p50', value: quantile(ms, 0.5), unit: 'ms' },
    { name: 'steady.heartbeat.p99', value: quantile(ms, 0.99), unit: 'ms' },
    { name: 'steady.heartbeat.failed', value: failures, unit: '' },
  ];
}

async function atWork(bench: FleetBench): Promise<Row[]> {
  const { coordinator: { pid }, options: { steadyMs, allocationsPerSecond }, scheduler } = bench;
  const cpu = cpuMeter(pid);
  const stop = scheduler.begin(allocationsPerSecond);
  await pause(steadyMs);
  const { share } = cpu();
  const samples = await stop();
  process.stdout.write(`  allocations: ${inWords(samples)}\n`);
  return [
    { name: 'steady.allocate.cpu', value: share, unit: 'of a core' },
    { name: 'steady.allocate.p99', value: quantile(samples.recorded, 0.99), unit: 'ms' },
    { name: 'steady.live.p99', value: quantile(samples.live, 0.99), unit: 'ms' },
  ];
}
