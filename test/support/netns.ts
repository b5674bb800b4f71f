/** Network namespaces by name: running in them, finding and ending what runs in them, removing those that a dead run left. */
import { readdirSync, statSync } from 'node:fs';
import { allProcesses, isRunning, namespaceOf, signalProcess } from './processes.js';
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

/** Ids of the processes in a namespace; none when there is no such namespace. */
export function processesIn(name: string): number[] {
  const inode = statSync(`${DIRECTORY}/${name}`, { throwIfNoEntry: false })?.ino;
  return inode === undefined ? [] : allProcesses().filter((pid) => namespaceOf(pid, 'net') === `net:[${inode}]`);
}

/**
 * Ends what runs in these namespaces and removes them; somebody else may be removing the same. Synchronous: it also works while the
 * process exits.
 */
export function removeNamespaces(names: readonly string[]): void {
  const present = names.filter((name) => existing().includes(name));
  if (present.length === 0) return;
  for (const name of present) for (const pid of processesIn(name)) signalProcess(pid, 'SIGKILL');
  const batch = present.map((name) => `netns del ${name}\n`).join('');
  const { stderr } = runSync(['ip', '-force', '-batch', '-'], { input: batch, accept: [1] });
  const left = existing().filter((name) => present.includes(name));
  if (left.length > 0) throw new Error(`these namespaces could not be removed: ${left.join(', ')}\n${stderr}`);
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
