/**
 * Foreign processes on leased ports. Such a port is set aside. A mapping on it is blocked by its host's report, and keeps its number, unless
 * nobody was told that number yet, or its want or its pool says that it gets another one.
 */
import { Draft, type Outcome } from './draft.js';
import { about, freePort, giveUp, index, mappingOf, setState, tellHost } from './mappings.js';
import { problemIn } from './problem.js';
import { isInForce } from './states.js';
import type { Host, KnownConflict, Mapping, Pool, State } from './state.js';
import { takeUp } from './take-up.js';
import type { Conflict, MappingRecord, ReportCommand, WantSpec } from './types.js';

/** A foreign process on a leased port of a host, since when this coordinator knows of it, and whose port it is. */
export type ConflictView = {
  host: string;
  space: string;
  pool: string;
  conflict: Conflict;
  sinceMs: number;
  mapping: Pick<MappingRecord, 'environment' | 'mappingId' | 'state'> | undefined;
};

/** Of one report: a host where thousands of ports turn out to be taken must not flood the stream. The rest is told with the next ones. */
const MAX_TOLD = 64;
/** Reasons of hosts for a mapping whose port somebody else has. */
const IN_CONFLICT = ['PORT_CONFLICT', 'PORT_OCCUPIED'];

/** What the host says that foreign processes have: set aside from now on, and free again when they are gone. */
export function takeConflicts(state: State, host: Host, { occupied, conflicts = [] }: Pick<ReportCommand, 'occupied' | 'conflicts'>): void {
  if (host.occupied.size === 0 && occupied.length === 0) return;
  setAside(state, host, new Set(occupied.map(({ port }) => port)));
  const said = new Map([...conflicts].reverse().map((conflict) => [keyOf(conflict), conflict]));
  const before = host.conflicts;
  host.conflicts = new Map(occupied.map((place) => {
    const conflict = said.get(keyOf(place)) ?? { ...place, address: '', uid: 0, user: '', holder: undefined };
    const known = before.get(keyOf(place));
    return [keyOf(place), { conflict, sinceMs: known?.sinceMs ?? state.nowMs, isTold: known?.isTold === true && isOfSame(known.conflict, conflict) }];
  }));
  tellConflicts(state, host, before);
}

function tellConflicts(state: State, host: Host, before: ReadonlyMap<string, KnownConflict>): void {
  for (const [key, { conflict, isTold }] of before) {
    if (isTold && !host.conflicts.has(key)) state.event('PortConflictOver', aboutConflict(state, host, conflict));
  }
  let told = 0;
  for (const known of host.conflicts.values()) {
    if (known.isTold || told === MAX_TOLD) continue;
    known.isTold = true;
    told += 1;
    state.event('PortConflict', aboutConflict(state, host, known.conflict));
  }
}

/** One that was started again is the same program of the same user in the same container. */
function isOfSame(a: Conflict, b: Conflict): boolean {
  return a.uid === b.uid && a.holder?.program === b.holder?.program && a.holder?.containerId === b.holder?.containerId;
}

function setAside(state: State, host: Host, occupied: Set<number>): void {
  const before = host.occupied;
  host.occupied = occupied;
  const space = state.spaceOf(host.record.host);
  for (const port of occupied) {
    const lease = state.leaseAt(space, port);
    if (lease?.record.host === host.record.host) lease.holder?.free.remove(port);
  }
  for (const port of before) {
    const lease = state.leaseAt(space, port);
    if (occupied.has(port) || lease?.record.host !== host.record.host || space.mapped.has(port)) continue;
    freePort(state, { space: space.name, port });
  }
}

/** After a report: mappings of the host on ports that somebody else has get others, as far as that is wanted. */
export function settleConflicts(state: State, host: Host): void {
  for (const key of host.problems.keys()) {
    const mapping = mappingOf(state, host, key);
    if (mapping !== undefined && mayExchange(state, mapping)) state.toRenumber.add(mapping);
  }
  renumber(state);
}

/** All that wait for another port, as far as there is one now. */
export function renumber(state: State): void {
  for (const mapping of state.toRenumber) {
    if (isInConflict(state, mapping) && exchange(state, mapping) !== 'done') continue;
    state.toRenumber.delete(mapping);
  }
}

/** It waits for another port, and its caller with it. */
export function waitsForPort(state: State, mapping: Mapping): boolean {
  return mapping.record.state === 'pending' && state.toRenumber.has(mapping);
}

function mayExchange(state: State, mapping: Mapping): boolean {
  const { onConflict, pool } = mapping.record;
  const says = onConflict === 'pool' ? state.pools.get(pool)?.spec.onConflict : onConflict;
  return (mapping.isUntold || says === 'renumber') && isInConflict(state, mapping);
}

/** Its host says so, and it is to be served there. */
function isInConflict(state: State, { record }: Mapping): boolean {
  const problem = state.mappings.has(record.mappingId) ? state.hosts.get(record.host)?.problems.get(`mapping/${record.mappingId}`) : undefined;
  return problem !== undefined && isInForce(record.state) && record.state !== 'held' && IN_CONFLICT.includes(problemIn(problem).reason);
}

function exchange(state: State, mapping: Mapping): 'done' | 'notYet' {
  const { record } = mapping;
  const host = state.hosts.get(record.host);
  const pool = state.pools.get(record.pool);
  if (host?.state !== 'alive' || host.record.duty !== 'open' || pool === undefined || state.gateway.restoring !== 'no') return 'notYet';
  // Of nobody: ports that rest are given back to their environment when it asks for them, not for this.
  const draft = new Draft(state, host, { environment: '', tenant: '', actor: ACTOR, dryRun: false });
  const outcome = draft.take(askFor(mapping, pool));
  if (outcome !== undefined) {
    draft.rollback();
    return noneYet(state, mapping, outcome);
  }
  takeUp(state, draft);
  replace(state, mapping, (draft.picks[0] as { port: number }).port);
  return 'done';
}

const ACTOR = 'coordinator';

function askFor({ record: { name, protocol, target, internalPort } }: Mapping, pool: Pool): Parameters<Draft['take']>[0] {
  const want: WantSpec = { name, source: { kind: 'pool', pool: pool.spec.pool }, protocol, count: 1, contiguous: false, target, internalPort, choice: { kind: 'any' } };
  return { want, field: '', pool, had: [] };
}

/** A caller who waits goes on waiting while ports are on their way; when there is none it is told that this one is blocked. */
function noneYet(state: State, mapping: Mapping, outcome: NonNullable<Outcome>): 'notYet' {
  const next = outcome.kind === 'waiting' && mapping.isUntold ? 'pending' : 'blocked';
  const reason = next === 'pending' ? 'WAITS_FOR_OTHER_PORT' : state.hosts.get(mapping.record.host)?.problems.get(`mapping/${mapping.record.mappingId}`) ?? '';
  if (mapping.record.state !== next) setState(state, mapping, next, reason);
  return 'notYet';
}

/**
 * A new mapping with another number; the old one is released as always, so that the old number rests, and stays set aside while the process is
 * there (S12). The id is a new one because a mapping and a generation name one port for good: what a host confirms of the old one
 * can never be taken for the new one (S1, S2).
 */
function replace(state: State, mapping: Mapping, port: number): void {
  const { record } = mapping;
  giveUp(state, mapping);
  const next = index(state, {
    ...record, mappingId: state.newId('m'), port, state: 'pending', reason: 'NOT_CONFIRMED_BY_HOST', epoch: state.gateway.epoch, generation: state.sequence,
    untilMs: 0, releasedSequence: 0,
  }, mapping.environment);
  next.verify = mapping.verify;
  next.isUntold = mapping.isUntold;
  for (const request of mapping.askedBy) {
    request.mappings = request.mappings.map((one) => (one === mapping ? next : one));
    request.record.mappingIds = request.mappings.map(({ record: { mappingId } }) => mappingId);
    state.dirty.requests.add(request);
  }
  next.askedBy = mapping.askedBy;
  mapping.askedBy = [];
  state.dirtyMapping(next);
  tellHost(state, next);
  state.event('PortAllocated', about(next));
  const numbers = { oldPort: record.port, port, oldMapping: record.mappingId };
  const { host, environment, tenant, space, pool, protocol, name } = next.record;
  state.event('PortRenumbered', { host, environment, mappingId: next.record.mappingId, detail: JSON.stringify({ tenant, space, pool, protocol, name, ...numbers }) });
  state.audit({ actor: ACTOR, action: 'RenumberPort', outcome: 'ok', environment, requestId: '', detail: JSON.stringify({ host, mapping: next.record.mappingId, ...numbers }) });
}

/** In order of host, port and transport. */
export function conflictViews(state: State): ConflictView[] {
  const views = [...state.hosts.values()].flatMap((host) => Array.from(host.conflicts.values(), ({ conflict, sinceMs }): ConflictView => {
    const { space, pool, mapping } = placeOf(state, host, conflict);
    const { environment, mappingId, state: mappingState } = mapping?.record ?? {};
    const owner = environment === undefined || mappingId === undefined || mappingState === undefined ? undefined : { environment, mappingId, state: mappingState };
    return { host: host.record.host, space, pool, conflict, sinceMs, mapping: owner };
  }));
  return views.sort((a, b) => (a.host === b.host ? a.conflict.port - b.conflict.port || (a.conflict.transport < b.conflict.transport ? -1 : 1) : a.host < b.host ? -1 : 1));
}

/** Of one port, TCP before UDP. */
export function conflictsAt(host: Host | undefined, port: number): Conflict[] {
  return (['tcp', 'udp'] as const).flatMap((transport) => host?.conflicts.get(keyOf({ transport, port }))?.conflict ?? []);
}

/** `mapping`: of this host, and served in this transport. */
function placeOf(state: State, host: Host, { transport, port }: Conflict): { space: string; pool: string; mapping: Mapping | undefined } {
  const space = state.spaceOf(host.record.host);
  const mapping = space.mappingAt.get(port);
  const isOfHost = mapping?.record.host === host.record.host && mapping.record.state !== 'quarantined' && mapping.record.protocol.split('+').includes(transport);
  return { space: space.name, pool: state.poolAt(port)?.spec.pool ?? '', mapping: isOfHost ? mapping : undefined };
}

function aboutConflict(state: State, host: Host, conflict: Conflict): { host: string; environment: string; mappingId: string; detail: string } {
  const { space, pool, mapping } = placeOf(state, host, conflict);
  const { transport, port, address, user, uid, holder } = conflict;
  const { environment = '', mappingId = '', tenant } = mapping?.record ?? {};
  const who = holder && { pid: holder.pid, program: holder.program, container: holder.containerId, command: holder.command };
  return {
    host: host.record.host, environment, mappingId,
    detail: JSON.stringify({ tenant, space, pool, protocol: transport, port, address, user: user === '' ? `${uid}` : user, ...who }),
  };
}

function keyOf({ transport, port }: Pick<Conflict, 'transport' | 'port'>): string {
  return `${transport}/${port}`;
}
