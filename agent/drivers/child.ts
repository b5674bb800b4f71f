/**
 * Children of the agent: iptables-restore, ipset, conntrack, ss. Every one
 * - is started without a shell, in the C locale, with a fixed search path;
 * - inherits the writer's lock as descriptor 3, so that a free lock proves that no child of an earlier agent is left;
 * - runs under timeout(1), which ends it with SIGKILL at its deadline even when the agent itself is gone or stopped.
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

const SEARCH_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const DEADLINE_MS = 10_000;
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;
/** timeout(1) could not find the program. */
const NOT_FOUND = 127;

type Failure = { exitCode: number | null; signal: NodeJS.Signals | null; stderr: string; timedOut: boolean; cause?: unknown };

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

export function childRunner(options: ChildRunnerOptions): ChildRunner {
  const running = new Set<Promise<unknown>>();
  let closed = false;
  const run: RunChild = (file, argv, child = {}) => {
    const refusal = closed ? 'the runner of children is closed'
      : [file, ...argv].some(text => text.includes('\0')) ? 'an argument contains NUL' : undefined;
    if (refusal !== undefined) return Promise.reject(failed(file, argv, new Error(refusal)));
    const ended = runOne(file, argv, { deadlineMs: DEADLINE_MS, ...options, ...child }).finally(() => running.delete(ended));
    running.add(ended);
    return ended;
  };
  const close = async (): Promise<void> => {
    closed = true;
    await Promise.allSettled(running);
  };
  return Object.assign(run, { close });
}

function failed(file: string, argv: readonly string[], cause: Error): ChildFailed {
  return new ChildFailed(file, argv, { exitCode: null, signal: null, stderr: '', timedOut: false, cause });
}

type OneChild = ChildRunnerOptions & ChildOptions & { deadlineMs: number };

function runOne(file: string, argv: readonly string[], options: OneChild): Promise<ChildOutput> {
  const seconds = (options.deadlineMs / 1000).toFixed(3);
  const child = spawn('timeout', ['-s', 'KILL', seconds, file, ...argv], {
    env: { PATH: options.path ?? SEARCH_PATH, LC_ALL: 'C' },
    stdio: ['pipe', 'pipe', 'pipe', options.lockFd ?? 'ignore'],
  });
  return new Promise((resolve, reject) => {
    let late = false;
    let cause: Error | undefined;
    const deadline = setTimeout(() => { late = true; }, options.deadlineMs);
    const stop = (error: Error): void => { cause ??= error; kill(child); };
    const limit = options.maxOutputBytes ?? MAX_OUTPUT_BYTES;
    const stdout = collect(child.stdout as Readable, limit, stop);
    const stderr = collect(child.stderr as Readable, limit, stop);
    child.on('error', error => { clearTimeout(deadline); reject(failed(file, argv, error)); });
    child.on('close', (exitCode, signal) => {
      clearTimeout(deadline);
      if (exitCode === 0 && cause === undefined) return resolve({ stdout: stdout(), stderr: stderr() });
      const timedOut = cause === undefined && signal === 'SIGKILL' && late;
      reject(new ChildFailed(file, argv, { exitCode, signal, stderr: stderr(), timedOut, cause }));
    });
    // A child that ends without reading its input says why by its exit status.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(options.stdin ?? '');
  });
}

function collect(stream: Readable, limit: number, stop: (error: Error) => void): () => string {
  const chunks: Buffer[] = [];
  let size = 0;
  stream.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size > limit) stop(new Error(`wrote more than ${limit} bytes`));
    else chunks.push(chunk);
  });
  return () => Buffer.concat(chunks).toString('utf8');
}

/** timeout(1) leads a process group of its own. */
function kill(child: ChildProcess): void {
  try {
    process.kill(-(child.pid as number), 'SIGKILL');
  } catch {
    child.kill('SIGKILL');
  }
}
