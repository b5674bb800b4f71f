/** What must hold before the agent touches anything: it is the only writer, and the programs that it needs work. */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { ipFamily } from '../shared/names.js';
import type { RunChild } from './drivers/child.js';
import { findLockFd } from './drivers/settings/lock.js';
import { describeMissing, missingTools, type MissingTool } from './drivers/settings/tools.js';
import { EXIT, StartRefused } from './exit.js';

/** Descriptor of the writer's lock. `command` is this process' command line, for the remedy. */
export function requireLock(path: string, command: readonly string[]): number {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  const fd = findLockFd(path);
  if (fd !== undefined) return fd;
  const line = ['flock', '--no-fork', '--nonblock', '--conflict-exit-code', `${EXIT.lock}`, path, ...command].map(quoted).join(' ');
  throw new StartRefused(EXIT.lock, `the writer's lock ${path} is not held by this process: two agents would undo each other's rules. Start it so:\n  ${line}`);
}

/** For people who copy it into a shell. */
function quoted(text: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** Returns what is missing and not needed with these lease addresses. */
export async function requireTools(run: RunChild, addresses: readonly string[]): Promise<MissingTool[]> {
  const families = new Set(addresses.map(ipFamily));
  const isNeeded = ({ name }: MissingTool): boolean =>
    name.startsWith('ip6tables') ? families.has(6) : name.startsWith('iptables') ? families.has(4) : true;
  const missing = await missingTools(run);
  const needed = missing.filter(isNeeded);
  if (needed.length > 0) throw new StartRefused(EXIT.tools, describeMissing(needed));
  return missing;
}
