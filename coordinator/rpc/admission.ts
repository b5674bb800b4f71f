/** How many hellos are worked on at once: after a restart all agents come together, and each costs a snapshot. */
import { Refused } from '../keeper/refused.js';

export type AdmissionLimits = { active: number; waiting: number; waitMs: number };

export const ADMISSION: AdmissionLimits = { active: 64, waiting: 8192, waitMs: 8000 };

export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #random: () => number;
  readonly #queue = new Set<() => void>();
  #active = 0;

  constructor(limits: AdmissionLimits, random: () => number) {
    this.#limits = limits;
    this.#random = random;
  }

  /** Resolves with what gives the place back; call it once. Throws Refused when it takes too long. */
  async enter(): Promise<() => void> {
    if (this.#active >= this.#limits.active) await this.#wait();
    this.#active += 1;
    let isIn = true;
    return () => {
      if (!isIn) return;
      isIn = false;
      this.#active -= 1;
      const [next] = this.#queue;
      next?.();
    };
  }

  #wait(): Promise<void> {
    if (this.#queue.size >= this.#limits.waiting) throw this.#refused();
    return new Promise((resolve, reject) => {
      const admit = (): void => {
        clearTimeout(timer);
        this.#queue.delete(admit);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#queue.delete(admit);
        reject(this.#refused());
      }, this.#limits.waitMs);
      this.#queue.add(admit);
    });
  }

  /** Spread, so that those who are sent away do not come back together. */
  #refused(): Refused {
    const retryAfterMs = Math.round(1000 + 4000 * this.#random());
    return new Refused({ kind: 'refused', reason: 'RATE_LIMITED', message: 'too many agents say hello at once', retryAfterMs });
  }
}
