/**
 * Processes of tunnels: found and signalled. One is a tunnel's when it bears its mark (environment), is in this network and pid namespace, and is ssh
 * or autossh; each signal goes out only right after mark and start time were seen once more. Nothing else is ever signalled.
 */
import { readFileSync } from 'node:fs';
import type { TunnelProcess } from '../leaks/findings.js';
import { signalTunnel, tunnelProcess, tunnelProcesses } from '../leaks/tunnels.js';
import { readStat } from '../drivers/holders/process.js';
import type { Leader } from './words.js';

/** Running, and not only waiting for its parent to ask how it ended. */
export function isAlive({ pid, startTicks }: Leader): boolean {
  return readStat('/proc', pid)?.startTicks === startTicks && !isZombie(pid);
}

function isZombie(pid: number): boolean {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return /^[ZX]/.test(text.slice(text.lastIndexOf(')') + 2));
  } catch {
    return true;
  }
}

/** Undefined: it is gone already. */
export function leaderOf(pid: number): Leader | undefined {
  const stat = readStat('/proc', pid);
  return stat && { pid, startTicks: stat.startTicks };
}

/** Living processes of tunnels in this network namespace, by the id of the tunnel. */
export async function processesOfTunnels(): Promise<Map<string, TunnelProcess[]>> {
  const found = new Map<string, TunnelProcess[]>();
  for (const process of await tunnelProcesses()) {
    if (isZombie(process.pid)) continue;
    found.set(process.tunnelId, [...found.get(process.tunnelId) ?? [], process]);
  }
  return found;
}

/** The process with this pid, if it is this tunnel's. */
export function markedProcess(pid: number, id: string): TunnelProcess | undefined {
  const found = tunnelProcess(pid);
  return found?.tunnelId === id ? found : undefined;
}

/** What went wrong; those that are gone are fine. */
export function signalAll(processes: readonly TunnelProcess[], signal: 'SIGTERM' | 'SIGKILL'): Error[] {
  return processes.flatMap(process => {
    try {
      signalTunnel(process, signal);
      return [];
    } catch (error) {
      return [error as Error];
    }
  });
}
