/**
 * Purges what nobody needs any more: once a day at a local time, some minutes after a start when the last time was missed, and when it is
 * told to. One purge runs at a time, in small transactions with rests between them, and ends between two of them when it is closed.
 */
import type { Clock } from '../../shared/clock.js';
import type { Log } from '../../shared/log.js';
import type { Timers } from '../../shared/timers.js';
import type { Journal, PurgeBefore, Purged } from '../journal/journal.js';
import type { Schedule } from './schedule.js';

/** How long what is kept. */
export type PurgeAges = { releasedAfterMs: number; eventsAfterMs: number; auditAfterMs: number };

export type PurgerOptions = {
  journal: Pick<Journal, 'purge' | 'countPurgeable'>;
  schedule: Schedule;
  ages: PurgeAges;
  /** Leaves the audit record of a purge that is about to begin. Throws when it cannot be made durable. */
  audit: (actor: string, before: PurgeBefore) => Promise<void>;
  clock: Clock;
  timers: Timers;
  log: Log;
};

/** What came of a purge, or of counting. `isFinished`: nothing that was due is left. */
export type PurgeReport = { before: PurgeBefore; purged: Purged; isFinished: boolean };

const ACTOR = 'schedule';
const AFTER_START_MS = 5 * 60_000;
/** Appends come first: so long nothing is deleted after each transaction. */
const REST_MS = 20;

export class Purger {
  readonly #options: PurgerOptions;
  #running: Promise<PurgeReport> | undefined;
  #cancel: (() => void)[] = [];
  #isClosed = false;
  #endRest: () => void = () => undefined;

  constructor(options: PurgerOptions) {
    this.#options = options;
  }

  start(): void {
    const { clock, schedule, timers } = this.#options;
    const startedMs = clock.nowMs();
    this.#cancel.push(timers.after(AFTER_START_MS, () => { void this.#makeUp(schedule.lastMs(startedMs)); }));
    this.#planNext(startedMs);
  }

  /** What a purge would take now. Throws what the journal throws. */
  async count(): Promise<PurgeReport> {
    const before = this.#before(this.#options.clock.nowMs());
    const purged = await this.#options.journal.countPurgeable(before);
    return { before, purged, isFinished: total(purged) === 0 };
  }

  /** Purges, or joins the purge that runs. Throws what the journal and the audit throw. */
  run(actor: string): Promise<PurgeReport> {
    this.#running ??= this.#run(actor).finally(() => { this.#running = undefined; });
    return this.#running;
  }

  /** Ends after the transaction under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const cancel of this.#cancel.splice(0)) cancel();
    this.#endRest();
    await this.#running?.catch(() => undefined);
  }

  async #run(actor: string): Promise<PurgeReport> {
    const { journal, audit, clock, log } = this.#options;
    const startMs = clock.nowMs();
    const before = this.#before(startMs);
    await audit(actor, before);
    const purged = await journal.purge(before, () => this.#rest());
    const isFinished = !this.#isClosed;
    log.info({ actor, ...purged, isFinished, tookMs: clock.nowMs() - startMs }, 'purged');
    return { before, purged, isFinished };
  }

  /** A purge that should have begun at `dueMs` may have been missed, or broken off: then something of it is left. */
  async #makeUp(dueMs: number): Promise<void> {
    const { journal, log } = this.#options;
    try {
      const missed = await journal.countPurgeable({ ...this.#before(dueMs), nowMs: this.#options.clock.nowMs() });
      if (total(missed) === 0 || this.#isClosed) return;
      log.info({ ...missed }, 'a purge was missed: making up for it');
      await this.run(ACTOR);
    } catch (error) {
      log.error({ err: error }, 'a purge failed');
    }
  }

  #planNext(afterMs: number): void {
    const { clock, schedule, timers } = this.#options;
    if (this.#isClosed) return;
    const dueMs = schedule.nextMs(afterMs);
    this.#cancel[1] = timers.after(Math.max(1, dueMs - clock.nowMs()), () => {
      // A timer may be early by a moment: the next time is never the same one again.
      this.#planNext(Math.max(dueMs, clock.nowMs()));
      this.run(ACTOR).catch((error: unknown) => { this.#options.log.error({ err: error }, 'a purge failed'); });
    });
  }

  #before(nowMs: number): PurgeBefore {
    const { releasedAfterMs, eventsAfterMs, auditAfterMs } = this.#options.ages;
    return { releasedAtMs: nowMs - releasedAfterMs, eventsAtMs: nowMs - eventsAfterMs, auditsAtMs: nowMs - auditAfterMs, nowMs };
  }

  /** Resolves to whether the purge is to go on. */
  #rest(): Promise<boolean> {
    if (this.#isClosed) return Promise.resolve(false);
    return new Promise((resolve) => {
      const cancel = this.#options.timers.after(REST_MS, () => { resolve(true); });
      this.#endRest = () => {
        cancel();
        resolve(false);
      };
    });
  }
}

function total({ events, audits, mappings }: Purged): number {
  return events + audits + mappings;
}
