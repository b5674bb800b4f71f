/**
 * One nginx of portlease's own: started, told of new configs, and told from its earlier workers. A config counts as running when /proc shows
 * that the master holds its mark and that a worker that was not there before does: neither `nginx -t` nor a signal says whether a port was taken.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { ChildFailed, SEARCH_PATH, type RunChild } from '../child.js';
import { readRefusal, type Refusal } from './errors.js';
import { heldBy } from './held.js';
import type { NginxPaths } from './paths.js';
import { childrenOf, findProcesses, isThere, processOf, type NginxProcess } from './processes.js';

/** `unit`: of systemd, which starts it; left out: this process does. */
export type MasterOptions = { program: string; unit?: string | undefined; paths: NginxPaths; run: RunChild };

/** Undefined: it runs. */
export type Outcome = Refusal | undefined;

const TEST_DEADLINE_MS = 20_000;
const DEADLINE_MS = 20_000;
const QUIT_MS = 2_000;
const LOOK_MS = 5;
const MAX_TEXT = 256 * 1024;

export class Master {
  private process: NginxProcess | undefined;

  constructor(private readonly options: MasterOptions) {}

  get running(): NginxProcess | undefined {
    return this.process;
  }

  /** False: it has ended. */
  isAlive(): boolean {
    return this.process !== undefined && isThere(this.process);
  }

  /** What an earlier agent started. */
  adopt(): NginxProcess | undefined {
    const found = this.find();
    const isMaster = ({ parent }: NginxProcess): boolean => !found.some(({ pid }) => pid === parent);
    // A worker whose master is gone has no children.
    this.process = found.filter(isMaster).filter(one => childrenOf(one).length > 0).sort((a, b) => b.serial - a.serial)[0];
    return this.process;
  }

  /** All processes of this nginx, of any age. */
  find(): NginxProcess[] {
    return findProcesses(this.options.program, this.options.paths);
  }

  /** Those that do not run the config of the master, or have another master. */
  earlier(): NginxProcess[] {
    const { process } = this;
    return this.find().filter(({ pid, parent, serial }) => process === undefined || (pid !== process.pid && (parent !== process.pid || serial !== process.serial)));
  }

  async test(): Promise<Outcome> {
    try {
      await this.options.run(this.options.program, ['-t', '-q', ...this.arguments], { deadlineMs: TEST_DEADLINE_MS });
      return undefined;
    } catch (error) {
      if (!(error instanceof ChildFailed)) throw error;
      return readRefusal(error.stderr) ?? { binds: [], files: [], problem: error.message };
    }
  }

  /** Tells the master of the config on disk. */
  async reload(serial: number): Promise<Outcome> {
    const { process, options: { paths } } = this;
    if (process === undefined || !isThere(process)) return refused('nginx has ended');
    const before = new Set(childrenOf(process));
    const from = sizeOf(paths.errorLog);
    signal(process, 'SIGHUP');
    for (let waitedMs = 0; waitedMs < DEADLINE_MS; waitedMs += LOOK_MS) {
      await pause(LOOK_MS);
      if (!isThere(process)) return readRefusal(textFrom(paths.errorLog, from)) ?? refused('nginx ended when it was told to reload');
      if (childrenOf(process).some(pid => !before.has(pid)) && this.note(process.pid)?.serial === serial) return undefined;
      const refusal = readRefusal(textFrom(paths.errorLog, from));
      // It tries five times to listen, half a second apart.
      if (refusal !== undefined && (refusal.binds.length === 0 || /still could not bind/.test(refusal.problem))) return refusal;
    }
    return refused(`nginx did not take the config within ${DEADLINE_MS} ms`);
  }

  /** For when there is none. It outlives this process. */
  async start(serial: number): Promise<Outcome> {
    const { program, unit, paths } = this.options;
    await this.retire();
    const refusal = unit === undefined ? await startDaemon(program, this.arguments) : await this.startUnit(unit);
    if (refusal !== undefined) return refusal;
    for (let waitedMs = 0; waitedMs < DEADLINE_MS; waitedMs += LOOK_MS) {
      const started = this.adopt();
      if (started?.serial === serial) return undefined;
      await pause(LOOK_MS);
    }
    return refused(`nginx was started and is not there: see ${paths.errorLog}`);
  }

  /** Outside of the agent's unit, with which it would be ended. */
  private async startUnit(unit: string): Promise<Outcome> {
    const { run, paths } = this.options;
    const from = sizeOf(paths.errorLog);
    try {
      // What a master left that was killed.
      await run('systemctl', ['reset-failed', unit]).catch(() => undefined);
      await run('systemctl', ['restart', unit], { deadlineMs: DEADLINE_MS });
      return undefined;
    } catch (error) {
      return readRefusal(textFrom(paths.errorLog, from)) ?? refused((error as Error).message);
    }
  }

  /** Workers without a master stop listening, and end when their connections have. */
  private async retire(): Promise<void> {
    const orphans = this.find();
    for (const one of orphans) signal(one, 'SIGQUIT');
    for (let waitedMs = 0; waitedMs < QUIT_MS && (await heldBy(orphans)).length > 0; waitedMs += LOOK_MS) await pause(LOOK_MS);
  }

  private note(pid: number): NginxProcess | undefined {
    const now = processOf(pid, this.options.program, this.options.paths);
    if (now?.startTicks === this.process?.startTicks) this.process = now;
    return now;
  }

  private get arguments(): string[] {
    const { paths } = this.options;
    return ['-p', paths.directory, '-c', paths.main, '-e', paths.errorLog];
  }
}

/** For when routes are not nginx' any more: connections end with it. */
export function endAll(program: string, paths: NginxPaths): void {
  for (const one of findProcesses(program, paths)) signal(one, 'SIGTERM');
}

function refused(problem: string): Refusal {
  return { binds: [], files: [], problem };
}

function signal(one: NginxProcess, name: NodeJS.Signals): void {
  try {
    if (isThere(one)) process.kill(one.pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Not by the runner of children: what that starts inherits the writer's lock, and this one stays. */
function startDaemon(program: string, argv: readonly string[]): Promise<Outcome> {
  return new Promise(resolve => {
    const child = spawn(program, argv, { cwd: '/', env: { PATH: SEARCH_PATH, LC_ALL: 'C' }, stdio: ['ignore', 'ignore', 'pipe'] });
    const deadline = setTimeout(() => child.kill('SIGKILL'), DEADLINE_MS);
    let text = '';
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => { if (text.length < MAX_TEXT) text += chunk; });
    const end = (outcome: Outcome): void => {
      clearTimeout(deadline);
      child.stderr.destroy();
      resolve(outcome);
    };
    child.on('error', ({ message }) => end(refused(message)));
    child.on('exit', (code, by) => {
      if (code === 0) end(undefined);
      else setImmediate(() => end(readRefusal(text) ?? refused(`nginx ended with ${by ?? code}: ${text.trim().slice(0, 500)}`)));
    });
  });
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

function textFrom(path: string, from: number): string {
  const length = Math.min(sizeOf(path) - from, MAX_TEXT);
  if (length <= 0) return '';
  const fd = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(length);
    return bytes.toString('utf8', 0, readSync(fd, bytes, 0, length, from));
  } finally {
    closeSync(fd);
  }
}
