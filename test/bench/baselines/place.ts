/** Where the compared servers keep their data, how they are started on their core, and that nothing of them stays. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { LoggedProcess } from '../../support/logged-process.js';
import { signalProcess } from '../../support/processes.js';
import { SERVER_CORE } from '../h2load.js';

/** f_type of file systems that lie in memory, where fsync costs nothing: tmpfs, ramfs. */
const IN_MEMORY: readonly number[] = [0x0102_1994, 0x8584_58f6];
const GRACE_MS = 5_000;

export type Place = { directory: string; close(): Promise<void> };

/** A new directory in `parent` for all data of the comparison; close() ends whatever this process still runs, and removes it. */
export function openPlace(parent: string): Place {
  if (IN_MEMORY.includes(statfsSync(parent).type)) throw new Error(`${parent} lies in memory, where fsync costs nothing: set TMPDIR to a directory on a disk`);
  const directory = mkdtempSync(join(parent, 'portlease-baselines-'));
  chmodSync(directory, 0o711);
  return {
    directory,
    async close() {
      await endChildren();
      rmSync(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
    },
  };
}

/** SIGINT, which PostgreSQL takes for "now, and in order"; SIGKILL when that was not enough. */
async function endChildren(): Promise<void> {
  const startMs = performance.now();
  const asked = new Set<number>();
  for (let children = childrenOf(process.pid); children.length > 0; children = childrenOf(process.pid)) {
    const isLate = performance.now() - startMs > GRACE_MS;
    for (const child of children.filter((pid) => isLate || !asked.has(pid))) signalProcess(child, isLate ? 'SIGKILL' : 'SIGINT');
    for (const child of children) asked.add(child);
    await pause(20);
  }
}

/** Node starts all its children from its main thread. */
function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter((text) => text !== '').map(Number);
}

export type ServerOptions = { logFile: string; user?: string };

/** A server on the core for servers, which is told to end if this process should be killed. */
export function startServer(argv: readonly string[], { logFile, user }: ServerOptions): LoggedProcess {
  return new LoggedProcess(['setpriv', '--pdeathsig', 'INT', ...(user === undefined ? [] : identity(user)), 'taskset', '-c', SERVER_CORE, ...argv], { logFile });
}

/** Arguments of setpriv to become that user, with its group and no other. */
export function identity(user: string): string[] {
  return [`--reuid=${user}`, `--regid=${user}`, '--clear-groups'];
}
