/**
 * The newest committed events of a gateway, in memory: whoever follows at the end of the stream reads here instead of from the
 * database. Holds whole decisions only.
 */
import type { EventRecord } from '../book/types.js';
import type { StoredEvent } from '../journal/journal.js';
import { isAfter, upTo, type EventCursor } from './cursor.js';

/** Events in a row. `cursor`: where to go on; `isEnd`: nothing more is committed. */
export type Batch = { events: readonly StoredEvent[]; cursor: EventCursor; isEnd: boolean };

export class Tail {
  #events: StoredEvent[] = [];
  /** Every event with a higher sequence is here. */
  #floor: number;
  #revision: number;

  /** `revision`: what is committed. Keeps at least `capacity` events once it had them, and less than twice as many and one commit. */
  constructor(private readonly capacity: number, revision: number) {
    this.#floor = revision;
    this.#revision = revision;
  }

  /** The newest committed sequence. */
  get revision(): number {
    return this.#revision;
  }

  /** Takes what a commit had: the events in order of sequence. */
  add(events: readonly EventRecord[], { gateway, revision }: { gateway: string; revision: number }): void {
    let position = 0;
    let sequence = 0;
    for (const event of events) {
      position = event.sequence === sequence ? position + 1 : 1;
      sequence = event.sequence;
      this.#events.push(storedEvent(event, gateway, position));
    }
    this.#revision = revision;
    if (this.#events.length > 2 * this.capacity) this.#trim();
  }

  /** Forgets everything: what is committed up to `revision` may never have been here. */
  reset(revision: number): void {
    this.#events = [];
    this.#floor = revision;
    this.#revision = revision;
  }

  /** Up to `limit` events after the cursor; undefined when some of them may not be here. */
  after(cursor: EventCursor, limit: number): Batch | undefined {
    if (cursor.revision < this.#floor || (cursor.revision === this.#floor && cursor.position > 0)) return undefined;
    const from = this.#indexAfter(cursor);
    const events = this.#events.slice(from, from + limit);
    const last = events.at(-1);
    const next = this.#events[from + limit];
    if (last === undefined || next === undefined) return { events, cursor: upTo(Math.max(this.#revision, cursor.revision)), isEnd: true };
    return { events, cursor: { revision: last.sequence, position: next.sequence === last.sequence ? last.position : 0 }, isEnd: false };
  }

  #indexAfter(cursor: EventCursor): number {
    let low = 0;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isAfter(cursor, this.#events[middle] as StoredEvent)) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #trim(): void {
    const kept = this.#events.length - this.capacity;
    const floor = this.#events[kept - 1]?.sequence ?? 0;
    const from = this.#indexAfter(upTo(floor));
    this.#floor = floor;
    this.#events = this.#events.slice(from);
  }
}

/** Field by field: a copy that is spread and extended gets a hidden class of its own, which takes three times the memory. */
function storedEvent({ sequence, atMs, kind, host, environment, mappingId, detail }: EventRecord, gateway: string, position: number): StoredEvent {
  return { sequence, atMs, kind, host, environment, mappingId, detail, gateway, position };
}
