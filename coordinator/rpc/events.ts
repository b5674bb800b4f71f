/** EventService: watches and lists of what happened. */
import type { ServerWritableStream } from '@grpc/grpc-js';
import {
  EventServiceService, type Event, type EventServiceServer, type ListEventsRequest, type ListEventsResponse, type WatchEventsRequest, type WatchEventsResponse,
} from '../../shared/gen/portlease/v1/events.js';
import type { Clock } from '../../shared/clock.js';
import { systemTimers, type Timers } from '../../shared/timers.js';
import { msToTimestamp } from '../../shared/wire.js';
import { upTo } from '../feed/cursor.js';
import type { Delivery, EventFeed } from '../feed/feed.js';
import { fitting, type EventFilter } from '../feed/filter.js';
import { Follower } from '../feed/follower.js';
import { FeedRefused } from '../feed/refusals.js';
import type { EventCursor, StoredEvent } from '../journal/journal.js';
import type { Gateways } from '../keeper/gateways.js';
import { Refused } from '../keeper/refused.js';
import { reading, type Services } from './calls.js';
import { readable } from './definitions.js';
import { refusalOfJournal, statusOf } from './errors.js';
import { require } from './identity.js';
import { pageSize, pageToken, positionOf } from './pages.js';
import { parseEventList, parseWatch } from './parse-events.js';

/** `watches`: shared by all servers of the coordinator. */
export type EventsOptions = Services & { clock: Clock; timers?: Timers; watches: { open: number } };

type Stream = ServerWritableStream<WatchEventsRequest, WatchEventsResponse>;

const MAX_WATCHES = 4096;
/** Events that a list looks at in one go. */
const SCANNED = 1_000;

export function eventService(options: EventsOptions): EventServiceServer {
  return {
    watchEvents: (stream) => { watch(options, stream); },
    listEvents: reading(options, 'read', (request) => listEvents(options.gateways, request)),
  };
}

function watch(options: EventsOptions, stream: Stream): void {
  const { watches, log } = options;
  const fail = (error: unknown): void => { stream.emit('error', statusOf(refusalOf(error), log)); };
  try {
    require(options.identify(stream), 'read');
    const follower = followerOf(options, stream);
    if (watches.open >= MAX_WATCHES) throw tooMany();
    watches.open += 1;
    const end = (): void => { follower.stop(); };
    for (const ending of ['cancelled', 'close', 'error']) stream.on(ending, end);
    follower.run().catch(fail).finally(() => { watches.open -= 1; });
  } catch (error) {
    fail(error);
  }
}

function followerOf({ gateways, clock, timers = systemTimers }: EventsOptions, stream: Stream): Follower {
  const { gateway, after, filter, bookmarkMs } = parseWatch(readable(stream.request));
  const feed = gateways.need(gateway).events;
  return new Follower({ feed, filter, bookmarkMs, clock, timers, after: after ?? upTo(feed.revision), deliver: (delivery) => write(stream, delivery) });
}

/** Resolves when the message has left the process, or never will. */
function write(stream: Stream, delivery: Delivery): Promise<void> {
  return new Promise((resolve) => {
    if (stream.cancelled || stream.destroyed) return resolve();
    const done = (): void => {
      stream.off('cancelled', done);
      stream.off('close', done);
      resolve();
    };
    stream.on('cancelled', done);
    stream.on('close', done);
    stream.write(messageOf(delivery), done);
  });
}

/** What a watch ended by, as the caller is told. */
export function refusalOf(error: unknown): unknown {
  if (error instanceof FeedRefused) return new Refused(error.refusal);
  return refusalOfJournal(error);
}

function tooMany(): Refused {
  return new Refused({ kind: 'refused', reason: 'TOO_MANY_WATCHERS', message: `${MAX_WATCHES} watches are open`, retryAfterMs: 10_000 });
}

async function listEvents(gateways: Gateways, request: ListEventsRequest): Promise<ListEventsResponse> {
  const order = parseEventList(request);
  const { events: feed } = gateways.need(order.gateway);
  const size = pageSize(request.pageSize);
  const place = { list: 'events', filter: order };
  const token = cursorOf(positionOf(request.pageToken, place));
  const until = upTo(feed.revision);
  try {
    const found = order.newestFirst ? await newest(feed, { before: token, filter: order.filter, atLeast: size + 1 })
      : await following(feed, { after: token ?? order.after, filter: order.filter, atLeast: size + 1 });
    const events = found.events.slice(0, size).map(eventToWire);
    const last = events.at(-1);
    if (found.events.length <= size || last === undefined) return { events, nextPageToken: '', ...found.cursor ?? until };
    const { revision, position } = last;
    const nextPageToken = pageToken({ ...place, after: `${revision}.${position}` });
    return { events, nextPageToken, ...(order.newestFirst ? until : { revision, position }) };
  } catch (error) {
    throw refusalOf(error);
  }
}

type Found = { events: StoredEvent[]; cursor?: EventCursor };

/** What fits after a cursor: at least so many, or all that is committed now. */
async function following(feed: EventFeed, { after, filter, atLeast }: { after: EventCursor; filter: EventFilter; atLeast: number }): Promise<Found> {
  const until = feed.revision;
  let events: StoredEvent[] = [];
  let cursor = after;
  do {
    const batch = await feed.readPage(cursor, SCANNED);
    events = events.concat(fitting(filter, batch.events));
    ({ cursor } = batch);
  } while (events.length < atLeast && (cursor.revision < until || cursor.position > 0));
  return { events, cursor };
}

/** What fits before an event, newest first: at least so many, or all that is kept. */
async function newest(feed: EventFeed, { before, filter, atLeast }: { before: EventCursor | undefined; filter: EventFilter; atLeast: number }): Promise<Found> {
  let events: StoredEvent[] = [];
  for (let at = before; ;) {
    const page = await feed.readBackwards(at, SCANNED);
    events = events.concat(fitting(filter, page));
    const last = page.at(-1);
    if (last === undefined || page.length < SCANNED || events.length >= atLeast) return { events };
    at = { revision: last.sequence, position: last.position };
  }
}

/** "REVISION.POSITION". */
export function cursorOf(text: string): EventCursor | undefined {
  const [revision, position] = text.split('.').map(Number);
  return revision === undefined || position === undefined ? undefined : { revision, position };
}

const messages = new WeakMap<Delivery, WatchEventsResponse>();
const encoded = new WeakMap<WatchEventsResponse, Buffer>();

/** One message for all who get the same. */
function messageOf(delivery: Delivery): WatchEventsResponse {
  let message = messages.get(delivery);
  if (message === undefined) messages.set(delivery, message = { events: delivery.events.map(eventToWire), ...delivery.cursor });
  return message;
}

/** The service, whose watches encode a message once for all who get it. */
export const EVENT_SERVICE = {
  ...EventServiceService,
  watchEvents: {
    ...EventServiceService.watchEvents,
    responseSerialize: (message: WatchEventsResponse): Buffer => {
      let bytes = encoded.get(message);
      if (bytes === undefined) encoded.set(message, bytes = EventServiceService.watchEvents.responseSerialize(message));
      return bytes;
    },
  },
};

export function eventToWire({ gateway, sequence, position, atMs, kind, host, environment, mappingId, detail }: StoredEvent): Event {
  return { gateway, revision: sequence, position, at: msToTimestamp(atMs), kind, host, environment, mappingId, detail: fieldsOf(detail) };
}

/** The fields of a JSON object, as texts. */
function fieldsOf(detail: string): Record<string, string> {
  const fields = Object.entries(JSON.parse(detail) as Record<string, unknown>);
  return Object.fromEntries(fields.map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)]));
}
