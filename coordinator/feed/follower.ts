/**
 * One watcher: pulls what comes after its cursor, from memory at the tail and else from the journal, and hands it on piece by piece. It
 * holds one piece at a time: a receiver that is slow falls behind, and reads what it missed from the journal.
 */
import type { Clock } from '../../shared/clock.js';
import type { Timers } from '../../shared/timers.js';
import type { EventCursor } from '../journal/journal.js';
import type { Delivery, EventFeed } from './feed.js';
import type { EventFilter } from './filter.js';
import { FeedRefused } from './refusals.js';
import type { Batch } from './tail.js';

export type FollowerOptions = {
  feed: EventFeed;
  after: EventCursor;
  filter: EventFilter;
  /** A delivery comes at least so often, if need be without events. */
  bookmarkMs: number;
  /** Resolves when there is room for the next one. */
  deliver: (delivery: Delivery) => Promise<void>;
  clock: Clock;
  timers: Timers;
};

/** After so many events that do not fit, a bookmark comes at once: a resume reads again no more than these. */
const PASSED_OVER = 2_000;

export class Follower {
  readonly #options: FollowerOptions;
  #cursor: EventCursor;
  #isStopped = false;
  #wake: () => void = () => undefined;
  #deliveredMs = 0;
  #passedOver = 0;

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.#cursor = options.after;
  }

  /** Goes on until stop(). Throws FeedRefused when it cannot go on, and what reading and delivering throw. */
  async run(): Promise<void> {
    const { feed } = this.#options;
    let batch = await feed.read(this.#cursor);
    await this.#deliver({ events: [], cursor: this.#cursor });
    while (!this.#isStopped) {
      await this.#pass(batch);
      if (batch.isEnd) await this.#rest();
      if (feed.closed !== undefined) throw new FeedRefused(feed.closed);
      batch = await feed.read(this.#cursor);
    }
  }

  stop(): void {
    this.#isStopped = true;
    this.#wake();
  }

  /** Hands on what fits, or a bookmark when one is due. */
  async #pass(batch: Batch): Promise<void> {
    const { feed, filter, bookmarkMs, clock } = this.#options;
    const delivery = feed.select(batch, filter);
    this.#cursor = batch.cursor;
    this.#passedOver += batch.events.length - delivery.events.length;
    const isDue = clock.nowMs() - this.#deliveredMs >= bookmarkMs || this.#passedOver >= PASSED_OVER;
    if (delivery.events.length > 0 || isDue) await this.#deliver(delivery);
  }

  async #deliver(delivery: Delivery): Promise<void> {
    if (this.#isStopped) return;
    await this.#options.deliver(delivery);
    this.#deliveredMs = this.#options.clock.nowMs();
    this.#passedOver = 0;
  }

  /** Until there is more, a bookmark is due, or it is stopped. */
  async #rest(): Promise<void> {
    const { feed, timers, clock, bookmarkMs } = this.#options;
    if (this.#isStopped) return;
    await new Promise<void>((resolve) => {
      const leftMs = Math.max(1, this.#deliveredMs + bookmarkMs - clock.nowMs());
      const forgetTimer = timers.after(leftMs, resolve);
      const forgetMore = feed.onMore(this.#cursor, resolve);
      this.#wake = () => { forgetTimer(); forgetMore(); resolve(); };
    });
    this.#wake();
    this.#wake = () => undefined;
  }
}
