/** How many connections there may be: by the config, and by the descriptors that this process may open. */
import { readFileSync } from 'node:fs';

export type Limits = {
  readonly maxConnections: number;
  readonly maxPerMapping: number;
  /** Descriptors that this process may have open. */
  readonly files: number;
};

export type Use = { readonly listeners: number; readonly connections: number };

/** What the agent itself needs: its state, the session, looking at /proc, and the targets whose answers it waits for. */
const RESERVED_FILES = 96;
/** Least to start with: below some 120 not even this program's modules can be loaded. */
export const MIN_FILES = 160;
/** The client's and the target's. */
const FILES_OF_CONNECTION = 2;

/** Why another connection is refused; undefined when there is room. */
export function refusalOf(limits: Limits, use: Use & { ofMapping: number }): string | undefined {
  if (use.connections >= limits.maxConnections) return `userspace.maxConnections = ${limits.maxConnections} are open`;
  if (use.ofMapping >= limits.maxPerMapping) return `userspace.maxConnectionsPerMapping = ${limits.maxPerMapping} are open`;
  return filesLeft(limits, use) < FILES_OF_CONNECTION ? `the limit of open files (ulimit -n), ${limits.files}, is reached` : undefined;
}

export function hasRoomToListen(limits: Limits, use: Use): boolean {
  return filesLeft(limits, use) >= 1;
}

function filesLeft({ files }: Limits, { listeners, connections }: Use): number {
  return files - RESERVED_FILES - listeners - FILES_OF_CONNECTION * connections;
}

/** The soft limit in the text of /proc/PID/limits; Infinity for "unlimited". Throws when it is not there. */
export function parseFileLimit(text: string): number {
  const [, soft] = /^Max open files\s+(\d+|unlimited)\s/m.exec(text) ?? [];
  if (soft === undefined) throw new Error('no "Max open files" in the limits of this process');
  return soft === 'unlimited' ? Infinity : Number(soft);
}

/** Of this process. */
export function readFileLimit(path = '/proc/self/limits'): number {
  return parseFileLimit(readFileSync(path, 'latin1'));
}
