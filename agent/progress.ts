/** Tells systemd that the agent is ready after its first round, and feeds the watchdog only while rounds come to an end. */
import type { Notifier } from '../shared/notify.js';

type ProgressOptions = {
  notifier: Notifier;
  /** When the last round ended; it grows with each. */
  lastRoundAtMs: () => number;
  /** undefined: nobody watches. */
  watchdogIntervalMs: number | undefined;
  /** Nothing is to be served yet: no round is waited for. */
  isReady: boolean;
};

/** How often the first round is looked for. */
const LOOK_MS = 50;

export class Progress {
  readonly #options: ProgressOptions;
  #seenMs: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ProgressOptions) {
    this.#options = options;
    this.#seenMs = options.lastRoundAtMs();
    if (options.isReady) this.#becomeReady();
    else this.#timer = setInterval(() => { if (this.#hasMoved()) this.#becomeReady(); }, LOOK_MS);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #becomeReady(): void {
    clearInterval(this.#timer);
    const { notifier, watchdogIntervalMs } = this.#options;
    void notifier.ready();
    if (watchdogIntervalMs === undefined) return;
    this.#timer = setInterval(() => { if (this.#hasMoved()) void notifier.watchdog(); }, watchdogIntervalMs);
  }

  #hasMoved(): boolean {
    const lastMs = this.#options.lastRoundAtMs();
    const hasMoved = lastMs > this.#seenMs;
    this.#seenMs = lastMs;
    return hasMoved;
  }
}
