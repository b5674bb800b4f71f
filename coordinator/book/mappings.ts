/** The life of a mapping: made, changed, given up, resting, gone. Keeps indexes and counts in step with its state. */
import { forgetOwner, rememberOwner } from './former.js';
import { drop, put } from './outbox.js';
import { mappingObject, releaseObject } from './objects.js';
import type { Counts, Environment, Host, Mapping, PoolSpace, State } from './state.js';
import type { MappingRecord, MappingState } from './types.js';

type Counted = 'allocated' | 'held' | 'quarantined' | 'releasing';
const COUNTED: Record<MappingState, readonly Counted[]> = {
  pending: ['allocated'], live: ['allocated'], blocked: ['allocated'], held: ['held'], releasing: ['allocated', 'releasing'],
  quarantined: ['quarantined'], released: [],
};

/** A mapping in no index. */
export function unindexed(record: MappingRecord, environment: Environment): Mapping {
  return { record, environment, hostRevision: 0, applied: false, verify: false, verified: false, isUntold: false, askedBy: [] };
}
/** Reason of a release that nobody else gives one for. */
const NOT_CONFIRMED = 'RELEASE_NOT_CONFIRMED';

/** Puts a mapping into every index; the port must have no owner. Does not mark it dirty and tells nobody. */
export function index(state: State, record: MappingRecord, environment: Environment): Mapping {
  const mapping = unindexed(record, environment);
  const space = state.space(record.space);
  space.mappingAt.set(record.port, mapping);
  forgetOwner(state, space, record.port);
  space.mapped.add(record.port);
  state.mappings.set(record.mappingId, mapping);
  environment.mappings.push(mapping);
  state.hosts.get(record.host)?.mappings.add(mapping);
  count(state, record, 1);
  return mapping;
}

export function setState(state: State, mapping: Mapping, next: MappingState, reason: string): void {
  setStateUntil(state, mapping, { state: next, reason, untilMs: 0 });
}

export function setStateUntil(state: State, mapping: Mapping, next: Pick<MappingRecord, 'state' | 'reason' | 'untilMs'>): void {
  count(state, mapping.record, -1);
  mapping.record.state = next.state;
  mapping.record.reason = next.reason;
  mapping.record.untilMs = next.untilMs;
  count(state, mapping.record, 1);
  state.dirtyMapping(mapping);
}

/** Tells the host to serve it; while its lease is being fenced, that is left to the end of the fence. */
export function tellHost(state: State, mapping: Mapping): void {
  const host = state.hosts.get(mapping.record.host);
  mapping.applied = false;
  mapping.hostRevision = state.sequence;
  if (host === undefined) return;
  host.awaiting.add(mapping);
  if (state.leaseAt(state.space(mapping.record.space), mapping.record.port)?.record.state === 'fencing') return;
  put(state, host, mappingObject(state, mapping));
}

/** Live once its host applied it and, in a shared space, the gateway applied the route of its lease. */
export function settle(state: State, mapping: Mapping): void {
  if (mapping.record.state !== 'pending' || !mapping.applied) return;
  const space = state.space(mapping.record.space);
  const lease = state.leaseAt(space, mapping.record.port);
  if (lease === undefined || lease.record.state !== 'active' || (state.shared && !lease.routed)) return;
  setState(state, mapping, 'live', '');
  mapping.isUntold = false;
  state.event('PortChanged', about(mapping));
}

/** Tells the host of its idle limit, if it was told of the mapping; otherwise it is served as before. */
export function tellLimit(state: State, mapping: Mapping): void {
  const lease = state.leaseAt(state.space(mapping.record.space), mapping.record.port)?.record.state;
  if (lease !== 'active' && lease !== 'expired') return;
  put(state, state.hosts.get(mapping.record.host), mappingObject(state, mapping));
}

/**
 * Gives it up: its host is asked to end it; fencing, where that is needed, is the caller's. `reason`: why, if that is to stay with it
 * when the release is confirmed.
 */
export function giveUp(state: State, mapping: Mapping, reason?: string): void {
  const host = state.hosts.get(mapping.record.host);
  setState(state, mapping, 'releasing', reason ?? NOT_CONFIRMED);
  state.event('PortChanged', about(mapping));
  host?.awaiting.delete(mapping);
  drop(state, host, `mapping/${mapping.record.mappingId}`);
  tellRelease(state, mapping);
}

/** Asks the host to end it; while its lease is being fenced, that is left to the end of the fence. */
export function tellRelease(state: State, mapping: Mapping): void {
  if (state.leaseAt(state.space(mapping.record.space), mapping.record.port)?.record.state === 'fencing') return;
  put(state, state.hosts.get(mapping.record.host), releaseObject(state, mapping));
}

/** The release is confirmed: the port rests from now on (S12). */
export function rest(state: State, mapping: Mapping): void {
  const { record } = mapping;
  drop(state, state.hosts.get(record.host), `release/${record.mappingId}`);
  record.releasedSequence = state.sequence;
  state.space(record.space).lastUsed.set(record.port, state.sequence);
  const pool = state.pools.get(record.pool);
  const untilMs = state.nowMs + (pool?.spec.quarantineMs ?? 60_000);
  const reason = record.reason === NOT_CONFIRMED ? '' : record.reason;
  setStateUntil(state, mapping, { state: 'quarantined', reason, untilMs });
  startRest(state, mapping);
  leaveEnvironment(state, mapping);
  state.event('PortReleased', about(mapping));
}

/** Lets the quarantine of a mapping run until record.untilMs; its environment may come back for the port. */
export function startRest(state: State, mapping: Mapping): void {
  state.hosts.get(mapping.record.host)?.mappings.delete(mapping);
  rememberOwner(state, mapping.record);
  state.deadlines.push(mapping.record.untilMs, { kind: 'quarantine', mapping });
  poolSpaceOf(state, mapping.record)?.resting.push(mapping.record.untilMs, mapping);
}

/** The quarantine is over, or its own environment takes the port again: nobody owns the port any more. */
export function vacate(state: State, mapping: Mapping): void {
  const { record } = mapping;
  const space = state.space(record.space);
  setStateUntil(state, mapping, { state: 'released', reason: record.reason, untilMs: state.nowMs });
  space.mappingAt.delete(record.port);
  space.mapped.delete(record.port);
  state.mappings.delete(record.mappingId);
  state.pools.get(record.pool)?.leftover.delete(mapping);
  state.event('PortAvailable', about(mapping));
}

/** Gives an ownerless port to whoever covers it: the host that has it leased, else the pool. */
export function freePort(state: State, record: { space: string; port: number }): void {
  const space = state.space(record.space);
  const pool = state.poolAt(record.port);
  const lease = state.leaseAt(space, record.port);
  const usable = pool !== undefined && !pool.reserved.has(record.port);
  if (lease !== undefined) {
    const owns = lease.record.state === 'active' || lease.record.state === 'expired';
    const setAside = state.hosts.get(lease.record.host)?.occupied.has(record.port) === true;
    if (owns && usable && !setAside) lease.holder?.free.add(record.port, space.lastUsed.get(record.port) ?? 0);
    if (owns && space.mapped.countIn(lease.record.first, lease.record.last) === 0) {
      state.deadlines.push(state.nowMs + state.timing.lostMs, { kind: 'idleLease', lease });
    }
  } else if (usable) {
    pool.spaces.get(record.space)?.blocks.release(record.port, record.port);
  }
  state.progress = true;
}

export function poolSpaceOf(state: State, record: { pool: string; space: string }): PoolSpace | undefined {
  return state.pools.get(record.pool)?.spaces.get(record.space);
}

/** Environment without a mapping in force or being released: it is gone, its requests are kept for 7 days more. */
function leaveEnvironment(state: State, mapping: Mapping): void {
  const { environment } = mapping;
  environment.mappings.splice(environment.mappings.indexOf(mapping), 1);
  // Another tenant may have an environment of that name already.
  if (environment.mappings.length > 0 || environment.isGone) return;
  // Its container may be left.
  if (state.workloads.has(environment.record.environment)) return;
  removeEnvironment(state, environment);
}

/** Its name is free from now on. */
export function removeEnvironment(state: State, environment: Environment): void {
  const name = environment.record.environment;
  environment.isGone = true;
  state.environments.delete(name);
  state.dirty.environments.delete(environment);
  state.dirty.removedEnvironments.push(name);
  state.changed = true;
}

/** The mapping of this host that the key of an object names. */
export function mappingOf(state: State, host: Host, key: string): Mapping | undefined {
  const mapping = key.startsWith('mapping/') ? state.mappings.get(key.slice('mapping/'.length)) : undefined;
  return mapping?.record.host === host.record.host ? mapping : undefined;
}

/** What an event of the mapping says; `more`: at least one field that comes behind the usual ones. */
export function about(mapping: Mapping, more?: Readonly<Record<string, unknown>>): { host: string; environment: string; mappingId: string; detail: string } {
  const { host, environment, mappingId, tenant, space, pool, protocol, port, state, reason } = mapping.record;
  const why = reason === '' ? '' : `,"reason":${JSON.stringify(reason)}`;
  const further = more === undefined ? '' : `,${JSON.stringify(more).slice(1, -1)}`;
  return { host, environment, mappingId, detail: `{"tenant":"${tenant}","space":"${space}","pool":"${pool}","protocol":"${protocol}","port":${port},"state":"${state}"${why}${further}}` };
}

function count(state: State, record: MappingRecord, by: 1 | -1): void {
  const counts: Counts | undefined = state.pools.get(record.pool)?.counts;
  if (counts === undefined) return;
  for (const key of COUNTED[record.state]) counts[key] += by;
}
