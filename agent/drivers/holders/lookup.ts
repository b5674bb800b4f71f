/** Listeners on the ports that matter, each with the process that holds it. Synchronous: for a process of its own, see server.ts. */
import { readFileSync } from 'node:fs';
import type { PortHolder } from '../../../shared/desired.js';
import { isReachable, isWanted, LISTENER_FILES, parseListeners, type Listener, type Wanted } from '../connections/listeners.js';
import { readHolder, readStat } from './process.js';
import { findHolders } from './search.js';
import { Users } from './users.js';

/** What no process was found for is not looked for again before: the kernel's own sockets have none. */
const RETRY_MS = 30_000;

export type Question = {
  /** /proc/self/net, or that of a process in another network namespace. */
  netDir: string;
  /** Lease addresses: what listens on others is no conflict. */
  addresses: readonly string[];
  wanted: Wanted;
};

type Known = { holder: PortHolder; startTicks: number };

export class HolderLookup {
  private readonly users: Users;
  private readonly known = new Map<number, Known>();
  private readonly unknownSince = new Map<number, number>();

  constructor(private readonly proc = '/proc', passwd = '/etc/passwd') {
    this.users = new Users(passwd);
  }

  /** Listeners that others may reach, in the order of the kernel's tables. Throws when a table that is there cannot be read. */
  find({ netDir, addresses, wanted }: Question, nowMs: number): Listener[] {
    const listeners = LISTENER_FILES.flatMap(({ name, transport }) => parseListeners(tableAt(`${netDir}/${name}`), transport))
      .filter(one => isWanted(wanted, one) && isReachable(one.address, addresses));
    if (listeners.length === 0) {
      this.known.clear();
      this.unknownSince.clear();
      return listeners;
    }
    this.users.refresh();
    this.refresh(new Set(listeners.map(({ inode = 0 }) => inode)), nowMs);
    return listeners.map(one => {
      const holder = this.known.get(one.inode ?? 0)?.holder;
      return { ...one, user: this.users.nameOf(one.uid ?? 0), ...holder === undefined ? {} : { holder } };
    });
  }

  /** Afterwards `known` has what can be known of these sockets, and nothing of others. */
  private refresh(inodes: ReadonlySet<number>, nowMs: number): void {
    for (const inode of this.unknownSince.keys()) if (!inodes.has(inode)) this.unknownSince.delete(inode);
    for (const [inode, { holder: { pid }, startTicks }] of this.known) {
      if (!inodes.has(inode) || readStat(this.proc, pid)?.startTicks !== startTicks) this.known.delete(inode);
    }
    const missing = [...inodes].filter(inode => inode !== 0 && !this.known.has(inode));
    if (!missing.some(inode => nowMs - (this.unknownSince.get(inode) ?? -Infinity) >= RETRY_MS)) return;
    const found = findHolders(this.proc, missing);
    for (const inode of missing) {
      const pid = found.get(inode);
      const stat = pid === undefined ? undefined : readStat(this.proc, pid);
      if (pid === undefined || stat === undefined) this.unknownSince.set(inode, nowMs);
      else {
        this.known.set(inode, { holder: readHolder(this.proc, pid, stat), startTicks: stat.startTicks });
        this.unknownSince.delete(inode);
      }
    }
  }
}

function tableAt(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
