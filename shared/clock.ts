/** Time as a port: everything below main is given a clock, or the time itself. */
import { performance } from 'node:perf_hooks';

/** Milliseconds since 1970 that never run backwards within a process. */
export type Clock = { nowMs(): number };

/** The wall clock at the call, from then on the monotonic clock: a step of the wall clock afterwards does not show. */
export function systemClock(): Clock {
  const offsetMs = Date.now() - performance.now();
  return { nowMs: () => Math.floor(offsetMs + performance.now()) };
}
