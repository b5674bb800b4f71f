/** Follows the events of a gateway until the caller gives up: across restarts of the coordinator, each event once. */
import { setTimeout as pause } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { nextDelayMs } from '../shared/backoff.js';
import { EventServiceService, WatchEventsRequest, type DeepPartial, type Event, type WatchEventsResponse } from '../shared/gen/portlease/v1/events.js';
import { Interrupted, Unreachable, type Coordinator } from './coordinator.js';
import { Refused } from './errors.js';

export type Start = {
  gateway: string;
  /** undefined: from now on. */
  after: { revision: number; position: number } | undefined;
  filter: NonNullable<DeepPartial<WatchEventsRequest>['filter']>;
  show: (event: Event) => void;
  note: (text: string) => void;
  /** Aborted when the caller gives up. */
  signal: AbortSignal;
};

/** Resolves when the caller gives up, with the place where it stopped; throws what makes going on impossible. */
export async function followEvents(coordinator: Coordinator, { gateway, after, filter, show, note, signal }: Start): Promise<string> {
  let cursor = after;
  let attempt = 0;
  const take = ({ events, revision, position }: WatchEventsResponse): void => {
    if (attempt > 0) note(`${gateway}: the coordinator is back`);
    attempt = 0;
    for (const event of events) show(event);
    cursor = { revision, position };
  };
  for (let isFirst = true; ; isFirst = false) {
    const from = cursor === undefined ? {} : { afterRevision: cursor.revision, afterPosition: cursor.position };
    try {
      await coordinator.follow(EventServiceService.watchEvents, WatchEventsRequest.fromPartial({ gateway, filter, ...from }), take);
    } catch (error) {
      if (error instanceof Interrupted && cursor !== undefined) return cursor.position === 0 ? `${cursor.revision}` : `${cursor.revision}.${cursor.position}`;
      if (!isAway(error) || (isFirst && cursor === after)) throw error;
      if (attempt === 0) note(`${gateway}: ${(error as Error).message}; trying again until Ctrl-C`);
    }
    await pause(nextDelayMs({ attempt, baseMs: 200, maxMs: 5_000, random: () => 0 }), undefined, { signal }).catch(() => undefined);
    attempt += 1;
  }
}

/** It may be back soon, and nothing is wrong with what was asked for. */
function isAway(error: unknown): boolean {
  return error instanceof Unreachable || (error instanceof Refused && (error.code === status.UNAVAILABLE || error.code === status.RESOURCE_EXHAUSTED));
}
