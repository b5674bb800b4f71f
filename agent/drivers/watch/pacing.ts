/** How often foreign changes may cause a round: at once when it is quiet, seldom when others change rules all the time. Pure. */

export type Pace =
  | { kind: 'now' }
  | { kind: 'later'; delayMs: number }
  /** Left to the rounds that come anyway. `isNews`: the first time after a minute without. */
  | { kind: 'tooMany'; isNews: boolean };

const MIN_DISTANCE_MS = 50;
/** Between two rounds, in durations of one, in the long run: so they take a tenth of the time at most. */
const DISTANCE_IN_ROUNDS = 10;
/** So many may come one after another first: who changes one table often changes the next. */
const BURST = 4;
/** One slow round does not silence the watch for long: the next one may be fast. */
const ASK_AGAIN_MS = 2_000;
const WINDOW_MS = 60_000;
export const MAX_IN_WINDOW = 120;

export class Pacing {
  #lastMs = -Infinity;
  /** Rounds that may come at once: one is added each distance. Not a whole number. */
  #allowed = BURST;
  #countedAtMs = -Infinity;
  #window = { startMs: -Infinity, count: 0, isOver: false };
  #wasOver = false;

  /** Whether a change that was heard of causes a round now; 'now' counts as one. `roundTookMs`: the last full round. */
  next(nowMs: number, roundTookMs: number): Pace {
    this.#turnWindow(nowMs);
    const distanceMs = Math.max(MIN_DISTANCE_MS, DISTANCE_IN_ROUNDS * roundTookMs);
    this.#allowed = Math.min(BURST, this.#allowed + (nowMs - this.#countedAtMs) / distanceMs);
    this.#countedAtMs = nowMs;
    const delayMs = Math.round(Math.max(this.#lastMs + MIN_DISTANCE_MS - nowMs, (1 - this.#allowed) * distanceMs));
    if (delayMs > 0) return { kind: 'later', delayMs: Math.min(delayMs, ASK_AGAIN_MS) };
    if (this.#window.count >= MAX_IN_WINDOW) {
      const isNews = !this.#wasOver && !this.#window.isOver;
      this.#window.isOver = true;
      return { kind: 'tooMany', isNews };
    }
    this.#window.count++;
    this.#lastMs = nowMs;
    this.#allowed--;
    return { kind: 'now' };
  }

  #turnWindow(nowMs: number): void {
    const { startMs, isOver } = this.#window;
    if (nowMs < startMs + WINDOW_MS) return;
    this.#wasOver = isOver && nowMs < startMs + 2 * WINDOW_MS;
    this.#window = { startMs: nowMs, count: 0, isOver: false };
  }
}
