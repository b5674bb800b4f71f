/** A process that runs until it is stopped: its output goes to a file, is searched for lines, and its end is awaited. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createWriteStream, readFileSync, type WriteStream } from 'node:fs';
import { basename } from 'node:path';
import { within } from './wait.js';

export type ProcessOptions = { logFile: string; env?: Record<string, string> };

type Watcher = { pattern: RegExp; found: (line: string) => void };

export class LoggedProcess {
  readonly logFile: string;
  /** Settles when the process has ended and all its output is in the log. */
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  readonly #child: ChildProcess;
  readonly #log: WriteStream;
  readonly #watchers = new Set<Watcher>();
  readonly #name: string;
  #seen = '';
  #partial = '';

  constructor(argv: readonly string[], options: ProcessOptions) {
    const [file, ...args] = argv;
    if (file === undefined) throw new Error('nothing to run');
    this.logFile = options.logFile;
    this.#name = basename(options.logFile);
    this.#log = createWriteStream(options.logFile, { flags: 'a' });
    this.#child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...options.env } });
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.setEncoding('utf8').on('data', (text: string) => this.#take(text));
    this.#child.stdin?.on('error', () => undefined);
    this.ended = new Promise((resolve, reject) => {
      this.#child.once('error', reject);
      this.#child.once('close', (code, signal) => this.#log.end(() => resolve({ code, signal })));
    });
    this.ended.catch(() => undefined);
  }

  /** Id of the process itself: the programs in front of it (nsenter, unshare, ip) replace themselves by it. */
  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`${this.#name} did not start`);
    return this.#child.pid;
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  write(text: string): void {
    this.#child.stdin?.write(text);
  }

  /** The first line, of all that was printed, that fits; an error when the process ends before it comes. */
  async line(pattern: RegExp, withinMs = 10_000): Promise<string> {
    const before = this.#seen.split('\n').find((line) => pattern.test(line));
    if (before !== undefined) return before;
    return await this.#await(pattern, withinMs);
  }

  /** The first line printed from now on that fits. */
  nextLine(pattern: RegExp, withinMs = 10_000): Promise<string> {
    return this.#await(pattern, withinMs);
  }

  async #await(pattern: RegExp, withinMs: number): Promise<string> {
    const watcher: Watcher = { pattern, found: () => undefined };
    const found = new Promise<string>((resolve) => (watcher.found = resolve));
    this.#watchers.add(watcher);
    const gone = this.ended.then(({ code, signal }) => {
      throw new Error(`${this.#name} ended (${signal ?? code}) before it printed ${String(pattern)}\n${this.tail()}`);
    });
    gone.catch(() => undefined);
    try {
      return await within(`${this.#name} to print ${String(pattern)}`, Promise.race([found, gone]), { withinMs, hint: () => this.tail() });
    } finally {
      this.#watchers.delete(watcher);
    }
  }

  signal(signal: NodeJS.Signals): void {
    if (this.isRunning) this.#child.kill(signal);
  }

  /** Ends it: `signal` first, SIGKILL when it is still there after `graceMs`. Returns how it ended. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', graceMs = 5_000): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    this.signal('SIGCONT');
    this.signal(signal);
    const timer = setTimeout(() => this.signal('SIGKILL'), graceMs);
    try {
      return await this.ended;
    } finally {
      clearTimeout(timer);
    }
  }

  /** The last lines of its log. */
  tail(lines = 25): string {
    const text = this.#seen.length > 0 ? this.#seen : readFileSync(this.logFile, 'utf8');
    return `--- ${this.logFile}\n${text.trimEnd().split('\n').slice(-lines).join('\n')}`;
  }

  #take(text: string): void {
    this.#log.write(text);
    this.#seen += text;
    const lines = (this.#partial + text).split('\n');
    this.#partial = lines.pop() ?? '';
    for (const line of lines) for (const watcher of this.#watchers) if (watcher.pattern.test(line)) watcher.found(line);
  }
}
