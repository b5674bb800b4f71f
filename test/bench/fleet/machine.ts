/** What the machine and its processes use, from /proc. */
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';

/** Clock ticks a second in /proc/PID/stat: 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
const LOOK_MS = 1_000;

/** Seconds of CPU that the process has used, all its threads together. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name, in parentheses, may contain anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Of /proc/PID/status, in MiB: VmRSS now, VmHWM at most. */
export function residentMib(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  const kib = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  if (kib === undefined) throw new Error(`/proc/${pid}/status has no ${field}`);
  return Number(kib) / 1_024;
}

/** Share of one core that the process uses, from its begin to each call of the result. */
export function cpuMeter(pid: number): () => { share: number; seconds: number } {
  const [startMs, start] = [performance.now(), cpuSeconds(pid)];
  return () => {
    const seconds = cpuSeconds(pid) - start;
    return { seconds, share: (1_000 * seconds) / (performance.now() - startMs) };
  };
}

/** Share of all cores that nobody uses, within a second. */
export async function idleShare(): Promise<{ idle: number; cores: number }> {
  const before = times();
  await pause(LOOK_MS);
  const after = times();
  return { idle: (after.idle - before.idle) / (after.total - before.total), cores: cpus().length };
}

function times(): { idle: number; total: number } {
  const all = cpus().map(({ times: { user, nice, sys, idle, irq } }) => ({ idle, total: user + nice + sys + idle + irq }));
  return all.reduce((sum, core) => ({ idle: sum.idle + core.idle, total: sum.total + core.total }));
}
