/** From what is stored to a book that may decide: at a start, and after a commit whose outcome is not known. */
import type { StoredGateway } from '../book/types.js';
import type { Journal } from '../journal/journal.js';

/**
 * Commits a barrier on top of `stored`, so that no commit of unknown outcome can land later, and returns what the book starts from.
 * `newEpoch` at a start only: epochs order the starts of the coordinator (S3). Throws what the journal throws.
 */
export async function commitBarrier(journal: Journal, stored: StoredGateway, { newEpoch }: { newEpoch: boolean }): Promise<StoredGateway> {
  const { sequence, epoch } = stored.gateway;
  const gateway = { ...stored.gateway, sequence: sequence + 1, epoch: newEpoch ? epoch + 1 : epoch };
  await journal.barrier(gateway.gateway, sequence, gateway);
  return { ...stored, gateway };
}

/** What is stored of a gateway that has to be there. Throws what the journal throws. */
export async function loadStored(journal: Journal, gateway: string): Promise<StoredGateway> {
  const stored = await journal.load(gateway);
  if (stored === undefined) throw new Error(`the journal does not have gateway ${gateway}`);
  return stored;
}
