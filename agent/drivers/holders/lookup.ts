/** Listeners on the ports that matter, each with the process that holds it. Synchronous: for a process of its own, see server.ts. */
import { readFileSync } from 'node:fs';
import type { PortHolder } from '../../../shared/desired.js';
import { MAX_PORT, type PortRange } from '../../../shared/ports.js';
import { isReachable, LISTENER_FILES, parseListeners, type Listener, type Wanted } from '../connections/listeners.js';
import { readHolder, readStat } from './process.js';
import { findHolders } from './search.js';
import { Users } from './users.js';

/** What no process was found for is not looked for again before: the kernel's own sockets have none. */
const RETRY_MS = 30_000;

/** Who asks: of each the helper remembers what it has found last. */
export type Topic = 'leasedPorts' | 'hostPorts' | 'tunnels';

export type Question = {
  topic: Topic;
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
  find({ netDir, addresses, wanted }: Omit<Question, 'topic'>, nowMs: number): Listener[] {
    const isIn = { tcp: portsOf(wanted.tcp), udp: portsOf(wanted.udp) };
    const listeners = LISTENER_FILES.flatMap(({ name, transport }) => parseListeners(tableAt(`${netDir}/${name}`), transport, port => isIn[transport][port] === 1))
      .filter(({ address }) => isReachable(address, addresses));
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
    const isThere = new Map<Known, boolean>();
    for (const [inode, known] of this.known) {
      if (inodes.has(inode) && !isThere.has(known)) isThere.set(known, readStat(this.proc, known.holder.pid)?.startTicks === known.startTicks);
      if (!inodes.has(inode) || isThere.get(known) === false) this.known.delete(inode);
    }
    const missing = [...inodes].filter(inode => inode !== 0 && !this.known.has(inode));
    if (!missing.some(inode => nowMs - (this.unknownSince.get(inode) ?? -Infinity) >= RETRY_MS)) return;
    const found = findHolders(this.proc, missing);
    const processes = new Map(Array.from(new Set(found.values()), pid => [pid, this.read(pid)]));
    for (const inode of missing) {
      const known = processes.get(found.get(inode) ?? 0);
      if (known === undefined) this.unknownSince.set(inode, nowMs);
      else {
        this.known.set(inode, known);
        this.unknownSince.delete(inode);
      }
    }
  }

  private read(pid: number): Known | undefined {
    const stat = readStat(this.proc, pid);
    return stat && { holder: readHolder(this.proc, pid, stat), startTicks: stat.startTicks };
  }
}

/** 1 at each port of the ranges. */
function portsOf(ranges: readonly PortRange[]): Uint8Array {
  const ports = new Uint8Array(MAX_PORT + 1);
  for (const { first, last } of ranges) ports.fill(1, first, last + 1);
  return ports;
}

function tableAt(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
