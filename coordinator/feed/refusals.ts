/** Why a place in the event stream cannot be read from. */
import type { Refusal } from '../book/types.js';

export class FeedRefused extends Error {
  override readonly name = 'FeedRefused';
  constructor(readonly refusal: Refusal) {
    super(`${refusal.reason}: ${refusal.message}`);
  }
}

export function revisionTooOld(gateway: string, { asked, purgedTo }: { asked: number; purgedTo: number }): Refusal {
  return {
    kind: 'refused', reason: 'REVISION_TOO_OLD', field: 'after_revision', message: `events of gateway ${gateway} after revision ${asked} have been purged up to revision ${purgedTo}`,
    metadata: { gateway, oldest_revision: `${purgedTo}` },
  };
}

export function revisionAhead(gateway: string, { asked, revision }: { asked: number; revision: number }): Refusal {
  return {
    kind: 'refused', reason: 'REVISION_AHEAD', field: 'after_revision', message: `gateway ${gateway} is at revision ${revision}, before ${asked}`,
    metadata: { gateway, revision: `${revision}` },
  };
}
