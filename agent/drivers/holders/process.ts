/** What /proc says of one process. A process that has ended meanwhile is undefined. */
import { readFileSync } from 'node:fs';
import type { PortHolder } from '../../../shared/desired.js';
import { plain, proxyTarget, redactedCommand } from './command.js';
import { containerOf } from './container.js';

/** Of all Linux systems: sysconf(_SC_CLK_TCK). */
const TICKS_PER_SECOND = 100;

export type Stat = { program: string; startTicks: number };

/** `text` of /proc/PID/stat: "PID (PROGRAM) STATE …"; the program may hold parentheses and blanks. Field 22 is the start, in ticks since boot. */
export function parseStat(text: string): Stat | undefined {
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  const startTicks = Number(text.slice(close + 2).split(' ')[19]);
  if (open < 0 || close < open || !Number.isSafeInteger(startTicks)) return undefined;
  return { program: plain(text.slice(open + 1, close)), startTicks };
}

export function readStat(proc: string, pid: number): Stat | undefined {
  const text = read(`${proc}/${pid}/stat`);
  return text === undefined ? undefined : parseStat(text);
}

/** Seconds since 1970 at which this machine was booted; 0: not known. */
export function bootSeconds(proc: string): number {
  return Number(/^btime (\d+)$/m.exec(read(`${proc}/stat`) ?? '')?.[1] ?? 0);
}

export function readHolder(proc: string, pid: number, { program, startTicks }: Stat): PortHolder {
  const cmdline = read(`${proc}/${pid}/cmdline`) ?? '';
  const boot = bootSeconds(proc);
  return {
    pid, program, command: redactedCommand(cmdline), containerId: containerOf(read(`${proc}/${pid}/cgroup`) ?? ''),
    startedAtMs: boot === 0 ? 0 : boot * 1_000 + Math.round(startTicks * 1_000 / TICKS_PER_SECOND),
    proxyFor: program === 'docker-proxy' ? proxyTarget(cmdline) : '', environment: '',
  };
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
