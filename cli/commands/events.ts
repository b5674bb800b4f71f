/** `portlease events`: what happened, and what happens. */
import type { Command } from 'commander';
import { Event, EventServiceService, ListEventsRequest, ListEventsResponse } from '../../shared/gen/portlease/v1/events.js';
import { OperationsServiceService } from '../../shared/gen/portlease/v1/operations.js';
import type { Coordinator } from '../coordinator.js';
import { dnsLabel, eventCursor, eventKind } from '../fields.js';
import { collect, isSet, optional, texts } from '../flags.js';
import { followEvents, type Start } from '../follow.js';
import type { Act, Flags, Job, Result, Show } from '../job.js';
import { jsonOf } from '../json.js';
import { limitOf, moreHint, readPages } from '../pages.js';
import { printable, UsageError } from '../usage.js';
import { timeText } from '../words.js';

const NEWEST = 50;

type Filter = { kinds: string[]; host: string; environment: string };
type Wanted = { gateway: string | undefined; after: Start['after']; filter: Filter; limit: number };

export function addEvents(program: Command, act: Act): void {
  program.command('events')
    .description('list what happened, or follow what happens')
    .option('--follow', 'show what happens from now on (or from --after on) until Ctrl-C; with --json one document a line')
    .option('--gateway <name>', 'only of this gateway')
    .option('--after <revision>', 'only what came after this revision of the gateway; 0: from the oldest that is kept')
    .option('--kind <kind>', 'only of this kind, for example HostLost (repeatable)', collect)
    .option('--host <name>', 'only about this host')
    .option('--environment <name>', 'only about this environment')
    .option('--limit <count>', `at most so many (default: the newest ${NEWEST}; with --after all)`)
    .action(act(prepareEvents));
}

function prepareEvents(_args: readonly string[], flags: Flags): Job {
  const wanted: Wanted = {
    gateway: optional(flags, 'gateway', dnsLabel),
    after: optional(flags, 'after', eventCursor),
    filter: {
      kinds: texts(flags, 'kind').map((kind) => eventKind('--kind', kind)),
      host: optional(flags, 'host', dnsLabel) ?? '',
      environment: optional(flags, 'environment', dnsLabel) ?? '',
    },
    limit: limitOf(flags),
  };
  if (isSet(flags, 'follow') && wanted.limit !== Infinity) throw new UsageError('--limit does not go with --follow', 'Leave one of them out.');
  return isSet(flags, 'follow')
    ? { what: 'follow events', run: (coordinator, show) => follow(coordinator, show, wanted) }
    : { what: 'list events', run: (coordinator) => list(coordinator, wanted) };
}

async function gatewaysOf(coordinator: Coordinator, { gateway, after }: Wanted): Promise<string[]> {
  if (gateway !== undefined) return [gateway];
  const { gateways } = await coordinator.call(OperationsServiceService.listGateways, {});
  const names = gateways.map((one) => one.gateway);
  if (after !== undefined && after.revision > 0 && names.length > 1) {
    throw new UsageError('--after is a revision of one gateway, and there are several', `Name one with --gateway: ${names.join(', ')}.`);
  }
  return names;
}

async function list(coordinator: Coordinator, wanted: Wanted): Promise<Result> {
  const { after, filter } = wanted;
  const limit = after === undefined && wanted.limit === Infinity ? NEWEST : wanted.limit;
  const lists = await Promise.all((await gatewaysOf(coordinator, wanted)).map((gateway) => readPages(limit, async (pageSize, pageToken) => {
    const from = after === undefined ? { newestFirst: true } : { afterRevision: after.revision, afterPosition: after.position };
    const { events: items, nextPageToken } = await coordinator.call(EventServiceService.listEvents, ListEventsRequest.fromPartial({ gateway, filter, ...from, pageSize, pageToken }));
    return { items, nextPageToken };
  })));
  const found = lists.flatMap(({ items }) => items).sort(byTime);
  const events = after === undefined ? found.slice(-limit) : found.slice(0, limit);
  const hasMore = after !== undefined && (events.length < found.length || lists.some(({ nextPageToken }) => nextPageToken !== ''));
  return {
    json: { events: (jsonOf(ListEventsResponse, ListEventsResponse.fromPartial({ events }))['events'] as unknown[]) },
    text: events.map((event) => `${eventText(event)}\n`).join(''), next: moreHint({ items: events, nextPageToken: hasMore ? 'more' : '' }),
  };
}

/** Of one gateway in its order, which times follow as long as nobody sets the clock back. */
function byTime(a: Event, b: Event): number {
  if (a.gateway === b.gateway) return a.revision - b.revision || a.position - b.position;
  return (a.at?.seconds ?? 0) - (b.at?.seconds ?? 0) || (a.at?.nanos ?? 0) - (b.at?.nanos ?? 0);
}

async function follow(coordinator: Coordinator, show: Show, wanted: Wanted): Promise<Result> {
  const gateways = await gatewaysOf(coordinator, wanted);
  if (gateways.length === 0) throw new UsageError('there is no gateway whose events could be followed', 'Create one: portlease gateways create.');
  const stopped = await Promise.all(gateways.map((gateway) => followEvents(coordinator, {
    gateway, after: wanted.after, filter: wanted.filter, note: show.note, signal: show.signal, show: (event) => { show.line({ json: jsonOf(Event, event), text: eventText(event) }); },
  })));
  return { json: undefined, text: '', next: stopped.map((at, i) => `portlease events --follow --gateway ${gateways[i]} --after ${at} goes on where this ended`) };
}

/** "2026-01-31 09:30:00Z  gw 17.1  PortAllocated    env-1 on host-a  m000…  port=30001 protocol=tcp space=gw" */
function eventText({ gateway, revision, position, at, kind, host, environment, mappingId, detail }: Event): string {
  const subject = environment === '' ? host : host === '' ? environment : `${environment} on ${host}`;
  const fields = Object.entries(detail).map(([name, value]) => `${name}=${value}`).sort().join(' ');
  const parts = [timeText(at), `${gateway} ${revision}.${position}`, kind.padEnd(14), subject, mappingId, fields];
  return printable(parts.filter((part) => part !== '').join('  ').trimEnd());
}
