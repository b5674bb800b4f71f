/** From what is stored to a book that may decide: at a start, and after a commit whose outcome is not known. */
import { nextDelayMs } from '../../shared/backoff.js';
import type { Log } from '../../shared/log.js';
import type { After } from '../../shared/timers.js';
import type { Book } from '../book/book.js';
import type { StoredGateway } from '../book/types.js';
import { SequenceConflict, type Journal } from '../journal/journal.js';

/**
 * Commits a barrier on top of `stored`, so that no commit of unknown outcome can land later, and returns what the book starts from.
 * `startMs` at a start only: epochs order the starts of the coordinator (S3). They are made of the time, so that a start on an older copy of
 * the database does not use the number of one that the copy does not know. Throws what the journal throws.
 */
export async function commitBarrier(journal: Journal, stored: StoredGateway, { startMs }: { startMs: number | undefined }): Promise<StoredGateway> {
  const { sequence, epoch } = stored.gateway;
  const gateway = { ...stored.gateway, sequence: sequence + 1, epoch: startMs === undefined ? epoch : Math.max(epoch + 1, Math.floor(startMs)) };
  await journal.barrier(gateway.gateway, sequence, gateway);
  const epochs = startMs !== undefined ? [...stored.epochs, { epoch: gateway.epoch, sequence: gateway.sequence }] : stored.epochs;
  return { ...stored, gateway, epochs };
}

/** What is stored of a gateway that has to be there. Throws what the journal throws. */
export async function loadStored(journal: Journal, gateway: string): Promise<StoredGateway> {
  const stored = await journal.load(gateway);
  if (stored === undefined) throw new Error(`the journal does not have gateway ${gateway}`);
  return stored;
}

export type RecoveryOptions = {
  journal: Journal;
  gateway: string;
  restore: (stored: StoredGateway) => Book;
  random: () => number;
  after: After;
  log: Log;
  /** Gives up. */
  signal: AbortSignal;
  /** Told what is committed as soon as it is being read, for reads that go on meanwhile. */
  onView: (view: Promise<Book>) => void;
};

/** Tries until a barrier is committed, and returns the book that may decide from then on; undefined when it gave up. */
export async function recover({ journal, gateway, restore, random, after, log, signal, onView }: RecoveryOptions): Promise<Book | undefined> {
  let stored: StoredGateway | undefined;
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      stored ??= await readAgain({ journal, gateway, restore, onView });
      const book = restore(await commitBarrier(journal, stored, { startMs: undefined }));
      log.info({ attempt }, 'commits work again');
      return book;
    } catch (error) {
      if (error instanceof SequenceConflict) stored = undefined;
      log.warn({ err: error, attempt }, 'the journal cannot commit yet');
      await pause(after, nextDelayMs({ attempt, baseMs: 100, maxMs: 5000, random }), signal);
    }
  }
  return undefined;
}

async function readAgain({ journal, gateway, restore, onView }: Pick<RecoveryOptions, 'journal' | 'gateway' | 'restore' | 'onView'>): Promise<StoredGateway> {
  const reading = loadStored(journal, gateway);
  const view = reading.then(restore);
  onView(view);
  await view;
  return reading;
}

/** Ends early when `signal` says so. */
function pause(after: After, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      cancel();
      signal.removeEventListener('abort', end);
      resolve();
    };
    const cancel = after(delayMs, end);
    signal.addEventListener('abort', end);
    if (signal.aborted) end();
  });
}
