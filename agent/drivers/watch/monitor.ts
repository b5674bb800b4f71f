/**
 * `nft monitor` as a child for as long as the agent lives; started again when it ends. It writes nothing, so it does not get the
 * writer's lock and has no deadline; it is killed with the agent.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { nextDelayMs } from '../../../shared/backoff.js';
import type { Clock } from '../../../shared/clock.js';
import type { Log } from '../../../shared/log.js';
import { lineReader } from './generations.js';

export type MonitorOptions = {
  onLine: (line: string) => void;
  clock: Clock;
  random: () => number;
  log: Log;
  command?: readonly [string, ...string[]];
};

/** Only without a filter does it name the generations and their processes. */
export const MONITOR_COMMAND = ['setpriv', '--pdeathsig', 'KILL', 'nft', 'monitor'] as const;
const ENVIRONMENT = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };
const MAX_STDERR_LENGTH = 2_000;
/** A child that lived so long is no failed attempt. */
const STEADY_MS = 10_000;
const RETRY = { baseMs: 200, maxMs: 60_000 };
/** setpriv could not find the program. */
const NOT_FOUND = 127;

type End = { problem: string; isMissing: boolean; livedMs: number };

export class Monitor {
  readonly #options: MonitorOptions;
  #child: ChildProcess | undefined;
  #timer: NodeJS.Timeout | undefined;
  #attempt = 0;
  #lastProblem: string | undefined;
  #isClosed = false;

  constructor(options: MonitorOptions) {
    this.#options = options;
    this.#start();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    const child = this.#child;
    // kill() of a child that could not be started signals process 0, that is the agent's own group.
    if (child?.pid === undefined) return;
    const ended = new Promise<void>(resolve => { child.once('close', () => resolve()); });
    child.kill('SIGKILL');
    await ended;
  }

  #start(): void {
    const { clock, command = MONITOR_COMMAND, onLine } = this.#options;
    const [file, ...argv] = command;
    const startMs = clock.nowMs();
    let child: ChildProcess;
    try {
      child = spawn(file, argv, { env: ENVIRONMENT, stdio: ['ignore', 'pipe', 'pipe'] });
    } catch (error) {
      this.#ended({ problem: (error as Error).message, isMissing: false, livedMs: 0 });
      return;
    }
    this.#child = child;
    let stderr = '';
    child.on('error', (error: NodeJS.ErrnoException) => {
      if (child.pid === undefined) this.#ended({ problem: error.message, isMissing: error.code === 'ENOENT', livedMs: 0 });
    });
    // Both are absent when there was no descriptor left for them.
    child.stdout?.setEncoding('utf8').on('data', lineReader(onLine));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => { stderr = (stderr + text).slice(0, MAX_STDERR_LENGTH); });
    child.on('close', (code, signal) => {
      if (child.pid === undefined) return;
      const end = signal === null ? `exit status ${code}` : `ended by ${signal}`;
      const problem = stderr.trim() === '' ? end : `${end}: ${stderr.trim()}`;
      this.#ended({ problem, isMissing: code === NOT_FOUND, livedMs: clock.nowMs() - startMs });
    });
  }

  #ended({ problem, isMissing, livedMs }: End): void {
    this.#child = undefined;
    if (this.#isClosed) return;
    const { log, random } = this.#options;
    if (isMissing) {
      log.warn({ problem }, 'nft (package nftables) or setpriv (util-linux) is missing: changed rules are found by the rounds of the reconcile interval only');
      return;
    }
    if (livedMs >= STEADY_MS) {
      this.#attempt = 0;
      this.#lastProblem = undefined;
    }
    const delayMs = nextDelayMs({ attempt: this.#attempt++, ...RETRY, random });
    if (problem !== this.#lastProblem) log.warn({ problem, delayMs }, 'nft monitor ended; it is started again, until then changed rules are found by the rounds of the reconcile interval');
    this.#lastProblem = problem;
    this.#timer = setTimeout(() => this.#start(), delayMs);
  }
}
