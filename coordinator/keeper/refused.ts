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

export function notMade(message: string): Refusal {
  return { kind: 'refused', reason: 'NOT_MADE', message };
}
