/** Waiting as a port, so that tests and simulations step it. */

/** Calls `act` once after `delayMs`. The returned function calls that off. */
export type After = (delayMs: number, act: () => void) => () => void;

export type Timers = {
  after: After;
  /** Calls `act` in a later turn of the event loop, when what is at hand has been worked on. */
  soon(act: () => void): void;
};

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Of this process. A delay that is longer than a timer can be ends after some 24 days. */
export const systemTimers: Timers = {
  after: (delayMs, act) => {
    const timer = setTimeout(act, Math.min(delayMs, LONGEST_TIMER_MS));
    return () => { clearTimeout(timer); };
  },
  soon: (act) => { setImmediate(act); },
};

/** Calls `act` every `intervalMs`, for the first time after as long. The returned function ends that. */
export function every(timers: Timers, intervalMs: number, act: () => void): () => void {
  let cancel: () => void;
  const again = (): void => {
    cancel = timers.after(intervalMs, again);
    act();
  };
  cancel = timers.after(intervalMs, again);
  return () => { cancel(); };
}
