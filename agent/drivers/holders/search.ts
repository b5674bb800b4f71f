/** Which process holds a socket: the links in /proc/PID/fd name its inode. */
import { readdirSync, readlinkSync } from 'node:fs';

/**
 * By inode: the oldest process (lowest pid) that holds it; init, which holds the sockets of services that it starts, comes last. Sockets
 * of processes that this user may not look into are not found.
 */
export function findHolders(proc: string, inodes: Iterable<number>): Map<number, number> {
  const wanted = new Map(Array.from(inodes, inode => [`socket:[${inode}]`, inode]));
  const found = new Map<number, number>();
  for (const pid of pidsIn(proc)) {
    if (wanted.size === 0) break;
    const folder = `${proc}/${pid}/fd`;
    for (const fd of namesIn(folder)) {
      const link = linkAt(`${folder}/${fd}`);
      const inode = wanted.get(link);
      if (inode === undefined) continue;
      found.set(inode, pid);
      wanted.delete(link);
      if (wanted.size === 0) break;
    }
  }
  return found;
}

function pidsIn(proc: string): number[] {
  const pids = namesIn(proc).filter(name => /^[0-9]+$/.test(name)).map(Number).sort((a, b) => a - b);
  return pids[0] === 1 ? [...pids.slice(1), 1] : pids;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function linkAt(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
