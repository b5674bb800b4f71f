/** What a pool does when a host needs ports and none is unleased: calls idle ones back, reclaims what silent hosts do not use. */
import { MAX_PORT, rangeSize, type PortRange } from '../../shared/ports.js';
import { giveUp } from './mappings.js';
import { transfer, withdraw } from './leases.js';
import { PortSet } from './portset.js';
import { budgetIsSpent, lossOf, mayReclaim, refuseMassLoss, spend, withinBudget } from './mass-loss.js';
import type { Holder, Host, Lease, Mapping, PoolSpace, State } from './state.js';
import type { Refusal } from './types.js';

/** Ports are on their way: decide again when the book says progress. Nothing: none can be had this way. */
export type CallBack = 'underWay' | 'nothing';

/** Moves idle ports of other hosts to `needy`, behind the fence: those of silent hosts first. */
export function callBack(state: State, needy: Holder, size: number): CallBack {
  if (!state.shared) return 'nothing';
  if (needy.fencing > 0) return 'underWay';
  const donor = donorFor(state, needy);
  if (donor === undefined) return hasWithdrawing(state, needy.poolSpace) ? 'underWay' : 'nothing';
  if (!gatewayReady(state)) return 'underWay';
  const port = donor.free.any() as number;
  const lease = state.leaseAt(donor.poolSpace.space, port) as Lease;
  const lost = state.hosts.get(donor.host)?.state === 'lost';
  const limit = Math.max(1, lost ? withinBudget(state, Math.min(size, donor.free.size)) : Math.min(size, Math.ceil(donor.free.size / 2)));
  take(state, lease, clip(donor.free.runAround(port, limit), lease), needy);
  return 'underWay';
}

/** Takes one free port that another host has for `needy`. */
export function callBackPort(state: State, needy: Holder, lease: Lease, port: number): CallBack {
  const state_ = lease.record.state;
  if (state_ === 'fencing' || state_ === 'withdrawing') return 'underWay';
  if (!mayCallBack(state, needy, lease, port)) return 'nothing';
  if (gatewayReady(state)) take(state, lease, { first: port, last: port }, needy);
  return 'underWay';
}

/** Another host has the port free and can be asked for it. */
export function mayCallBack(state: State, needy: Holder, lease: Lease, port: number): boolean {
  return lease.holder !== needy && isDonor(state, lease.record.host) && lease.holder?.free.has(port) === true;
}

/** Takes what other hosts have free of the run for `needy`; without a run, only what is on its way may help. */
export function callBackRun(state: State, needy: Holder, first: number | undefined, length: number): CallBack {
  if (!state.shared) return 'nothing';
  if (needy.fencing > 0 || hasWithdrawing(state, needy.poolSpace)) return 'underWay';
  if (first === undefined) return 'nothing';
  if (!gatewayReady(state)) return 'underWay';
  const last = first + length - 1;
  for (let port = first; port <= last; port += 1) {
    const lease = state.leaseAt(needy.poolSpace.space, port);
    if (lease === undefined || !mayCallBack(state, needy, lease, port)) continue;
    let end = port;
    const lost = state.hosts.get(lease.record.host)?.state === 'lost';
    const limit = Math.min(last, lease.record.last, lost ? port + withinBudget(state, length) - 1 : last);
    while (end < limit && lease.holder?.free.has(end + 1) === true) end += 1;
    take(state, lease, { first: port, last: end }, needy);
    port = end;
  }
  return needy.fencing > 0 ? 'underWay' : 'nothing';
}

/** Own: what the host has free or could be leased. Else also what other hosts can be asked for, but for what is picked already;
 *  `andSpared`: and what they could be asked for if there were no mass loss. */
export type Reach = 'own' | { idleElsewhereBut: readonly { port: number }[]; andSpared?: true };

/** Lowest first port of a run. Costs O(ports of the pool): asked only when nothing cheaper helped. */
export function findRun(state: State, needy: Holder, length: number, reach: Reach): number | undefined {
  const { blocks, holders } = needy.poolSpace;
  const ports = new PortSet();
  for (const block of blocks.all()) ports.addRange(block.first, block.last);
  for (const port of state.hosts.get(needy.host)?.occupied ?? []) ports.delete(port);
  for (const holder of holders.values()) {
    const within = holder === needy || (reach !== 'own' && state.shared && (isDonor(state, holder.host) || (reach.andSpared === true && spared(state, holder.host) !== undefined)));
    if (within) for (const port of holder.free.within(1, MAX_PORT)) ports.add(port);
  }
  if (reach !== 'own') for (const { port } of reach.idleElsewhereBut) ports.delete(port);
  return ports.findRun(length);
}

/** The lease is served, or expired, and nobody owns a port of it. */
export function isIdle(state: State, lease: Lease): boolean {
  const { record } = lease;
  return (record.state === 'active' || record.state === 'expired') && state.space(record.space).mapped.countIn(record.first, record.last) === 0;
}

/**
 * Starts to take a held number from a silent host: holds that are over first, then the oldest. The port rests before anybody gets it,
 * so as many are taken as are wanted and not already on their way. Returns whether something was started.
 */
export function reclaimHeld(state: State, poolSpace: PoolSpace, wanted: number, onlyOver: boolean): boolean {
  if (!gatewayReady(state)) return false;
  const { counts } = poolSpace.pool;
  let missing = withinBudget(state, wanted - counts.quarantined - counts.releasing);
  let started = false;
  while (missing > 0) {
    const oldest = oldestHold(state, poolSpace);
    if (oldest === undefined || (onlyOver && oldest.record.untilMs > state.nowMs)) break;
    reclaim(state, oldest);
    spend(state, 1);
    started = true;
    missing -= 1;
  }
  return started;
}

/** Gives up a mapping of a silent host behind the fence: its port is split off and withdrawn at the gateway. */
export function reclaim(state: State, mapping: Mapping): void {
  if (mapping.record.state !== 'releasing') giveUp(state, mapping);
  const lease = state.leaseAt(state.space(mapping.record.space), mapping.record.port);
  if (!state.shared || lease === undefined || lease.record.state === 'withdrawing') return;
  withdraw(state, lease, { first: mapping.record.port, last: mapping.record.port });
}

/** Keeps a reserve of free ports: below the low-water mark, unused ranges of silent hosts and holds that are over are taken. */
export function keepReserve(state: State, poolSpace: PoolSpace): void {
  if (!state.shared || !gatewayReady(state)) return;
  const lowWater = Math.ceil((poolSpace.pool.total - poolSpace.pool.reservedCount) * 0.05);
  if (poolSpace.blocks.size >= lowWater) return;
  let left = 64;
  for (const holder of poolSpace.holders.values()) {
    if (!isReclaimable(state, holder.host)) continue;
    while (left > 0 && holder.free.size > 0 && !budgetIsSpent(state)) {
      const port = holder.free.any() as number;
      const lease = state.leaseAt(poolSpace.space, port) as Lease;
      const run = clip(holder.free.runAround(port, withinBudget(state, holder.free.size)), lease);
      spend(state, rangeSize(run));
      withdraw(state, lease, run);
      left -= 1;
    }
  }
  reclaimHeld(state, poolSpace, lowWater - poolSpace.blocks.size, true);
}

/** The refusal of a pool that has no port now: its figures, when one may be free, whether another host would help. */
export function exhausted(state: State, needy: Holder, wanted: number, field: string): Refusal {
  const { poolSpace } = needy;
  const { pool } = poolSpace;
  if (wanted > 0) reclaimHeld(state, poolSpace, wanted, false);
  const { counts, total, reservedCount } = pool;
  const free = total - reservedCount - counts.allocated - counts.held - counts.quarantined + pool.leftover.size;
  const metadata = {
    pool: pool.spec.pool, host: needy.host, total: `${total}`, reserved: `${reservedCount}`, leased: `${counts.leased}`,
    allocated: `${counts.allocated}`, held: `${counts.held}`, quarantined: `${counts.quarantined}`, free: `${free}`,
    other_host_helps: `${!state.shared && free > 0}`,
  };
  const spared = sparedByMassLoss(state, poolSpace);
  if (spared !== undefined) return refuseMassLoss(state, spared, { metadata, field });
  const retryAfterMs = budgetIsSpent(state) ? 1_000 : nextFreeMs(state, poolSpace);
  return {
    kind: 'refused', reason: 'POOL_EXHAUSTED', field, message: `pool ${pool.spec.pool} has no free port for host ${needy.host}`, metadata,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}

/** A lost host that has ports of the pool which would be taken if most hosts were not lost with it. */
function sparedByMassLoss(state: State, { holders }: PoolSpace): Host | undefined {
  if (!state.shared || state.losses.size === 0) return undefined;
  for (const holder of holders.values()) {
    const host = spared(state, holder.host);
    if (host !== undefined && (holder.free.size > 0 || firstHold(holder) !== undefined)) return host;
  }
  return undefined;
}

/** The host, if it is lost and nothing is taken from it because most are. */
function spared(state: State, name: string): Host | undefined {
  const host = state.hosts.get(name);
  const isSpared = host?.state === 'lost' && host.record.keptUntilMs <= state.nowMs && lossOf(state, host) !== undefined;
  return isSpared ? host : undefined;
}

/** The refusal of an exact port that another host has idle and would have to give. */
export function refuseSpared(state: State, lease: Lease, { port, metadata, field }: { port: number; metadata: Record<string, string>; field: string }): Refusal | undefined {
  const host = lease.holder?.free.has(port) === true ? spared(state, lease.record.host) : undefined;
  return host === undefined ? undefined : refuseMassLoss(state, host, { metadata, field });
}

/** The refusal of a run that there would be. */
export function refuseSparedRun(state: State, needy: Holder, { length, metadata, field }: { length: number; metadata: Record<string, string>; field: string }): Refusal | undefined {
  const host = sparedByMassLoss(state, needy.poolSpace);
  if (host === undefined || findRun(state, needy, length, { idleElsewhereBut: [], andSpared: true }) === undefined) return undefined;
  return refuseMassLoss(state, host, { metadata, field });
}

/** For a dry run: a free port of another host that would be called back, other than those picked already. */
export function idleElsewhere(state: State, needy: Holder, picked: readonly { port: number }[]): number | undefined {
  if (!state.shared) return undefined;
  for (const holder of needy.poolSpace.holders.values()) {
    if (holder === needy || !isDonor(state, holder.host)) continue;
    for (const port of holder.free.within(1, MAX_PORT)) if (!picked.some((pick) => pick.port === port)) return port;
  }
  return undefined;
}

function nextFreeMs(state: State, poolSpace: PoolSpace): number | undefined {
  for (let top = poolSpace.resting.peek(); top !== undefined; top = poolSpace.resting.peek()) {
    if (top.value.record.state === 'quarantined') return Math.max(1, top.key - state.nowMs);
    poolSpace.resting.pop();
  }
  return poolSpace.pool.counts.releasing > 0 ? poolSpace.pool.spec.quarantineMs : undefined;
}

function donorFor(state: State, needy: Holder): Holder | undefined {
  let best: Holder | undefined;
  for (const holder of needy.poolSpace.holders.values()) {
    if (holder === needy || holder.free.size === 0 || !isDonor(state, holder.host)) continue;
    if (state.hosts.get(holder.host)?.state === 'lost') return holder;
    if (best === undefined || holder.free.size > best.free.size) best = holder;
  }
  return best;
}

/** A suspect or unknown host keeps what it has until its lease expires. */
function isDonor(state: State, host: string): boolean {
  return state.hosts.get(host)?.state === 'alive' || isReclaimable(state, host);
}

/** What a silent host has may be taken for others. */
function isReclaimable(state: State, name: string): boolean {
  const host = state.hosts.get(name);
  return host?.state === 'lost' && mayReclaim(state, host) && !budgetIsSpent(state);
}

/** Moves ports to `needy`; those of lost hosts are counted. */
function take(state: State, lease: Lease, ports: PortRange, needy: Holder): void {
  if (state.hosts.get(lease.record.host)?.state === 'lost') spend(state, rangeSize(ports));
  transfer(state, lease, ports, needy);
}

/** Nothing that needs a fence is started before the gateway's hello. */
export function gatewayReady(state: State): boolean {
  return state.gatewayAgent?.desired !== undefined;
}

/** Ports of the pool are on their way back from a host. */
function hasWithdrawing(state: State, { pool, space }: PoolSpace): boolean {
  for (const { record } of state.withdrawing) {
    if (record.space !== space.name) continue;
    for (const range of pool.spec.ranges) {
      const first = Math.max(range.first, record.first);
      const last = Math.min(range.last, record.last);
      if (first <= last && space.mapped.countIn(first, last) < last - first + 1) return true;
    }
  }
  return false;
}

function oldestHold(state: State, poolSpace: PoolSpace): Mapping | undefined {
  let oldest: Mapping | undefined;
  for (const holder of poolSpace.holders.values()) {
    if (holder.holds.peek() === undefined || !isReclaimable(state, holder.host)) continue;
    const first = firstHold(holder);
    if (first !== undefined && (oldest === undefined || first.record.untilMs < oldest.record.untilMs)) oldest = first;
  }
  return oldest;
}

function firstHold({ host, holds }: Holder): Mapping | undefined {
  for (let top = holds.peek(); top !== undefined; top = holds.peek()) {
    const { record } = top.value;
    if (record.state === 'held' && record.untilMs === top.key && record.host === host) return top.value;
    holds.pop();
  }
  return undefined;
}

function clip(run: PortRange, lease: Lease): PortRange {
  return { first: Math.max(run.first, lease.record.first), last: Math.min(run.last, lease.record.last) };
}

