/** ExplainPort: what a port is doing, in words, and what happened to it. */
import type { Event } from '../../shared/gen/portlease/v1/events.js';
import { HostState } from '../../shared/gen/portlease/v1/operations.js';
import { PortCondition, type ExplainPortRequest, type ExplainPortResponse, type FormerOwner as WireFormerOwner } from '../../shared/gen/portlease/v1/ports.js';
import { Protocol } from '../../shared/gen/portlease/v1/common.js';
import { conflictSentence } from '../../shared/conflict-text.js';
import { conflictToWire, msToTimestamp, protocolToWire } from '../../shared/wire.js';
import { InvalidField } from '../../shared/invalid.js';
import type { PortCondition as Condition, PortExplanation } from '../book/types.js';
import type { FormerOwner } from '../journal/journal.js';
import type { Gateways } from '../keeper/gateways.js';
import type { Keeper } from '../keeper/keeper.js';
import { cursorOf, eventToWire, refusalOf } from './events.js';
import { HOST_STATES, leaseToWire, mappingToWire, namingOf, type Naming } from './messages.js';
import { pageSize, pageToken, positionOf } from './pages.js';
import { parseExplain } from './parse-ports.js';
import { unknownHost } from './unknown.js';

const CONDITIONS: Record<Condition, PortCondition> = {
  free: PortCondition.PORT_CONDITION_FREE, leased: PortCondition.PORT_CONDITION_LEASED, inUse: PortCondition.PORT_CONDITION_IN_USE,
  held: PortCondition.PORT_CONDITION_HELD, releasing: PortCondition.PORT_CONDITION_RELEASING, resting: PortCondition.PORT_CONDITION_RESTING,
  reserved: PortCondition.PORT_CONDITION_RESERVED, occupied: PortCondition.PORT_CONDITION_OCCUPIED, fencing: PortCondition.PORT_CONDITION_FENCING,
  withdrawing: PortCondition.PORT_CONDITION_WITHDRAWING, notInPool: PortCondition.PORT_CONDITION_NOT_IN_POOL,
};

/** Events that one page looks at: a port that nothing happens to must not make it read all that is kept. */
const SCANNED = 20_000;
const STEP = 1_000;
const FORMER_OWNERS = 100;

type Asker = { tenant: string; isOperator: boolean };
type Place = { space: string; port: number };

/** Throws InvalidRequest, Refused. */
export async function explainPort(gateways: Gateways, request: ExplainPortRequest, isOperator: boolean): Promise<ExplainPortResponse> {
  const { space, port, tenant } = parseExplain(request);
  const asker = { tenant, isOperator };
  const keeper = gateways.need(space.split('/')[0] ?? '', 'space');
  const found = await keeper.read((book) => {
    const known = book.explainPort(space, port);
    return known && messageOf(known, { asker, naming: namingOf(book), gateway: book.gateway.gateway });
  });
  if (found === undefined) throw noSpace(space, keeper);
  const size = pageSize(request.pageSize);
  const list = { list: 'explain', filter: { space, port, tenant } };
  const { events, next } = await historyOf(keeper, { space, port }, { before: positionOf(request.pageToken, list), size });
  const owners = request.pageToken === '' ? await gateways.formerOwners({ space, port, limit: FORMER_OWNERS }) : [];
  return {
    ...found, history: events.map((event) => redacted(event, asker)), nextPageToken: next === undefined ? '' : pageToken({ ...list, after: next }),
    formerOwners: owners.map((owner) => formerOwnerToWire(owner, asker)),
  };
}

function noSpace(space: string, { scope, gateway }: Keeper): Error {
  const host = space.split('/')[1];
  if (scope === 'host' && host !== undefined) return unknownHost(host);
  return new InvalidField('space', scope === 'host' ? `${gateway} has a port space for each host: write ${gateway}/HOST` : `${gateway} has one port space: write ${gateway}`);
}

function messageOf(known: PortExplanation, { asker, naming, gateway }: { asker: Asker; naming: Naming; gateway: string }): Omit<ExplainPortResponse, 'history' | 'nextPageToken' | 'formerOwners'> {
  const { lease, pool, holder } = known;
  return {
    space: known.space, port: known.port, condition: CONDITIONS[known.condition], explanation: sentence(known),
    since: timestamp(known.sinceMs), freeAt: timestamp(known.freeAtMs),
    pool: pool?.pool ?? '', protocol: pool === undefined ? Protocol.PROTOCOL_UNSPECIFIED : protocolToWire(pool.protocol),
    ...ownerOf(known, asker, naming),
    lease: lease && leaseToWire(lease, gateway),
    conflicts: known.conflicts.map(conflictToWire),
    hostState: holder === undefined ? HostState.HOST_STATE_UNSPECIFIED : HOST_STATES[holder],
  };
}

/** As far as it is told to who asks. */
function ownerOf({ mapping, lastOwner }: PortExplanation, { tenant, isOperator }: Asker, naming: Naming): Pick<ExplainPortResponse, 'mapping' | 'ofAnotherTenant' | 'lastEnvironment'> {
  const owner = mapping ?? lastOwner;
  if (owner !== undefined && !isOperator && owner.tenant !== tenant) return { mapping: undefined, ofAnotherTenant: true, lastEnvironment: '' };
  if (mapping !== undefined) return { mapping: mappingToWire(mapping, naming), ofAnotherTenant: false, lastEnvironment: '' };
  return { mapping: undefined, ofAnotherTenant: false, lastEnvironment: lastOwner?.environment ?? '' };
}

function timestamp(ms: number | undefined) {
  return ms === undefined ? undefined : msToTimestamp(ms);
}

type Facts = { host: string; rest: string; untilMs: number | undefined; freeAtMs: number | undefined };

/** None of them names an environment. */
const SENTENCES: Record<Condition, (facts: Facts) => string> = {
  free: () => 'nobody has it, and no host has it leased',
  leased: ({ host }) => `free in a lease of host ${host}: environments there may have it; others when that host gives it back`,
  inUse: ({ rest }) => `an environment has it until that is released and the host has confirmed it${rest}`,
  held: ({ host, untilMs, rest }) => `host ${host} fell silent, and the number is kept for its environment until ${time(untilMs)}; after that it is the first to be taken when the pool is short, once the gateway has confirmed that nothing leads there${rest}`,
  releasing: ({ host, rest }) => `it was given up; host ${host}, or the gateway for it, has not confirmed yet that rule and connections are gone${rest}`,
  resting: ({ freeAtMs }) => (freeAtMs === undefined ? 'it was released and rests; its pool does not have it any more, so nobody gets it afterwards' : `it was released and rests until ${time(freeAtMs)}; its own environment may have it before`),
  reserved: () => 'it is reserved in its pool, until an operator changes that',
  occupied: ({ host }) => `a process of host ${host} that portlease does not know listens on it`,
  fencing: ({ host }) => `it is on its way to host ${host}: the gateway has to confirm that its former host is cut off`,
  withdrawing: ({ host, rest }) => `it is on its way from host ${host} back to the pool: the gateway has to confirm that nothing leads there${rest}`,
  notInPool: () => 'no pool has it',
};

function sentence({ condition, pool, lease, mapping, freeAtMs, space, conflicts: [conflict] }: PortExplanation): string {
  const host = lease?.record.host ?? mapping?.host ?? space.split('/')[1] ?? '';
  const what = SENTENCES[condition]({ host, rest: pool === undefined ? '' : `, then it rests for ${pool.quarantineMs / 1_000} s`, untilMs: mapping?.untilMs, freeAtMs });
  if (conflict === undefined) return what;
  return condition === 'occupied' ? `${what}: ${conflictSentence(conflict)}` : `${what}; a process of the host has it, too: ${conflictSentence(conflict)}`;
}

function time(ms = 0): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}

type History = { events: Event[]; next: string | undefined };

/** What is kept of the port's events before a cursor, newest first; `next`: where a further page begins, if there is more to look at. */
async function historyOf({ events: feed }: Keeper, place: Place, { before, size }: { before: string; size: number }): Promise<History> {
  const events: Event[] = [];
  let next = before;
  try {
    for (let looked = 0; looked < SCANNED; looked += STEP) {
      const page = await feed.readBackwards(next === '' ? undefined : cursorOf(next), STEP);
      for (const event of page) {
        next = `${event.sequence}.${event.position}`;
        if (isAbout(event.detail, place)) events.push(eventToWire(event));
        if (events.length === size) return { events, next };
      }
      if (page.length < STEP) return { events, next: undefined };
    }
  } catch (error) {
    throw refusalOf(error);
  }
  return { events, next };
}

/** Of the port, or of a range that it is in. */
function isAbout(detail: string, { space, port }: Place): boolean {
  if (!detail.includes(`"space":"${space}"`)) return false;
  const { port: one, oldPort, first, last } = JSON.parse(detail) as { port?: number; oldPort?: number; first?: number; last?: number };
  return one === port || oldPort === port || (first !== undefined && last !== undefined && first <= port && port <= last);
}

function formerOwnerToWire({ environment, tenant, name, mappingId, host, protocol, createdAtMs, releasedAtMs }: FormerOwner, asker: Asker): WireFormerOwner {
  const isTold = asker.isOperator || tenant === asker.tenant;
  return {
    ...(isTold ? { environment, tenant, name, mappingId } : { environment: '', tenant: '', name: '', mappingId: '' }),
    host, protocol: protocolToWire(protocol), createdAt: msToTimestamp(createdAtMs), releasedAt: msToTimestamp(releasedAtMs),
  };
}

function redacted(event: Event, { tenant, isOperator }: Asker): Event {
  const { tenant: owner, ...detail } = event.detail;
  if (isOperator || event.environment === '' || owner === tenant) return event;
  return { ...event, environment: '', mappingId: '', detail: { ...detail, tenant: 'another' } };
}
