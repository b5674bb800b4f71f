/** What /proc says about processes. Each answer may be out of date when it is read. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

export function allProcesses(): number[] {
  return readdirSync('/proc').filter((entry) => /^\d+$/.test(entry)).map(Number);
}

/** "net:[4026531840]"; undefined when the process is gone. */
export function namespaceOf(pid: number, kind: 'net' | 'mnt'): string | undefined {
  return orGone(() => readlinkSync(`/proc/${pid}/ns/${kind}`));
}

/** Arguments, the program first; undefined when the process is gone, empty for a zombie. */
export function argvOf(pid: number): string[] | undefined {
  return orGone(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1));
}

export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Sends a signal; a process that is gone already is fine. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function orGone<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** Of a process that is there. */
export function parentOf(pid: number): number | undefined {
  const stat = orGone(() => readFileSync(`/proc/${pid}/stat`, 'utf8'));
  return stat === undefined ? undefined : Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}
