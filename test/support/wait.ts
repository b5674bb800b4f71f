/** Waiting with a deadline, and with an error that says what was waited for. */
import { setTimeout as pause } from 'node:timers/promises';

export type Deadline = { withinMs: number; everyMs?: number; hint?: () => string };

/**
 * Asks again until `check` gives something (neither undefined nor false), and returns it. A check that throws counts as "not yet";
 * its last error is part of the message when the time is over.
 */
export async function eventually<T>(what: string, check: () => T | undefined | false | Promise<T | undefined | false>, deadline: Deadline): Promise<T> {
  const startMs = performance.now();
  let last: unknown;
  for (;;) {
    try {
      const value = await check();
      if (value !== undefined && value !== false) return value;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() - startMs > deadline.withinMs) throw tooLate(what, deadline, last);
    await pause(deadline.everyMs ?? 20);
  }
}

/** The promise's value, or an error that says what did not come in time. */
export async function within<T>(what: string, promise: Promise<T>, deadline: Deadline): Promise<T> {
  const timer = new AbortController();
  const late = pause(deadline.withinMs, undefined, { signal: timer.signal }).then(() => {
    throw tooLate(what, deadline, undefined);
  });
  late.catch(() => undefined);
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer.abort();
  }
}

function tooLate(what: string, deadline: Deadline, last: unknown): Error {
  const parts = [`waited ${deadline.withinMs} ms in vain for: ${what}`];
  if (last !== undefined) parts.push(`last error: ${last instanceof Error ? last.message : JSON.stringify(last)}`);
  const hint = deadline.hint?.();
  if (hint) parts.push(hint);
  return new Error(parts.join('\n'));
}
