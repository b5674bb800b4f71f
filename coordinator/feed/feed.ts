/**
 * The events of one gateway for those who follow them. Properties that callers may rely on:
 * - Nothing is given out that is not committed (S5), nothing twice, nothing left out, and all of it in order.
 * - A commit costs the same however many follow: the newest events go into memory, and followers are woken later, some in each turn
 *   of the event loop and all of them together for about a tenth of the time.
 * - Who is far behind reads pages from the journal; who asks for the same page at the same time shares it.
 */
import type { Clock } from '../../shared/clock.js';
import type { Timers } from '../../shared/timers.js';
import type { EventRecord, Refusal } from '../book/types.js';
import type { EventCursor, EventPage, EventsAfter, EventsBefore, StoredEvent } from '../journal/journal.js';
import { cursorText, upTo } from './cursor.js';
import { fitting, type EventFilter } from './filter.js';
import { FeedRefused, revisionAhead, revisionTooOld } from './refusals.js';
import { Tail, type Batch } from './tail.js';
import { Wakes } from './wakes.js';

export type FeedOptions = {
  gateway: string;
  /** What is committed. */
  revision: number;
  readEvents: (page: EventsAfter) => Promise<EventPage>;
  readEventsBefore: (page: EventsBefore) => Promise<EventPage>;
  clock: Clock;
  timers: Timers;
  /** Events that are kept in memory; 4,096 unless given. */
  capacity?: number;
};

/** Events that passed a filter, all of those up to the cursor. */
export type Delivery = { events: readonly StoredEvent[]; cursor: EventCursor };

/** Of one batch, and so of one message. */
const BATCH = 250;
const CAPACITY = 4_096;

export class EventFeed {
  readonly gateway: string;
  readonly #options: FeedOptions;
  readonly #tail: Tail;
  readonly #wakes: Wakes;
  /** Batches of the tail since the last commit, and pages on their way, by cursor. */
  readonly #atTail = new Map<string, Batch>();
  readonly #pages = new Map<string, Promise<Batch>>();
  readonly #deliveries = new WeakMap<Batch, Map<string, Delivery>>();
  #closed: Refusal | undefined;

  constructor(options: FeedOptions) {
    this.gateway = options.gateway;
    this.#options = options;
    this.#tail = new Tail(options.capacity ?? CAPACITY, options.revision);
    this.#wakes = new Wakes(options);
  }

  /** The newest committed sequence. */
  get revision(): number {
    return this.#tail.revision;
  }

  /** Why nobody can follow any more. */
  get closed(): Refusal | undefined {
    return this.#closed;
  }

  /** A commit has brought the gateway to `revision`. */
  committed(events: readonly EventRecord[], revision: number): void {
    this.#tail.add(events, { gateway: this.gateway, revision });
    this.#atTail.clear();
    this.#wakes.wakeAll();
  }

  /** The gateway is at `revision`; what led there may have been committed without committed() being told. */
  reset(revision: number): void {
    this.#tail.reset(revision);
    this.#atTail.clear();
    this.#wakes.wakeAll();
  }

  /** What comes after the cursor. Throws FeedRefused when that is not kept any more, or not there yet, and what the journal throws. */
  async read(after: EventCursor): Promise<Batch> {
    if (after.revision > this.revision) throw new FeedRefused(revisionAhead(this.gateway, { asked: after.revision, revision: this.revision }));
    const key = cursorText(after);
    const known = this.#atTail.get(key) ?? this.#pages.get(key);
    if (known !== undefined) return known;
    const batch = this.#tail.after(after, BATCH);
    if (batch !== undefined) {
      this.#atTail.set(key, batch);
      return batch;
    }
    const page = this.#readPage(after, BATCH).finally(() => this.#pages.delete(key));
    this.#pages.set(key, page);
    return page;
  }

  /** A page of a list, as it is in the journal. Errors as read(). */
  readPage(after: EventCursor, limit: number): Promise<Batch> {
    if (after.revision > this.revision) throw new FeedRefused(revisionAhead(this.gateway, { asked: after.revision, revision: this.revision }));
    return this.#readPage(after, limit);
  }

  /** Committed events before the given one, newest first, as they are in the journal; `before` undefined: the newest of all. */
  async readBackwards(before: EventCursor | undefined, limit: number): Promise<readonly StoredEvent[]> {
    const newest = { revision: this.revision + 1, position: 1 };
    const { events } = await this.#options.readEventsBefore({ gateway: this.gateway, before: before ?? newest, limit });
    return events;
  }

  /** What of a batch passes the filter; the same object for the same batch and filter. */
  select(batch: Batch, filter: EventFilter): Delivery {
    let known = this.#deliveries.get(batch);
    if (known === undefined) this.#deliveries.set(batch, known = new Map<string, Delivery>());
    let delivery = known.get(filter.key);
    if (delivery === undefined) known.set(filter.key, delivery = { events: fitting(filter, batch.events), cursor: batch.cursor });
    return delivery;
  }

  /** Calls `wake` once, when there is more than `cursor` or the feed is closed. Returns what calls that off. */
  onMore(cursor: EventCursor, wake: () => void): () => void {
    const cancel = this.#wakes.add(wake);
    if (this.#closed !== undefined || this.revision > cursor.revision || cursor.position > 0) this.#wakes.wakeAll();
    return cancel;
  }

  /** Whoever follows is told why it ends. */
  close(refusal: Refusal): void {
    this.#closed ??= refusal;
    this.#wakes.wakeAll();
  }

  async #readPage(after: EventCursor, limit: number): Promise<Batch> {
    const revision = this.revision;
    const { gateway } = this;
    const { events, purgedTo } = await this.#options.readEvents({ gateway, after, upTo: revision, limit: limit + 1 });
    const isWhole = after.revision > purgedTo || (after.revision === purgedTo && after.position === 0);
    if (!isWhole && after.revision > 0) throw new FeedRefused(revisionTooOld(gateway, { asked: after.revision, purgedTo }));
    if (!isWhole) return this.#readPage(upTo(purgedTo), limit);
    const next = events[limit];
    const last = events[limit - 1];
    if (next === undefined || last === undefined) return { events, cursor: upTo(revision), isEnd: this.revision === revision };
    const cursor = { revision: last.sequence, position: next.sequence === last.sequence ? last.position : 0 };
    return { events: events.slice(0, limit), cursor, isEnd: false };
  }
}
