/** Commands that the book told to wait, first in first out, each until its deadline. */
import type { After } from '../../shared/timers.js';
import type { Refusal } from '../book/types.js';
import type { CommandJob } from './job.js';

type Place = { atEnd: Refusal; cancel: () => void };

export class Parked {
  readonly #places = new Map<CommandJob, Place>();
  readonly #after: After;

  constructor(after: After) {
    this.#after = after;
  }

  get size(): number {
    return this.#places.size;
  }

  /** Keeps `job` for at most `forMs`; then it is answered with `atEnd`. */
  park(job: CommandJob, { forMs, atEnd }: { forMs: number; atEnd: Refusal }): void {
    const cancel = this.#after(forMs, () => {
      this.#places.delete(job);
      job.answered = true;
      job.done(atEnd);
    });
    this.#places.set(job, { atEnd, cancel });
  }

  /** Takes one out, if it is here. */
  take(job: CommandJob): void {
    this.#places.get(job)?.cancel();
    this.#places.delete(job);
  }

  /** Takes all of them out, in the order in which they came. */
  takeAll(): CommandJob[] {
    const jobs = [...this.#places.keys()];
    for (const { cancel } of this.#places.values()) cancel();
    this.#places.clear();
    return jobs;
  }
}
