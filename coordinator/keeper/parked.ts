/** Commands that the book told to wait, first in first out, each until its deadline. */
import type { Refusal } from '../book/types.js';
import type { CommandJob } from './job.js';

type Place = { atEnd: Refusal; timer: NodeJS.Timeout };

const LONGEST_TIMER_MS = 2 ** 31 - 1;

export class Parked {
  readonly #places = new Map<CommandJob, Place>();

  get size(): number {
    return this.#places.size;
  }

  /** Keeps `job` for at most `forMs`; then it is answered with `atEnd`. */
  park(job: CommandJob, { forMs, atEnd }: { forMs: number; atEnd: Refusal }): void {
    const timer = setTimeout(() => {
      this.#places.delete(job);
      job.answered = true;
      job.done(atEnd);
    }, Math.min(forMs, LONGEST_TIMER_MS));
    this.#places.set(job, { atEnd, timer });
  }

  /** Takes one out, if it is here. */
  take(job: CommandJob): void {
    clearTimeout(this.#places.get(job)?.timer);
    this.#places.delete(job);
  }

  /** Takes all of them out, in the order in which they came. */
  takeAll(): CommandJob[] {
    const jobs = [...this.#places.keys()];
    for (const { timer } of this.#places.values()) clearTimeout(timer);
    this.#places.clear();
    return jobs;
  }
}
