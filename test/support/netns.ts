/** Network namespaces by name: running in them, finding and ending what runs in them, removing those that a dead run left. */
import { readdirSync, readlinkSync, statSync } from 'node:fs';
import { runSync, run, type Finished, type RunOptions } from './run.js';

const DIRECTORY = '/run/netns';

/** Namespaces of one bench are called PREFIX-PID-NUMBER-NODE: PID is the process that has to remove them. */
const OWNED = /^plbench-(\d+)-(\d+)-/;

export function namespacePrefix(number: number): string {
  return `plbench-${process.pid}-${number}`;
}

/** Argument vector that runs `argv` in the network namespace `name`. */
export function inNamespace(name: string, argv: readonly string[]): string[] {
  return ['nsenter', `--net=${DIRECTORY}/${name}`, ...argv];
}

export function runIn(name: string, argv: readonly string[], options: RunOptions = {}): Promise<Finished> {
  return run(inNamespace(name, argv), options);
}

/** Ids of the processes in a namespace. */
export function processesIn(name: string): number[] {
  const wanted = `net:[${statSync(`${DIRECTORY}/${name}`).ino}]`;
  return readdirSync('/proc').filter((entry) => /^\d+$/.test(entry)).map(Number).filter((pid) => namespaceOf(pid) === wanted);
}

function namespaceOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return undefined;
  }
}

/** Ends what runs in these namespaces and removes them. Synchronous: it also works while the process exits. */
export function removeNamespaces(names: readonly string[]): void {
  const present = names.filter((name) => existing().includes(name));
  if (present.length === 0) return;
  for (const name of present) for (const pid of processesIn(name)) endNow(pid);
  const batch = present.map((name) => `netns del ${name}\n`).join('');
  runSync(['ip', '-force', '-batch', '-'], { input: batch });
}

function endNow(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Removes the namespaces of benches whose process is gone; returns their names. */
export function removeLeftovers(): string[] {
  const dead = existing().filter((name) => {
    const pid = OWNED.exec(name)?.[1];
    return pid !== undefined && !isRunning(Number(pid));
  });
  removeNamespaces(dead);
  return dead;
}

function existing(): string[] {
  try {
    return readdirSync(DIRECTORY);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
