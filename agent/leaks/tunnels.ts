/**
 * Processes with the mark of a tunnel: found in /proc, and ended. Promises:
 * - only ssh and autossh with the mark in their environment, in the same pid and network namespace as the agent, are found: what a container runs is not;
 * - each signal goes out only right after mark and start time were seen once more: who got the pid meanwhile is left alone;
 * - the event loop is not kept for more than some dozens of processes at a time.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { readStat } from '../drivers/holders/process.js';
import type { After } from '../../shared/timers.js';
import type { TunnelProcess } from './findings.js';

/** Variable in the environment of a tunnel's process: the id of the tunnel. */
export const TUNNEL_MARK = 'PORTLEASE_TUNNEL';

const PROGRAMS = new Set(['ssh', 'autossh']);
/** HOST.TUNNEL: two DNS labels. */
const TUNNEL_ID = /^[A-Za-z0-9._-]{1,127}$/;
const AT_ONCE = 32;
const KILL_AFTER_MS = 5_000;

/** Throws when `proc` cannot be listed. Processes of other users are seen by root only. */
export async function tunnelProcesses(proc = '/proc'): Promise<TunnelProcess[]> {
  const found: TunnelProcess[] = [];
  const pids = readdirSync(proc).filter(name => /^\d+$/.test(name)).map(Number);
  for (const [i, pid] of pids.entries()) {
    if (i % AT_ONCE === AT_ONCE - 1) await nextTurn();
    const one = tunnelProcess(pid, proc);
    if (one !== undefined) found.push(one);
  }
  return found;
}

/** Undefined: there is none with this pid, or it is none of a tunnel. */
export function tunnelProcess(pid: number, proc = '/proc'): TunnelProcess | undefined {
  const stat = readStat(proc, pid);
  if (stat === undefined || !PROGRAMS.has(stat.program)) return undefined;
  try {
    if (['pid', 'net'].some(kind => readlinkSync(`${proc}/${pid}/ns/${kind}`) !== readlinkSync(`${proc}/self/ns/${kind}`))) return undefined;
    const tunnelId = markIn(readFileSync(`${proc}/${pid}/environ`, 'utf8'));
    return tunnelId === undefined ? undefined : { pid, startTicks: stat.startTicks, program: stat.program, tunnelId };
  } catch {
    return undefined;
  }
}

/** `environ`: NAME=VALUE, each with NUL behind it. */
export function markIn(environ: string): string | undefined {
  const value = environ.split('\0').find(one => one.startsWith(`${TUNNEL_MARK}=`))?.slice(TUNNEL_MARK.length + 1);
  return value !== undefined && TUNNEL_ID.test(value) ? value : undefined;
}

/** SIGTERM now, SIGKILL if it is still there 5 s later. The returned function calls the second one off. Throws when a signal may not be sent. */
export function endTunnel(process: TunnelProcess, after: After, onProblem: (error: Error) => void): () => void {
  if (!signalTunnel(process, 'SIGTERM')) return () => undefined;
  return after(KILL_AFTER_MS, () => {
    try {
      signalTunnel(process, 'SIGKILL');
    } catch (error) {
      onProblem(error as Error);
    }
  });
}

/** False: it is not there any more. Throws when it may not be sent. */
export function signalTunnel({ pid, startTicks, tunnelId }: TunnelProcess, name: 'SIGTERM' | 'SIGKILL'): boolean {
  const now = tunnelProcess(pid);
  if (now?.startTicks !== startTicks || now.tunnelId !== tunnelId) return false;
  try {
    process.kill(pid, name);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}
