/** Waiting as a port, so that tests step it. */

/** Calls `act` once after `delayMs`. The returned function calls that off. */
export type After = (delayMs: number, act: () => void) => () => void;

export const realAfter: After = (delayMs, act) => {
  const timer = setTimeout(act, delayMs);
  return () => clearTimeout(timer);
};
