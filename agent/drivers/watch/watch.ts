/**
 * Tells within milliseconds that somebody else changed this machine's netfilter tables. Promises:
 * - own transactions are not told;
 * - calls are paced and coalesced: whatever others do, `onChange` cannot become a storm;
 * - nothing is promised about every change: sets (ipset), iptables-legacy, and changes while `nft monitor` is away go unheard.
 */
import type { Clock } from '../../../shared/clock.js';
import type { Log } from '../../../shared/log.js';
import type { RunChild } from '../child.js';
import { parseLine, type OwnWrites } from './generations.js';
import { Monitor, type MonitorOptions } from './monitor.js';
import { MAX_IN_WINDOW, Pacing } from './pacing.js';

export type RulesWatchOptions = Omit<MonitorOptions, 'onLine'> & {
  own: OwnWrites;
  onChange(): void;
  /** How long it takes to deal with a change. */
  roundTookMs(): number;
};

/** Runs programs as `run` does, and notes those that change tables. */
export function noting(run: RunChild, { own, clock }: { own: OwnWrites; clock: Clock }): RunChild {
  return async (file, argv, options) => {
    const end = own.begin(file, argv);
    try {
      return await run(file, argv, options);
    } finally {
      end(clock.nowMs());
    }
  };
}

export class RulesWatch {
  readonly #options: RulesWatchOptions;
  readonly #pacing = new Pacing();
  readonly #monitor: Monitor;
  readonly #log: Log;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: RulesWatchOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#monitor = new Monitor({ ...options, onLine: line => this.#heard(line) });
  }

  async close(): Promise<void> {
    await this.#monitor.close();
    clearTimeout(this.#timer);
  }

  #heard(line: string): void {
    const heard = parseLine(line);
    if (heard === undefined) return;
    if (!this.#options.own.isOwn(heard, this.#options.clock.nowMs()) && this.#timer === undefined) this.#tell();
  }

  #tell(): void {
    this.#timer = undefined;
    const pace = this.#pacing.next(this.#options.clock.nowMs(), this.#options.roundTookMs());
    switch (pace.kind) {
      case 'now': return this.#options.onChange();
      case 'later': this.#timer = setTimeout(() => this.#tell(), pace.delayMs); return;
      case 'tooMany':
        if (pace.isNews) this.#log.warn({ perMinute: MAX_IN_WINDOW }, 'others change netfilter rules all the time; their changes are left to the rounds of the reconcile interval');
        return;
      default: return pace satisfies never;
    }
  }
}
