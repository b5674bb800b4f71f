/** Who waits for the next event. Waking them is left to later turns of the event loop, so that a commit never pays for it. */
import type { Clock } from '../../shared/clock.js';
import type { Timers } from '../../shared/timers.js';

/** Of one turn of the event loop. */
const PER_TURN = 32;
/** A round of waking is followed by so many times as long without one, at most MAX_REST_MS. */
const REST = 9;
const MAX_REST_MS = 500;

type Place = { wake: () => void; isOff: boolean };

export class Wakes {
  #waiting = new Set<Place>();
  #state: 'idle' | 'scheduled' | 'waking' = 'idle';
  /** There was more while others were being woken. */
  #isMore = false;
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
    if (this.#state === 'waking') this.#isMore = true;
    if (this.#state !== 'idle' || this.#waiting.size === 0) return;
    this.#state = 'scheduled';
    const { clock, timers } = this.options;
    const restMs = this.#restUntilMs - clock.nowMs();
    const begin = (): void => { this.#begin(); };
    if (restMs > 0) timers.after(Math.min(restMs, MAX_REST_MS), begin);
    else timers.soon(begin);
  }

  #begin(): void {
    const places = [...this.#waiting];
    this.#waiting = new Set();
    this.#state = 'waking';
    this.#isMore = false;
    this.#turn(places, { from: 0, sinceMs: this.options.clock.nowMs() });
  }

  /** What the woken do is done before the next turn, and so is counted. */
  #turn(places: readonly Place[], { from, sinceMs }: { from: number; sinceMs: number }): void {
    if (from >= places.length) return this.#end(sinceMs);
    for (const place of places.slice(from, from + PER_TURN)) if (!place.isOff) place.wake();
    this.options.timers.soon(() => { this.#turn(places, { from: from + PER_TURN, sinceMs }); });
  }

  #end(sinceMs: number): void {
    const nowMs = this.options.clock.nowMs();
    this.#restUntilMs = nowMs + Math.min(MAX_REST_MS, REST * (nowMs - sinceMs));
    this.#state = 'idle';
    if (this.#isMore) this.wakeAll();
  }
}
