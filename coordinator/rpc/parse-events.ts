/** Requests of EventService, checked field by field. Each parser throws InvalidRequest with all that is wrong. */
import type { EventFilter as WireFilter, ListEventsRequest, WatchEventsRequest } from '../../shared/gen/portlease/v1/events.js';
import { shown } from '../../shared/fields.js';
import { durationToMs } from '../../shared/wire.js';
import { EVENT_KINDS, type EventKind } from '../book/types.js';
import { EVERYTHING, eventFilter, type EventFilter } from '../feed/filter.js';
import type { EventCursor } from '../journal/journal.js';
import { Checks } from './checks.js';

const MAX_KINDS = 64;
/** No decision has so many events. */
const MAX_POSITION = 10_000_000;
const DEFAULT_BOOKMARK_MS = 10_000;
const MIN_BOOKMARK_MS = 100;
const MAX_BOOKMARK_MS = 3_600_000;

export type WatchOrder = {
  gateway: string;
  /** undefined: from now on. */
  after: EventCursor | undefined;
  filter: EventFilter;
  bookmarkMs: number;
};

export function parseWatch(request: WatchEventsRequest): WatchOrder {
  const checks = new Checks();
  const { gateway, afterRevision, afterPosition, bookmarkInterval } = request;
  checks.label(gateway, 'gateway');
  checkPosition(checks, afterRevision ?? 0, afterPosition);
  const filter = filterOf(checks, request.filter);
  const bookmarkMs = bookmarkInterval === undefined ? DEFAULT_BOOKMARK_MS : checks.take(() => durationToMs(bookmarkInterval, 'bookmark_interval'), DEFAULT_BOOKMARK_MS);
  if (bookmarkMs < MIN_BOOKMARK_MS || bookmarkMs > MAX_BOOKMARK_MS) checks.add('bookmark_interval', `is ${bookmarkMs} ms: at least 100 ms, at most 1 h`);
  checks.done();
  return { gateway, after: afterRevision === undefined ? undefined : { revision: afterRevision, position: afterPosition }, filter, bookmarkMs };
}

export function parseEventList(request: ListEventsRequest): { gateway: string; after: EventCursor; filter: EventFilter; newestFirst: boolean } {
  const checks = new Checks();
  const { gateway, afterRevision, afterPosition, newestFirst } = request;
  checks.label(gateway, 'gateway');
  checkPosition(checks, afterRevision, afterPosition);
  if (newestFirst && afterRevision > 0) checks.add('newest_first', 'goes back to the oldest event: leave after_revision out');
  const filter = filterOf(checks, request.filter);
  checks.done();
  return { gateway, after: { revision: afterRevision, position: afterPosition }, filter, newestFirst };
}

function checkPosition(checks: Checks, revision: number, position: number): void {
  if (position > MAX_POSITION) checks.add('after_position', `${position} is more than ${MAX_POSITION}`);
  if (position > 0 && revision === 0) checks.add('after_position', 'is a position in after_revision, which is missing');
}

function filterOf(checks: Checks, filter: WireFilter | undefined): EventFilter {
  if (filter === undefined) return EVERYTHING;
  const { kinds, host, environment } = filter;
  if (kinds.length > MAX_KINDS) checks.add('filter.kinds', `has ${kinds.length} elements; at most ${MAX_KINDS} are allowed`);
  for (const [i, kind] of kinds.slice(0, MAX_KINDS).entries()) {
    if (!isKind(kind)) checks.add(`filter.kinds[${i}]`, `${shown(kind)} is no kind of event: ${EVENT_KINDS.join(', ')}`);
  }
  checks.optionalLabel(host, 'filter.host');
  checks.optionalLabel(environment, 'filter.environment');
  return eventFilter({ kinds: kinds.filter(isKind), host, environment });
}

function isKind(kind: string): kind is EventKind {
  return (EVENT_KINDS as readonly string[]).includes(kind);
}
