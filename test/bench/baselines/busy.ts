/** How busy the machine is with other things, which takes more from a server of one thread than from one of many processes. */
import { cpus } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';

const LOOK_MS = 500;

/** The share of the busier of the two cores that others use, from 0 to 1: ask while nothing is measured. */
export async function busyShare(): Promise<number> {
  const before = cpus();
  await pause(LOOK_MS);
  const after = cpus();
  return Math.max(...[0, 1].map((core) => {
    const [from, to] = [before[core]?.times, after[core]?.times];
    if (from === undefined || to === undefined) throw new Error(`there is no core ${core}: servers are pinned to core 0, their load to core 1`);
    const total = Object.values(to).reduce((sum, value) => sum + value, 0) - Object.values(from).reduce((sum, value) => sum + value, 0);
    return 1 - (to.idle - from.idle) / total;
  }));
}
