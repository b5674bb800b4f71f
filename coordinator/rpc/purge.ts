/** Purge: what nobody needs any more goes now, or is only counted. */
import type { OperationsServiceServer, PurgeResponse } from '../../shared/gen/portlease/v1/operations.js';
import { systemTimers } from '../../shared/timers.js';
import { msToTimestamp } from '../../shared/wire.js';
import type { PurgeReport, Purger } from '../purge/purger.js';
import { attempt, mutating, OPERATE, type Services } from './calls.js';
import { waitOf } from './deadline.js';
import { refusalOfJournal } from './errors.js';

export type PurgeOptions = Services & { purger: Pick<Purger, 'run' | 'count'> };

export function purging(options: PurgeOptions): Pick<OperationsServiceServer, 'purge'> {
  const { purger } = options;
  return {
    purge: mutating(options, { right: OPERATE, attempt: attempt('Purge') }, async (call, { actor }) => {
      try {
        const due = await purger.count();
        if (call.request.dryRun) return toWire({ ...due, isFinished: true });
        return toWire(await soonEnough(purger.run(actor), waitOf(call)) ?? { ...due, isFinished: false });
      } catch (error) {
        throw refusalOfJournal(error);
      }
    }),
  };
}

/** undefined when it takes longer than `waitMs`: it goes on. */
async function soonEnough<T>(work: Promise<T>, waitMs: number): Promise<T | undefined> {
  let cancel: () => void = () => undefined;
  const late = new Promise<undefined>((resolve) => { cancel = systemTimers.after(waitMs, () => { resolve(undefined); }); });
  work.catch(() => undefined);
  try {
    return await Promise.race([work, late]);
  } finally {
    cancel();
  }
}

function toWire({ before, purged, isFinished }: PurgeReport): PurgeResponse {
  return {
    ...purged, finished: isFinished, releasedBefore: msToTimestamp(before.releasedAtMs), eventsBefore: msToTimestamp(before.eventsAtMs),
    auditsBefore: msToTimestamp(before.auditsAtMs),
  };
}
