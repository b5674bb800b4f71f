/** Many hosts fall silent at once, for so long that their leases expire, and come back at once. */
import { quantile, type Row } from '../rows.js';
import { eventually } from '../../support/wait.js';
import type { FleetBench } from './bench.js';
import { countLost, untilCalm } from './calm.js';
import { readLedger } from './ledger.js';
import { cpuMeter } from './machine.js';
import { inWords } from './scheduler.js';

const LOST_WITHIN_MS = 120_000;
const CALM_WITHIN_MS = 180_000;

/** The first group is a third of the hosts, the first two are 60 %. */
export async function measureLosses(bench: FleetBench): Promise<Row[]> {
  return [...await lose(bench, 'loss33', 1), ...await lose(bench, 'loss60', 2)];
}

async function lose(bench: FleetBench, name: string, groups: number): Promise<Row[]> {
  const { coordinator, scheduler, options: { allocationsPerSecond } } = bench;
  const { api, pid } = coordinator;
  const silent = bench.groups.slice(0, groups);
  const hosts = silent.reduce((sum, { size }) => sum + size, 0);
  await bench.settle();
  await bench.announce(`${name} (${hosts} hosts)`);
  const before = await readLedger(api);
  const answeredBefore = scheduler.answered.length;
  await Promise.all(silent.map((group) => group.mark()));
  const stop = scheduler.begin(allocationsPerSecond);
  const wholeCpu = cpuMeter(pid);
  for (const group of silent) group.silence();
  let lostNow = 0;
  await eventually(`${hosts} hosts to be lost`, async () => {
    lostNow = (await api.status()).hostsLost;
    return lostNow >= hosts;
  }, { withinMs: LOST_WITHIN_MS, everyMs: 500, hint: () => `${lostNow} are` });
  const falling = wholeCpu();
  const returnCpu = cpuMeter(pid);
  const startMs = performance.now();
  for (const group of silent) group.goOn();
  await Promise.all(silent.map((group) => group.untilBack(CALM_WITHIN_MS)));
  const backSeconds = (performance.now() - startMs) / 1_000;
  const samples = await stop();
  await untilCalm(api, bench.agents, CALM_WITHIN_MS);
  const seconds = (performance.now() - startMs) / 1_000;
  const returning = returnCpu();
  const lost = await countLost(api, before, scheduler.answered.slice(answeredBefore));
  process.stdout.write(`  until all were lost ${falling.seconds.toFixed(1)} s of CPU; back after ${backSeconds.toFixed(1)} s, calm after ${seconds.toFixed(1)} s, with ${returning.seconds.toFixed(1)} s of CPU\n`);
  process.stdout.write(`  allocations: ${inWords(samples)}\n`);
  return [
    { name: `${name}.falling.cpu`, value: falling.share, unit: 'of a core' },
    { name: `${name}.returning.cpu`, value: returning.share, unit: 'of a core' },
    { name: `${name}.calm.seconds`, value: seconds, unit: 's' },
    { name: `${name}.leaseslost`, value: lost.leases, unit: '' },
    { name: `${name}.mappingslost`, value: lost.mappings, unit: '' },
    { name: `${name}.allocate.p99`, value: quantile(samples.recorded, 0.99), unit: 'ms' },
  ];
}
