/**
 * A watcher of events: follows the real feed over connections that break, and goes on where its last message said. What it has seen is
 * compared with what the database committed.
 */
import type { StoredEvent } from '../../coordinator/journal/journal.js';
import type { Delivery, EventFeed } from '../../coordinator/feed/feed.js';
import { EVERYTHING } from '../../coordinator/feed/filter.js';
import { Follower } from '../../coordinator/feed/follower.js';
import type { CoordinatorMachine } from './coordinator.js';
import type { Chance } from './random.js';
import { Life, type Time } from './time.js';

export type WatcherOptions = { coordinator: CoordinatorMachine; time: Time; chance: Chance; note: (breach: string) => void };

const AGAIN_MS = 400;
const BOOKMARK_MS = 2_000;

export class Watcher {
  readonly #life = new Life();
  #cursor = { revision: 0, position: 0 };
  #seen = 0;
  #history = 0;
  #follower: Follower | undefined;

  constructor(private readonly options: WatcherOptions) {
    this.#lookAgain();
  }

  /** Events that it was given. */
  get seen(): number {
    return this.#seen;
  }

  #lookAgain(): void {
    this.options.time.plan(AGAIN_MS, this.#life, () => {
      const { coordinator, chance } = this.options;
      const { watched } = coordinator;
      if (this.#follower === undefined && watched !== undefined) this.#connect(watched);
      else if (chance.oneIn(20)) this.#disconnect();
      this.#lookAgain();
    });
  }

  /** What was seen may never have been after a restore: begins with a list. */
  #list({ revision }: EventFeed): void {
    const { events, history } = this.options.coordinator.database;
    if (history === this.#history) return;
    this.#history = history;
    this.#cursor = { revision, position: 0 };
    this.#seen = events.filter(({ sequence }) => sequence <= revision).length;
  }

  #connect({ feed, life, clock, timers }: NonNullable<CoordinatorMachine['watched']>): void {
    this.#list(feed);
    const follower: Follower = new Follower({
      feed, clock, timers, after: this.#cursor, filter: EVERYTHING, bookmarkMs: BOOKMARK_MS,
      deliver: (delivery) => (life.isOver ? new Promise(() => undefined) : this.#send(follower, delivery)),
    });
    this.#follower = follower;
    follower.run().catch((error: unknown) => {
      if (this.#follower !== follower) return;
      const isOther = this.options.coordinator.database.history !== this.#history;
      if (String(error).includes('REVISION_') && !isOther) this.options.note(`S5: a watcher that has seen everything up to ${this.#cursor.revision} is refused: ${String(error)}`);
      this.#follower = undefined;
    });
  }

  /** Its coordinator learns of that when it sends. */
  #disconnect(): void {
    this.#follower?.stop();
    this.#follower = undefined;
  }

  #send(follower: Follower, delivery: Delivery): Promise<void> {
    const { time, chance } = this.options;
    return new Promise((resolve) => {
      time.plan(chance.between(0, 40), this.#life, () => {
        if (this.#follower === follower) this.#receive(delivery);
        resolve();
      });
    });
  }

  #receive({ events, cursor }: Delivery): void {
    const { events: committed, history } = this.options.coordinator.database;
    if (history !== this.#history) return this.#disconnect();
    for (const event of events) {
      const expected = committed[this.#seen];
      if (expected === undefined) return this.options.note(`S5: a watcher is told of ${placeOf(event)}, which is not committed`);
      if (placeOf(expected) !== placeOf(event)) return this.options.note(`S5: a watcher is told of ${placeOf(event)}, and should be told of ${placeOf(expected)} now`);
      this.#seen += 1;
    }
    this.#cursor = cursor;
  }
}

function placeOf({ sequence, position, kind, host, environment, mappingId }: StoredEvent): string {
  return `${sequence}.${position} ${kind} ${host} ${environment} ${mappingId}`;
}
