/** Pools: created, changed and removed while others serve. Overlaps and shrinks that hit live ports are refused with the ports. */
import { overlaps, rangeSize, rangeText, type PortRange } from '../../shared/ports.js';
import { FreePorts } from './freeports.js';
import { tellLimits } from './idle.js';
import { addFree, retellRoutes, withdraw } from './leases.js';
import { findLeftover, leftoverIn, runs, withdrawLeftover } from './leftover.js';
import { isUsable, makePool, makePoolSpace } from './poolspace.js';
import type { Mapping, Pool, State } from './state.js';
import { inRanges } from './state.js';
import type { Command, PoolSpec, Refusal, Reply } from './types.js';

type UpdateCommand = Extract<Command, { kind: 'updatePool' }>;

/** A seed is applied only when the pool is absent. */
export function createPool(state: State, spec: PoolSpec, seed: boolean): Reply {
  const known = state.pools.get(spec.pool);
  if (known !== undefined && seed) return { kind: 'pool', pool: { ...known.spec } };
  if (known !== undefined) return { kind: 'refused', reason: 'POOL_EXISTS', message: `gateway ${state.gateway.gateway} has a pool ${spec.pool}`, field: 'pool.pool', metadata: { pool: spec.pool } };
  const refusal = checkTls(state, spec) ?? checkRanges(state, spec);
  if (refusal !== undefined) return refusal;
  const pool = makePool(spec);
  countLeftover(state, pool);
  state.pools.set(spec.pool, pool);
  if (state.shared) {
    const space = state.space(state.gateway.gateway);
    pool.spaces.set(space.name, makePoolSpace(state, pool, space));
  }
  state.dirty.pools.add(pool);
  state.event('PoolCreated', { detail: `{"pool":"${spec.pool}"}` });
  return { kind: 'pool', pool: { ...spec } };
}

/** `drain`: ports that environments have may leave, or become reserved; they are served until they are released. */
export function updatePool(state: State, { pool: name, change, drain }: UpdateCommand): Reply {
  const pool = state.pools.get(name);
  if (pool === undefined) return unknownPool(state, name);
  const spec = { ...pool.spec, ...change };
  const refusal = checkTls(state, spec) ?? checkRanges(state, spec) ?? checkLive(state, pool, { spec, drain });
  if (refusal !== undefined) return refusal;
  const next = { ...makePool(spec), counts: pool.counts };
  const strategyChanged = spec.strategy !== pool.spec.strategy;
  const limitChanged = spec.idleLimitMs !== pool.spec.idleLimitMs;
  const connectionsChanged = spec.tls !== pool.spec.tls || spec.connectionTimeoutMs !== pool.spec.connectionTimeoutMs;
  const protocolChanged = spec.protocol !== pool.spec.protocol;
  Object.assign(pool, { spec: next.spec, reserved: next.reserved, reservedCount: next.reservedCount, total: next.total });
  findLeftover(state, pool);
  withdrawLeftover(state, pool, protocolChanged);
  rebuild(state, pool, strategyChanged);
  if (limitChanged) tellLimits(state, pool);
  if (connectionsChanged) retellRoutes(state, name);
  state.dirty.pools.add(pool);
  state.event('PoolUpdated', { detail: `{"pool":"${name}"}` });
  state.progress = true;
  return { kind: 'pool', pool: { ...spec } };
}

export function deletePool(state: State, name: string): Reply {
  const pool = state.pools.get(name);
  if (pool === undefined) return unknownPool(state, name);
  const inUse = owners(state, pool, () => true);
  if (inUse.length > 0) return refuseInUse(name, inUse);
  for (const poolSpace of pool.spaces.values()) {
    for (const holder of poolSpace.holders.values()) for (const lease of [...holder.leases]) withdraw(state, lease, lease.record);
  }
  state.pools.delete(name);
  state.dirty.pools.delete(pool);
  state.dirty.removedPools.push(name);
  state.event('PoolDeleted', { detail: `{"pool":"${name}"}` });
  return { kind: 'done' };
}

/** What an earlier pool of this name has left: ports that rest, ranges that are being withdrawn. */
function countLeftover(state: State, pool: Pool): void {
  const { spec, counts } = pool;
  findLeftover(state, pool);
  for (const { record } of state.mappings.values()) if (record.pool === spec.pool && record.state === 'quarantined') counts.quarantined += 1;
  for (const { record } of state.withdrawing) if (record.pool === spec.pool) counts.leased += rangeSize(record);
}

/** In scope host clients come to the hosts themselves. */
function checkTls(state: State, { tls }: PoolSpec): Refusal | undefined {
  if (tls !== 'terminate' || state.shared) return undefined;
  return { kind: 'refused', reason: 'INVALID_FIELD', message: `gateway ${state.gateway.gateway} has scope host: there is no gateway at which TLS could end`, field: 'pool.tls' };
}

function checkRanges(state: State, spec: PoolSpec): Refusal | undefined {
  for (const [position, range] of spec.ranges.entries()) {
    const refuse = (other: PortRange, whose: string, pool: string): Refusal => {
      const ports = rangeText({ first: Math.max(range.first, other.first), last: Math.min(range.last, other.last) });
      return { kind: 'refused', reason: 'POOL_OVERLAP', message: `ports ${ports} belong to ${whose}`, field: `pool.ranges[${position}]`, metadata: { pool, ports } };
    };
    const twin = spec.ranges.find((other, at) => at < position && overlaps(range, other));
    if (twin !== undefined) return refuse(twin, 'another range of the pool', spec.pool);
    for (const { spec: other } of state.pools.values()) {
      const hit = other.pool === spec.pool ? undefined : other.ranges.find((candidate) => overlaps(range, candidate));
      if (hit !== undefined) return refuse(hit, `pool ${other.pool}`, other.pool);
    }
    for (const other of state.pools.values()) {
      const port = other.spec.pool === spec.pool ? undefined : leftoverIn(other, range);
      if (port !== undefined) return refuse({ first: port, last: port }, `an environment that still has it of pool ${other.spec.pool}`, other.spec.pool);
    }
  }
  const stray = spec.reserved.findIndex((range) => runs(range, (port) => !inRanges(spec.ranges, port)).length > 0);
  if (stray < 0) return undefined;
  return { kind: 'refused', reason: 'INVALID_FIELD', message: `reserved ports ${rangeText(spec.reserved[stray] as PortRange)} are in no range of the pool`, field: `pool.reserved[${stray}]` };
}

/** Ports that an environment has fall out of the ranges, or become reserved, only by draining; a pool in use keeps its protocol. */
function checkLive(state: State, pool: Pool, { spec, drain }: { spec: PoolSpec; drain: boolean }): Refusal | undefined {
  const leaves = (port: number): boolean => isUsable(pool, port) && (!inRanges(spec.ranges, port) || inRanges(spec.reserved, port));
  const hit = owners(state, pool, ({ record }) => spec.protocol !== pool.spec.protocol || (!drain && leaves(record.port)));
  return hit.length === 0 ? undefined : refuseInUse(spec.pool, hit);
}

function owners(state: State, pool: Pool, matches: (mapping: Mapping) => boolean): Mapping[] {
  const found: Mapping[] = [];
  for (const mapping of state.mappings.values()) {
    if (mapping.record.pool === pool.spec.pool && mapping.record.state !== 'quarantined' && matches(mapping)) found.push(mapping);
  }
  return found.sort((a, b) => a.record.port - b.record.port);
}

function refuseInUse(pool: string, mappings: Mapping[]): Refusal {
  const ports = mappings.slice(0, 20).map(({ record }) => record.port).join(',');
  return { kind: 'refused', reason: 'POOL_IN_USE', message: `environments have ports ${ports}${mappings.length > 20 ? ',…' : ''} of pool ${pool}`, field: 'pool', metadata: { pool, ports } };
}

function unknownPool(state: State, name: string): Refusal {
  return { kind: 'refused', reason: 'POOL_UNKNOWN', message: `gateway ${state.gateway.gateway} has no pool ${name}`, field: 'pool', metadata: { pool: name, gateway: state.gateway.gateway } };
}

/** Blocks and free ports as the new ranges have them. */
function rebuild(state: State, pool: Pool, strategyChanged: boolean): void {
  for (const poolSpace of pool.spaces.values()) {
    poolSpace.blocks = makePoolSpace(state, pool, poolSpace.space).blocks;
    if (!strategyChanged) continue;
    for (const holder of poolSpace.holders.values()) {
      holder.free = new FreePorts(pool.spec.strategy, state.random);
      for (const lease of holder.leases) if (lease.record.state !== 'fencing') addFree(state, lease);
    }
  }
}
