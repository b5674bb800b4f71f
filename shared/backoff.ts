/** Waiting between attempts: exponential, spread by jitter so that many clients do not come back at once. */

export type Backoff = {
  /** Failed attempts so far, from 0. */
  attempt: number;
  baseMs?: number;
  maxMs?: number;
  /** Share of the delay that chance may take away, 0-1. */
  jitter?: number;
  /** Uniform in [0, 1). */
  random: () => number;
};

/** `baseMs` doubled per attempt up to `maxMs`, then shortened by up to `jitter` of it; milliseconds. */
export function nextDelayMs({ attempt, baseMs = 1000, maxMs = 30_000, jitter = 0.2, random }: Backoff): number {
  const fullMs = Math.min(maxMs, baseMs * 2 ** Math.max(0, attempt));
  return Math.round(fullMs * (1 - jitter * random()));
}
