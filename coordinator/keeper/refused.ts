/** A refusal on its way to the caller. */
import type { Refusal } from '../book/types.js';

export class Refused extends Error {
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(`${refusal.reason}: ${refusal.message}`);
    this.name = 'Refused';
    this.refusal = refusal;
  }
}

export function journalUnavailable(message: string): Refusal {
  return { kind: 'refused', reason: 'JOURNAL_UNAVAILABLE', message, retryAfterMs: 1000 };
}

/** The process ends; another one, or this one started again, goes on where it was. */
export const STOPPING: Refusal = { kind: 'refused', reason: 'STOPPING', message: 'the coordinator is stopping', retryAfterMs: 1000 };

export function notMade(message: string): Refusal {
  return { kind: 'refused', reason: 'NOT_MADE', message };
}
