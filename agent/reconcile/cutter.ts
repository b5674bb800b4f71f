/**
 * Ends connections beside the rounds, so that new mappings do not wait for it. One batch at a time; what comes meanwhile is the
 * next one. A cut that fails, or whose connections are still there, is tried again until it succeeds: nothing is confirmed before.
 */
import { nextDelayMs } from '../../shared/backoff.js';
import type { Log } from '../../shared/log.js';
import type { ObjectProblem } from '../../shared/desired.js';
import type { ConnectionsDriver, Cut, Standing } from '../drivers/connections/connections.js';
import type { End } from './ends.js';
import type { After } from '../../shared/timers.js';

/** Cuts that belong together; `end` is confirmed when all of them have ended. `isLoss`: until then what led here before counts as
 *  served still. */
export type CutJob = { cuts: readonly Cut[]; end: End | undefined; isLoss?: boolean };

type CutterOptions = {
  connections: Pick<ConnectionsDriver, 'cut'>;
  standing: Standing;
  log: Log;
  after: After;
  random: () => number;
  /** Ends that were carried out in one batch; also told when the last loss was. */
  onEnded(ends: readonly End[]): void;
  /** What `problems` gives has changed. */
  onProblems(): void;
};

const RETRY_BASE_MS = 100;
const RETRY_MAX_MS = 5_000;

export class Cutter {
  private queue: CutJob[] = [];
  private batch: readonly CutJob[] = [];
  private running: Promise<void> | undefined;
  private cancelRetry: (() => void) | undefined;
  private attempt = 0;
  private failure: string | undefined;
  private isClosed = false;

  constructor(private readonly options: CutterOptions) {}

  add(jobs: readonly CutJob[]): void {
    if (jobs.length === 0 || this.isClosed) return;
    this.queue.push(...jobs);
    this.cancelRetry?.();
    this.start();
  }

  /** Keys of ends that are not carried out yet, with their generations. */
  pending(): ReadonlyMap<string, number> {
    return new Map([...this.batch, ...this.queue].flatMap(({ end }) => (end === undefined ? [] : [[end.confirmation.key, end.confirmation.generation]])));
  }

  /** A loss is not carried out yet. */
  hasLosses(): boolean {
    return [...this.batch, ...this.queue].some(({ isLoss }) => isLoss === true);
  }

  /** One for each end that was tried in vain. */
  problems(): ObjectProblem[] {
    const { failure } = this;
    if (failure === undefined) return [];
    return [...this.pending().keys()].map(key => ({ key, reason: 'CONNECTIONS_REMAIN', message: failure }));
  }

  /** Takes no more work and waits for the batch that runs: its children have deadlines. */
  async close(): Promise<void> {
    this.isClosed = true;
    this.cancelRetry?.();
    await this.running;
  }

  private start(): void {
    if (this.running !== undefined || this.queue.length === 0 || this.isClosed) return;
    this.running = this.run().finally(() => {
      this.running = undefined;
      if (this.attempt === 0) this.start();
      else if (!this.isClosed) this.retryLater();
    });
  }

  private retryLater(): void {
    const { after, random } = this.options;
    const delayMs = nextDelayMs({ attempt: this.attempt - 1, baseMs: RETRY_BASE_MS, maxMs: RETRY_MAX_MS, random });
    this.cancelRetry = after(delayMs, () => this.start());
  }

  private async run(): Promise<void> {
    this.batch = this.queue;
    this.queue = [];
    const left = await this.tryAll(this.batch);
    const hadLosses = this.hasLosses();
    const ended = this.batch.filter(job => !left.has(job)).flatMap(({ end }) => end ?? []);
    this.queue = [...left, ...this.queue];
    this.batch = [];
    if (ended.length > 0 || (hadLosses && !this.hasLosses())) this.options.onEnded(ended);
  }

  /** Returns the jobs that must be tried again. */
  private async tryAll(jobs: readonly CutJob[]): Promise<Set<CutJob>> {
    try {
      const { remaining } = await this.options.connections.cut(jobs.flatMap(({ cuts }) => cuts), this.options.standing);
      const still = new Set(remaining);
      const left = new Set(jobs.filter(({ cuts }) => cuts.some(cut => still.has(cut))));
      this.note(left.size === 0 ? undefined : `connections were still there after they had been deleted: ${describe(remaining)}`);
      return left;
    } catch (error) {
      this.note(error instanceof Error ? error.message : String(error));
      return new Set(jobs);
    }
  }

  private note(failure: string | undefined): void {
    this.attempt = failure === undefined ? 0 : this.attempt + 1;
    if (failure === this.failure) return;
    this.failure = failure;
    if (failure === undefined) this.options.log.info('connections end again');
    else this.options.log.error({ problem: failure }, 'connections could not be ended; trying again');
    this.options.onProblems();
  }
}

function describe(cuts: readonly Cut[]): string {
  const shown = cuts.slice(0, 5).map(({ transport, ports }) => `${transport} ${ports.first}-${ports.last}`);
  return [...shown, ...(cuts.length > shown.length ? [`and ${cuts.length - shown.length} more`] : [])].join(', ');
}
