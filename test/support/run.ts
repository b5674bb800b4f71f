/** Commands that end by themselves: run with an argument vector and a deadline, never through a shell. */
import { spawn, spawnSync } from 'node:child_process';

export type Finished = { code: number | null; stdout: string; stderr: string };

export type RunOptions = { input?: string; timeoutMs?: number; accept?: readonly number[] };

/** Runs a command to its end. Throws with its output unless its status is 0 or one of `accept`. */
export function run(argv: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const [file, ...args] = argv;
  if (file === undefined) throw new Error('nothing to run');
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: 'pipe', timeout: options.timeoutMs ?? 10_000, killSignal: 'SIGKILL' });
    const finished: Finished = { code: null, stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => (finished.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (finished.stderr += text));
    child.stdin.on('error', () => undefined);
    child.on('error', reject);
    child.on('close', (code) => {
      finished.code = code;
      if (isAccepted(finished, options)) resolve(finished);
      else reject(failure(argv, finished));
    });
    child.stdin.end(options.input ?? '');
  });
}

/** The same while nothing else may happen: for clean-up at exit. */
export function runSync(argv: readonly string[], options: RunOptions = {}): Finished {
  const [file, ...args] = argv;
  if (file === undefined) throw new Error('nothing to run');
  const done = spawnSync(file, args, { input: options.input ?? '', encoding: 'utf8', timeout: options.timeoutMs ?? 10_000, killSignal: 'SIGKILL' });
  if (done.error) throw done.error;
  const finished = { code: done.status, stdout: done.stdout, stderr: done.stderr };
  if (!isAccepted(finished, options)) throw failure(argv, finished);
  return finished;
}

function isAccepted(finished: Finished, options: RunOptions): boolean {
  return finished.code === 0 || (finished.code !== null && (options.accept ?? []).includes(finished.code));
}

function failure(argv: readonly string[], { code, stdout, stderr }: Finished): Error {
  const ending = code === null ? 'was ended by a signal or its deadline' : `ended with ${code}`;
  return new Error(`${argv.join(' ')}\n${ending}\n${stderr.trim()}\n${stdout.trim()}`.trim());
}
