/** The writer's lock: a FLOCK on a file, taken by flock(1) before the agent starts and inherited by it and by its children. */
import { readdirSync, readFileSync, statSync } from 'node:fs';

/**
 * Descriptor of this process that holds an exclusive FLOCK on `path`, or undefined when none does. A descriptor that merely is
 * open on the file does not count: its process would write beside another one.
 */
export function findLockFd(path: string, procSelf = '/proc/self'): number | undefined {
  const file = statSync(path, { throwIfNoEntry: false });
  if (file === undefined) return undefined;
  return readdirSync(`${procSelf}/fd`).map(Number).sort((a, b) => a - b).find(fd => {
    const open = statSync(`${procSelf}/fd/${fd}`, { throwIfNoEntry: false });
    return open?.dev === file.dev && open.ino === file.ino && holdsExclusiveFlock(readFileSync(`${procSelf}/fdinfo/${fd}`, 'latin1'));
  });
}

/** `fdinfo` lists the locks of that open file description only. */
export function holdsExclusiveFlock(fdinfo: string): boolean {
  return /^lock:\s*\d+:\s*FLOCK\s+ADVISORY\s+WRITE\s/m.test(fdinfo);
}
