/**
 * The life of a lease: granted, split, fenced, withdrawn, expired, renewed. In a shared space a range reaches another host, or the
 * pool, only after the gateway confirmed that route and connections are gone (S1, S8, S12); in scope host nobody else can get it.
 */
import { overlaps, type PortRange } from '../../shared/ports.js';
import { FreePorts } from './freeports.js';
import { MinHeap } from './minheap.js';
import { poolSpaceOf, rest, setState, setStateUntil, settle, tellHost, tellRelease, about } from './mappings.js';
import { isInForce } from './states.js';
import { leaseObject, routeObject, withdrawalObject } from './objects.js';
import { drop, put } from './outbox.js';
import { releaseUsable } from './poolspace.js';
import type { Holder, Host, Lease, Mapping, PoolSpace, Space, State } from './state.js';
import { inRanges } from './state.js';
import type { LeaseRecord, LeaseState } from './types.js';

export function holderOf(state: State, poolSpace: PoolSpace, host: string): Holder {
  let holder = poolSpace.holders.get(host);
  if (holder === undefined) {
    const free = new FreePorts(poolSpace.pool.spec.strategy, state.random);
    holder = { host, poolSpace, free, leases: new Set(), ports: 0, fencing: 0, holds: new MinHeap() };
    poolSpace.holders.set(host, holder);
  }
  return holder;
}

/** A lease of ports that no other host can reach: fresh from the pool's blocks, or in a space of the host's own. */
export function grant(state: State, holder: Holder, ports: PortRange): Lease {
  const lease = makeLease(state, holder, ports, { state: 'active', guards: [] });
  addFree(state, lease);
  tellLease(state, lease);
  state.event('LeaseGranted', aboutLease(lease));
  return lease;
}

/**
 * Takes `ports` of a lease for another host, or for the same one at another address. The new host guards them first, then the gateway
 * re-points the route, and only then is the host told what to serve. The former one guards them until the gateway confirms.
 */
export function transfer(state: State, lease: Lease, ports: PortRange, to: Holder): Lease {
  // The new host may be one of them: its guard must outlast this lease if that is taken on before the gateway confirmed.
  const guards = routedTo(lease);
  splitOff(state, lease, ports);
  const next = makeLease(state, to, ports, { state: 'fencing', guards });
  to.fencing += sizeOf(next);
  tellLease(state, next);
  state.event('LeaseReclaimed', { ...aboutLease(lease), detail: rangeDetail(lease.record, ports) });
  return next;
}

/** Takes `ports` of a lease back to the pool; they are free, or rest, once the gateway confirmed. */
export function withdraw(state: State, lease: Lease, ports: PortRange): void {
  const host = lease.record.host;
  const poolSpace = lease.holder?.poolSpace;
  const guards = routedTo(lease);
  splitOff(state, lease, ports);
  state.event('LeaseReclaimed', { ...aboutLease(lease), detail: rangeDetail(lease.record, ports) });
  const gone = register(state, recordOf(state, { ...lease.record, state: 'withdrawing', guards }, ports), undefined);
  state.dirtyLease(gone);
  tellLease(state, gone);
  for (const mapping of mappingsIn(state.space(gone.record.space), gone)) drop(state, state.hosts.get(host), `release/${mapping.record.mappingId}`);
  if (poolSpace !== undefined) poolSpace.pool.counts.leased += sizeOf(gone);
  if (state.shared) put(state, state.gatewayAgent, withdrawalObject(state, gone));
  else finishWithdrawal(state, gone);
}

/** The gateway confirmed a withdrawal (or none is needed): mappings rest, the other ports return to the pool. */
export function finishWithdrawal(state: State, lease: Lease): void {
  const space = state.space(lease.record.space);
  for (const mapping of [...mappingsIn(space, lease)]) if (mapping.record.state === 'releasing') rest(state, mapping);
  drop(state, state.gatewayAgent, `withdrawal/${lease.record.leaseId}`);
  unregister(state, lease);
  const counts = state.pools.get(lease.record.pool)?.counts;
  if (counts !== undefined) counts.leased -= sizeOf(lease);
  // Its pool may have lost these ports meanwhile, and another one may have them.
  for (const pool of state.pools.values()) {
    const poolSpace = pool.spaces.get(space.name);
    if (poolSpace !== undefined && pool.spec.ranges.some((range) => overlaps(range, lease.record))) releaseUsable(state, poolSpace, lease.record);
  }
  state.progress = true;
}

/** The gateway confirmed the route of a fencing lease: from now on its host may serve it. */
export function activate(state: State, lease: Lease): void {
  const host = state.hosts.get(lease.record.host);
  const lost = host === undefined || host.state === 'lost';
  lease.record.state = lost ? 'expired' : 'active';
  lease.record.expiredAtMs = lost ? state.nowMs : 0;
  lease.routed = true;
  state.unrouted.delete(lease);
  state.dirtyLease(lease);
  if (lease.holder !== undefined) lease.holder.fencing -= sizeOf(lease);
  endGuards(state, lease);
  put(state, host, leaseObject(state, lease));
  addFree(state, lease);
  put(state, state.gatewayAgent, routeObject(state, lease));
  for (const mapping of mappingsIn(state.space(lease.record.space), lease)) {
    if (mapping.record.state === 'releasing') tellRelease(state, mapping);
    if (!isInForce(mapping.record.state)) continue;
    if (lost) hold(state, mapping);
    else setState(state, mapping, 'pending', 'NOT_CONFIRMED_BY_HOST');
    tellHost(state, mapping);
  }
  state.event('LeaseGranted', aboutLease(lease));
  state.progress = true;
}

/** The heartbeat of the host was lost: leases expire, the numbers of its environments are held for them. */
export function expireLeases(state: State, host: Host): void {
  for (const lease of host.leases) {
    if (lease.record.state !== 'active') continue;
    lease.record.state = 'expired';
    lease.record.expiredAtMs = state.nowMs;
    state.dirtyLease(lease);
    state.event('LeaseExpired', aboutLease(lease));
  }
  for (const lease of [...host.unguarded]) {
    // Nothing was routed to it yet; what nobody has goes back to the pool.
    if (lease.record.state === 'fencing' && isUnused(state, lease)) withdraw(state, lease, lease.record);
  }
  for (const mapping of host.mappings) if (isInForce(mapping.record.state)) hold(state, mapping);
}

/** The host answers again: what was not reclaimed meanwhile is its own as before. */
export function renewLeases(state: State, host: Host): void {
  for (const lease of host.leases) {
    if (lease.record.state !== 'expired') continue;
    lease.record.state = 'active';
    lease.record.expiredAtMs = 0;
    state.dirtyLease(lease);
    state.event('LeaseRenewed', aboutLease(lease));
  }
  for (const mapping of host.mappings) if (mapping.record.state === 'held') setState(state, mapping, 'pending', 'NOT_CONFIRMED_BY_HOST');
}

/** The gateway applied the route of a lease. */
export function routed(state: State, lease: Lease): void {
  lease.routed = true;
  state.unrouted.delete(lease);
  for (const mapping of mappingsIn(state.space(lease.record.space), lease)) settle(state, mapping);
}

/** The host applied the lease: its guard stands, so the gateway may lead clients there. */
export function guarded(state: State, lease: Lease): void {
  state.hosts.get(lease.record.host)?.unguarded.delete(lease);
  lease.record.guarded = true;
  state.dirtyLease(lease);
  route(state, lease);
}

/** The host is at other addresses: its routes are fenced anew, and until that is done it serves nothing through them. */
export function refence(state: State, host: Host): void {
  for (const lease of [...host.leases]) {
    if (lease.holder === undefined) continue;
    for (const mapping of mappingsIn(state.space(lease.record.space), lease)) {
      if (isInForce(mapping.record.state)) setState(state, mapping, 'pending', 'WAITS_FOR_FENCE');
    }
    transfer(state, lease, lease.record, lease.holder);
  }
}

/** Tells the gateway where the lease leads, once its host guards it. */
export function route(state: State, lease: Lease): void {
  if (!state.shared || !lease.record.guarded) return;
  lease.routeRevision = state.sequence;
  if (!lease.routed) state.unrouted.add(lease);
  put(state, state.gatewayAgent, routeObject(state, lease));
}

/** Routes of the pool say something else of connections. */
export function retellRoutes(state: State, pool: string): void {
  for (const lease of state.leases.values()) {
    if (lease.record.pool === pool && lease.record.state !== 'withdrawing') route(state, lease);
  }
}

export function* mappingsIn(space: Space, lease: Lease): Generator<Mapping> {
  for (const port of space.mapped.within(lease.record.first, lease.record.last)) {
    const mapping = space.mappingAt.get(port);
    if (mapping !== undefined) yield mapping;
  }
}

/** Enters a lease that is stored, or was made, into every index; tells nobody. */
export function register(state: State, record: LeaseRecord, holder: Holder | undefined): Lease {
  const lease: Lease = { record, holder, routed: false, routeRevision: 0, hostRevision: 0 };
  const space = state.space(record.space);
  space.leaseStarts.add(record.first);
  space.leaseByStart.set(record.first, lease);
  state.leases.set(record.leaseId, lease);
  if (record.state === 'withdrawing') state.withdrawing.add(lease);
  for (const guard of record.guards) state.hosts.get(guard)?.guarding.add(lease);
  if (holder !== undefined) {
    holder.leases.add(lease);
    holder.ports += sizeOf(lease);
    holder.poolSpace.pool.counts.leased += sizeOf(lease);
    state.hosts.get(record.host)?.leases.add(lease);
  }
  return lease;
}

/** Adds the ports of a lease that nobody owns to what its host may give out. */
export function addFree(state: State, lease: Lease): void {
  const { holder } = lease;
  if (holder === undefined) return;
  const space = state.space(lease.record.space);
  const { spec, reserved } = holder.poolSpace.pool;
  const occupied = state.hosts.get(holder.host)?.occupied;
  for (let port = lease.record.first; port <= lease.record.last; port += 1) {
    const usable = !space.mapped.has(port) && !reserved.has(port) && inRanges(spec.ranges, port) && occupied?.has(port) !== true;
    if (usable) holder.free.add(port, space.lastUsed.get(port) ?? 0);
  }
  if (space.mapped.countIn(lease.record.first, lease.record.last) === 0) {
    state.deadlines.push(state.nowMs + state.timing.lostMs, { kind: 'idleLease', lease });
  }
}

/** Removes a range from a lease. What is kept gets new leases: same host, same state, its routes and mappings untouched. */
function splitOff(state: State, lease: Lease, ports: PortRange): void {
  const { holder } = lease;
  const record = { ...lease.record };
  const host = state.hosts.get(record.host);
  for (const port of [...(holder?.free.within(record.first, record.last) ?? [])]) holder?.free.remove(port);
  unregister(state, lease);
  if (holder !== undefined) holder.poolSpace.pool.counts.leased -= sizeOf(lease);
  if (host !== undefined) host.mustApply = state.sequence;
  drop(state, state.gatewayAgent, `route/${record.leaseId}`);
  const kept = [{ first: record.first, last: ports.first - 1 }, { first: ports.last + 1, last: record.last }];
  for (const part of kept) {
    if (part.first > part.last) continue;
    const next = register(state, { ...recordOf(state, record, part), guarded: record.guarded }, holder);
    next.routed = lease.routed;
    state.dirtyLease(next);
    if (record.state !== 'fencing') addFree(state, next);
    else if (holder !== undefined) holder.fencing += sizeOf(next);
    tellLease(state, next);
    route(state, next);
  }
}

function unregister(state: State, lease: Lease): void {
  const { record, holder } = lease;
  const space = state.space(record.space);
  space.leaseStarts.delete(record.first);
  space.leaseByStart.delete(record.first);
  state.leases.delete(record.leaseId);
  state.unrouted.delete(lease);
  state.withdrawing.delete(lease);
  state.dirty.leases.delete(lease);
  state.dirty.removedLeases.push(record.leaseId);
  state.changed = true;
  const host = state.hosts.get(record.host);
  host?.leases.delete(lease);
  host?.unguarded.delete(lease);
  drop(state, host, `lease/${record.leaseId}`);
  endGuards(state, lease);
  if (holder === undefined) return;
  holder.leases.delete(lease);
  holder.ports -= sizeOf(lease);
  if (record.state === 'fencing') holder.fencing -= sizeOf(lease);
}

function makeLease(state: State, holder: Holder, ports: PortRange, as: { state: LeaseState; guards: string[] }): Lease {
  const { poolSpace } = holder;
  const template = { space: poolSpace.space.name, pool: poolSpace.pool.spec.pool, host: holder.host, protocol: poolSpace.pool.spec.protocol };
  const lease = register(state, recordOf(state, { ...template, ...as, expiredAtMs: 0 }, ports), holder);
  state.dirtyLease(lease);
  return lease;
}

/** Tells every host that is to guard the ports; the lease's own host reports when it does. */
function tellLease(state: State, lease: Lease): void {
  const host = state.hosts.get(lease.record.host);
  lease.hostRevision = state.sequence;
  if (!lease.record.guarded && lease.holder !== undefined) host?.unguarded.add(lease);
  if (lease.holder !== undefined) put(state, host, leaseObject(state, lease));
  for (const guard of lease.record.guards) put(state, state.hosts.get(guard), leaseObject(state, lease));
}

/** Nothing leads to the former hosts any more: their guard ends. */
function endGuards(state: State, lease: Lease): void {
  for (const name of lease.record.guards) {
    const host = state.hosts.get(name);
    host?.guarding.delete(lease);
    if (name !== lease.record.host || lease.holder === undefined) drop(state, host, `lease/${lease.record.leaseId}`);
  }
  lease.record.guards = [];
}

/** Hosts that the gateway may lead clients of this lease to. */
function routedTo({ record }: Lease): string[] {
  const own = record.guarded || record.state !== 'fencing' ? [record.host] : [];
  return [...new Set([...record.guards, ...own])];
}

function isUnused(state: State, { record }: Lease): boolean {
  return state.space(record.space).mapped.countIn(record.first, record.last) === 0;
}

type Template = Pick<LeaseRecord, 'space' | 'pool' | 'host' | 'protocol' | 'expiredAtMs' | 'state' | 'guards'>;

function recordOf(state: State, from: Template, ports: PortRange): LeaseRecord {
  return {
    leaseId: state.newId('l'), space: from.space, pool: from.pool, host: from.host, first: ports.first, last: ports.last,
    protocol: from.protocol, state: from.state, epoch: state.gateway.epoch, generation: state.sequence, grantedAtMs: state.nowMs,
    expiredAtMs: from.state === 'expired' ? from.expiredAtMs : 0, guarded: !state.shared, guards: [...from.guards],
  };
}

function hold(state: State, mapping: Mapping): void {
  const poolSpace = poolSpaceOf(state, mapping.record);
  const untilMs = state.nowMs + (poolSpace?.pool.spec.holdMs ?? 0);
  setStateUntil(state, mapping, { state: 'held', reason: 'HOST_LOST', untilMs });
  if (poolSpace !== undefined) holderOf(state, poolSpace, mapping.record.host).holds.push(untilMs, mapping);
  state.event('PortChanged', about(mapping));
}

export function sizeOf(lease: Lease): number {
  return lease.record.last - lease.record.first + 1;
}

function aboutLease(lease: Lease): { host: string; detail: string } {
  return { host: lease.record.host, detail: rangeDetail(lease.record, lease.record) };
}

function rangeDetail(record: LeaseRecord, ports: PortRange): string {
  const { leaseId, space, pool, generation } = record;
  return `{"lease":"${leaseId}","space":"${space}","pool":"${pool}","first":${ports.first},"last":${ports.last},"generation":${generation}}`;
}
