/** Who waits for the next event. Waking them is left to later turns of the event loop, so that a commit never pays for it. */
import type { Clock } from '../../shared/clock.js';
import type { Timers } from '../../shared/timers.js';

/** Of one turn of the event loop. */
const PER_TURN = 32;
/** A round of waking is followed by so many times as long without one, at most MAX_REST_MS. */
const REST = 9;
const MAX_REST_MS = 250;

type Place = { wake: () => void; isOff: boolean };

export class Wakes {
  #waiting = new Set<Place>();
  #isScheduled = false;
  #restUntilMs = 0;

  constructor(private readonly options: { clock: Clock; timers: Timers }) {}

  /** `wake` is called once, in some later turn after wakeAll(). Returns what calls that off. */
  add(wake: () => void): () => void {
    const place = { wake, isOff: false };
    this.#waiting.add(place);
    return () => {
      place.isOff = true;
      this.#waiting.delete(place);
    };
  }

  /** Costs the same however many wait. */
  wakeAll(): void {
    if (this.#isScheduled || this.#waiting.size === 0) return;
    this.#isScheduled = true;
    const { clock, timers } = this.options;
    const restMs = this.#restUntilMs - clock.nowMs();
    const begin = (): void => { this.#begin(); };
    if (restMs > 0) timers.after(Math.min(restMs, MAX_REST_MS), begin);
    else timers.soon(begin);
  }

  #begin(): void {
    const places = [...this.#waiting];
    this.#waiting = new Set();
    this.#isScheduled = false;
    this.#turn(places, { from: 0, sinceMs: this.options.clock.nowMs() });
  }

  #turn(places: readonly Place[], { from, sinceMs }: { from: number; sinceMs: number }): void {
    for (const place of places.slice(from, from + PER_TURN)) if (!place.isOff) place.wake();
    const { clock, timers } = this.options;
    if (from + PER_TURN < places.length) return timers.soon(() => { this.#turn(places, { from: from + PER_TURN, sinceMs }); });
    const nowMs = clock.nowMs();
    this.#restUntilMs = nowMs + Math.min(MAX_REST_MS, REST * (nowMs - sinceMs));
  }
}
