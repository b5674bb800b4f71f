/**
 * Children of the agent: iptables-restore, ipset, conntrack, ss. The agent has them started by its spawner (spawner/). Every one
 * - is started without a shell, in the C locale, with a fixed search path;
 * - inherits the writer's lock as descriptor 3, so that a free lock proves that no child of an earlier agent is left;
 * - runs under timeout(1), which ends it with SIGKILL at its deadline even when the agent itself is gone or stopped; one that waited for
 *   its stdin (spawner/ready.ts) at its deadline by who gave it that, and by timeout(1) at the end of its life.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import type { Readable } from 'node:stream';

export type ChildOptions = { stdin?: string; deadlineMs?: number };

/** Runs a program to its end. Rejects with ChildFailed unless it exits with 0. */
export type RunChild = (file: string, argv: readonly string[], options?: ChildOptions) => Promise<ChildOutput>;

export type ChildOutput = { stdout: string; stderr: string };

export type ChildRunner = RunChild & {
  /** Takes no more work and waits for the children that run; each ends by its deadline at the latest. */
  close(): Promise<void>;
};

export type ChildRunnerOptions = {
  /** Descriptor of the writer's lock; undefined where nothing is written. */
  lockFd: number | undefined;
  /** For children that name none. */
  deadlineMs?: number;
  maxOutputBytes?: number;
  /** Where programs are looked up. */
  path?: string;
};

export const SEARCH_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
export const DEADLINE_MS = 10_000;
export const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;
/** So much is written in one piece: the kernel keeps more than that for a child that does not read yet. */
export const WRITTEN_AT_ONCE = 64 * 1024;
/** timeout(1) could not find the program. */
const NOT_FOUND = 127;

type Failure = { exitCode: number | null; signal: NodeJS.Signals | null; stderr: string; timedOut: boolean; cause?: unknown };

/** How a child ended. `problem`: it could not be started, or was ended because of what it did. */
export type ChildEnd = { exitCode: number | null; signal: NodeJS.Signals | null; timedOut: boolean; problem?: string; stdout: Buffer; stderr: Buffer };

/** `leashFd`: inherited as descriptor 4, so that its other side tells when the child and its starter are gone. */
export type ChildStart = { deadlineMs: number; maxOutputBytes: number; path: string; lockFd: number | undefined; leashFd?: number };

export type ChildTask = ChildStart & { stdin: string | Buffer };

/** `deadlineMs` counts from when it gets its stdin, `lifeMs` from its start: that one holds without this process, too. */
export type WaitingChildOptions = ChildStart & { lifeMs: number };

export class ChildFailed extends Error {
  override readonly name = 'ChildFailed';
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
  readonly timedOut: boolean;

  constructor(readonly file: string, readonly argv: readonly string[], failure: Failure) {
    super(`${[file, ...argv].join(' ')}: ${describe(failure)}`, { cause: failure.cause });
    ({ exitCode: this.exitCode, signal: this.signal, stderr: this.stderr, timedOut: this.timedOut } = failure);
  }

  /** True when there is no such program. */
  get missing(): boolean {
    return this.exitCode === NOT_FOUND;
  }
}

function describe({ exitCode, signal, stderr, timedOut, cause }: Failure): string {
  const end = timedOut ? 'ended at its deadline' : cause instanceof Error ? cause.message
    : signal === null ? `exit status ${exitCode}` : `ended by ${signal}`;
  const said = stderr.trim();
  return said === '' ? end : `${end}: ${said.length > 2_000 ? `${said.slice(0, 2_000)} …` : said}`;
}

/** Starts every child from this process, which is forked for it: the larger its heap, the longer that takes. */
export function childRunner(options: ChildRunnerOptions): ChildRunner {
  const { lockFd, deadlineMs = DEADLINE_MS, maxOutputBytes = MAX_OUTPUT_BYTES, path = SEARCH_PATH } = options;
  const run: RunChild = async (file, argv, child = {}) =>
    outputOf(file, argv, await runToEnd(file, argv, { stdin: child.stdin ?? '', deadlineMs: child.deadlineMs ?? deadlineMs, maxOutputBytes, path, lockFd }));
  return runnerOf(run, () => Promise.resolve());
}

/** Refuses what must not be run, and knows what runs; `end` comes after the last of it. */
export function runnerOf(run: RunChild, end: () => Promise<void>): ChildRunner {
  const running = new Set<Promise<unknown>>();
  let closed = false;
  const checked: RunChild = (file, argv, options) => {
    const refusal = closed ? 'the runner of children is closed'
      : [file, ...argv].some(text => text.includes('\0')) ? 'an argument contains NUL' : undefined;
    if (refusal !== undefined) return Promise.reject(failed(file, argv, new Error(refusal)));
    const ended = run(file, argv, options).finally(() => running.delete(ended));
    running.add(ended);
    return ended;
  };
  const close = async (): Promise<void> => {
    closed = true;
    await Promise.allSettled(running);
    await end();
  };
  return Object.assign(checked, { close });
}

export function failed(file: string, argv: readonly string[], cause: Error): ChildFailed {
  return new ChildFailed(file, argv, { exitCode: null, signal: null, stderr: '', timedOut: false, cause });
}

/** Throws ChildFailed unless the child exited with 0. */
export function outputOf(file: string, argv: readonly string[], end: ChildEnd): ChildOutput {
  const { exitCode, signal, timedOut, problem } = end;
  const stderr = end.stderr.toString('utf8');
  if (exitCode === 0 && problem === undefined) return { stdout: end.stdout.toString('utf8'), stderr };
  throw new ChildFailed(file, argv, { exitCode, signal, stderr, timedOut, cause: problem === undefined ? undefined : new Error(problem) });
}

/** Never rejects. */
export function runToEnd(file: string, argv: readonly string[], { stdin, ...start }: ChildTask): Promise<ChildEnd> {
  const child = new WaitingChild(file, argv, { ...start, lifeMs: start.deadlineMs });
  void child.give(stdin);
  return child.ended;
}

/** A child that was started, and its stdin, which is open and empty until it is given. When this process ends the child reads the end of it. */
export class WaitingChild {
  /** Never rejects. */
  readonly ended: Promise<ChildEnd>;
  readonly #child: ChildProcess | undefined;
  readonly #deadlineMs: number;
  #deadline: NodeJS.Timeout | undefined;
  #isLate = false;
  #problem: string | undefined;

  constructor(file: string, argv: readonly string[], options: WaitingChildOptions) {
    const child = startChild(file, argv, options);
    this.#deadlineMs = options.deadlineMs;
    this.#child = child instanceof Error ? undefined : child;
    this.ended = child instanceof Error ? Promise.resolve(notStarted(child)) : this.#end(child, options.maxOutputBytes);
  }

  /**
   * Gives it all of its stdin, once; from now on its deadline counts. False: it ended without a byte of it. Of at most WRITTEN_AT_ONCE bytes
   * it gets all or none, whatever happens to this process.
   */
  give(stdin: string | Buffer): Promise<boolean> {
    const input = this.#child?.stdin;
    if (input === undefined || input === null) return Promise.resolve(false);
    this.#deadline = setTimeout(() => { this.#isLate = true; this.kill(); }, this.#deadlineMs);
    return new Promise(resolve => {
      // That nobody reads any more is known at the first attempt to write, which is made at once. Later failures are not told from success.
      input.end(stdin, (error?: Error | null) => resolve(!error));
      setImmediate(resolve, true);
    });
  }

  /** Lets it go without input. */
  dismiss(): void {
    this.#child?.stdin?.end();
  }

  /** timeout(1) leads a process group of its own. */
  kill(): void {
    if (this.#child?.pid === undefined) return;
    try {
      process.kill(-this.#child.pid, 'SIGKILL');
    } catch {
      this.#child.kill('SIGKILL');
    }
  }

  #end(child: ChildProcess, maxOutputBytes: number): Promise<ChildEnd> {
    const stop = (reason: string): void => { this.#problem ??= reason; this.kill(); };
    const stdout = collect(child.stdout, maxOutputBytes, stop);
    const stderr = collect(child.stderr, maxOutputBytes, stop);
    // A child that ends without reading its input says why by its exit status.
    child.stdin?.on('error', () => undefined);
    const ended = new Promise<ChildEnd>(resolve => {
      child.on('error', error => resolve(notStarted(error)));
      child.on('close', (exitCode, signal) => {
        const settle = (): void => {
          const problem = this.#problem;
          const timedOut = problem === undefined && signal === 'SIGKILL' && this.#isLate;
          resolve({ exitCode, signal, timedOut, ...(problem === undefined ? {} : { problem }), stdout: stdout(), stderr: stderr() });
        };
        // After a deadline that is due: events come before timers when this process did not run for a while.
        if (signal === 'SIGKILL') setTimeout(settle, 1);
        else settle();
      });
    });
    return ended.finally(() => clearTimeout(this.#deadline));
  }
}

function notStarted({ message }: Error): ChildEnd {
  return { exitCode: null, signal: null, timedOut: false, problem: message, stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) };
}

/** Some reasons not to start come as an event, others (arguments that are too long) are thrown. */
function startChild(file: string, argv: readonly string[], { lifeMs, path, lockFd, leashFd }: WaitingChildOptions): ChildProcess | Error {
  try {
    return spawn('timeout', ['-s', 'KILL', (lifeMs / 1000).toFixed(3), file, ...argv], {
      env: { PATH: path, LC_ALL: 'C' },
      stdio: ['pipe', 'pipe', 'pipe', lockFd ?? 'ignore', ...(leashFd === undefined ? [] : [leashFd])],
    });
  } catch (error) {
    return error as Error;
  }
}

/** Without file descriptors left there is no stream. */
function collect(stream: Readable | null | undefined, limit: number, stop: (reason: string) => void): () => Buffer {
  const chunks: Buffer[] = [];
  let size = 0;
  stream?.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size > limit) stop(`wrote more than ${limit} bytes`);
    else chunks.push(chunk);
  });
  return () => Buffer.concat(chunks);
}
