/** A book as the journal has it. Nothing is forgotten, nothing expires early: every quarantine starts again in full (S9, S12). */
import { rememberOwner } from './former.js';
import { makeHost } from './hosts.js';
import { addFree, holderOf, register, sizeOf } from './leases.js';
import { countLosses, goGradually } from './mass-loss.js';
import { index, startRest, unindexed } from './mappings.js';
import { isUsable, makePool, makePoolSpace } from './poolspace.js';
import { State, type Environment, type LeakPolicy, type Mapping } from './state.js';
import { restMs } from './restoring.js';
import { remember } from './tick.js';
import { makeWorkload } from './workloads.js';
import type { MappingRecord, TunnelRecord, WorkloadRecord, StoredGateway, Timing } from './types.js';

export type BookOptions = {
  timing: Timing;
  epoch: number;
  nowMs: number;
  random: () => number;
  /** Left out: report. */
  leakPolicy?: LeakPolicy;
};

export function restore(stored: StoredGateway, options: BookOptions): State {
  const { timing, epoch, nowMs, random, leakPolicy = 'report' } = options;
  const state = new State({ gateway: { ...stored.gateway, epoch }, epochs: stored.epochs, timing, nowMs, random, leakPolicy });
  for (const spec of stored.pools) state.pools.set(spec.pool, makePool({ ...spec }));
  for (const record of stored.hosts) state.hosts.set(record.host, makeHost({ ...record }, nowMs));
  for (const host of state.hosts.values()) if (state.shared && host.record.roles.includes('gateway')) state.gatewayAgent = host;
  for (const record of stored.environments) state.environments.set(record.environment, { record: { ...record }, mappings: [], isGone: false });
  for (const record of stored.workloads) restoreWorkload(state, record);
  restoreTunnels(state, stored.tunnels);
  const mappings = restoreMappings(state, stored.mappings);
  restoreLeases(state, stored);
  askAgain(state);
  for (const record of [...stored.requests].sort((a, b) => a.atMs - b.atMs)) {
    const named = record.mappingIds.map((id) => mappings.get(id)).filter((mapping) => mapping !== undefined);
    const request = { record: { ...record }, mappings: named };
    state.requests.set(record.requestId, request);
    for (const mapping of named) mapping.askedBy.push(request);
    remember(state, request);
  }
  for (const mapping of state.mappings.values()) restartTimers(state, mapping);
  for (const record of stored.forgotten) state.forgotten.set(record.host, { ...record });
  for (const record of stored.overrides) state.overrides.set(record.scope, { ...record });
  countLosses(state);
  if (stored.hosts.some(({ lostAtMs }) => lostAtMs > 0)) goGradually(state);
  state.restUntilMs = nowMs + restMs(state);
  state.takeDirty();
  state.changed = false;
  return state;
}

function restoreTunnels(state: State, records: readonly TunnelRecord[]): void {
  for (const record of records) state.hosts.get(record.host)?.tunnels.set(record.spec.tunnel, { ...record });
}

/** Its start has all of its time again. */
function restoreWorkload(state: State, record: WorkloadRecord): void {
  const { environment, tenant, host } = record;
  const known = state.environments.get(environment);
  if (known === undefined) state.environments.set(environment, { record: { environment, tenant, host, labels: {}, createdAtMs: state.nowMs, revision: 0 }, mappings: [], isGone: false });
  makeWorkload(state, { ...record });
}

/** What is on its way waits for an answer of each service, which its host is asked for again. */
function askAgain(state: State): void {
  for (const { record: { phase, environment } } of state.underWay) {
    if (phase !== 'creating') continue;
    for (const mapping of state.environments.get(environment)?.mappings ?? []) mapping.verify = true;
  }
}

function restoreMappings(state: State, records: readonly MappingRecord[]): Map<string, Mapping> {
  const all = new Map<string, Mapping>();
  for (const stored of [...records].sort((a, b) => (a.mappingId < b.mappingId ? -1 : 1))) {
    const record = { ...stored };
    const { lastUsed } = state.space(record.space);
    const isLastOwner = record.releasedSequence > (lastUsed.get(record.port) ?? 0);
    if (isLastOwner) lastUsed.set(record.port, record.releasedSequence);
    const known = state.environments.get(record.environment);
    const environment = known?.record.tenant === record.tenant ? known : departed(record);
    const owns = record.state !== 'released';
    const mapping = owns ? index(state, record, environment) : unindexed(record, environment);
    if (isLastOwner && !owns && state.space(record.space).mappingAt.get(record.port) === undefined) rememberOwner(state, record);
    if (record.state === 'quarantined') environment.mappings.splice(environment.mappings.indexOf(mapping), 1);
    all.set(record.mappingId, mapping);
  }
  return all;
}

/** The environment of a mapping whose environment is gone; another tenant may have its name by now. */
function departed(record: MappingRecord): Environment {
  const { environment, tenant, host, createdAtMs } = record;
  return { record: { environment, tenant, host, labels: {}, createdAtMs, revision: 0 }, mappings: [], isGone: true };
}

/** Leases first, so that the blocks of each pool are made of what is left; then the free ports of each holder. */
function restoreLeases(state: State, stored: StoredGateway): void {
  const leases = stored.leases.map((record) => register(state, { ...record }, undefined));
  for (const lease of leases) {
    const pool = state.pools.get(lease.record.pool);
    if (pool === undefined) continue;
    const space = state.space(lease.record.space);
    if (!pool.spaces.has(space.name)) pool.spaces.set(space.name, makePoolSpace(state, pool, space));
  }
  if (state.shared) {
    const space = state.space(state.gateway.gateway);
    for (const pool of state.pools.values()) if (!pool.spaces.has(space.name)) pool.spaces.set(space.name, makePoolSpace(state, pool, space));
  }
  for (const lease of leases) {
    const poolSpace = state.pools.get(lease.record.pool)?.spaces.get(lease.record.space);
    if (poolSpace === undefined) continue;
    poolSpace.pool.counts.leased += sizeOf(lease);
    if (lease.record.state === 'withdrawing') continue;
    const holder = holderOf(state, poolSpace, lease.record.host);
    lease.holder = holder;
    holder.leases.add(lease);
    holder.ports += sizeOf(lease);
    state.hosts.get(lease.record.host)?.leases.add(lease);
    if (lease.record.state === 'fencing') holder.fencing += sizeOf(lease);
    else addFree(state, lease);
    if (lease.record.guarded) state.unrouted.add(lease);
    else state.hosts.get(lease.record.host)?.unguarded.add(lease);
  }
}

function restartTimers(state: State, mapping: Mapping): void {
  const { record } = mapping;
  const pool = state.pools.get(record.pool);
  if (pool !== undefined && !isUsable(pool, record.port)) pool.leftover.add(mapping);
  if (record.state === 'quarantined') {
    record.untilMs = state.nowMs + (pool?.spec.quarantineMs ?? 60_000);
    startRest(state, mapping);
  } else if (record.state === 'held') {
    const poolSpace = pool?.spaces.get(record.space);
    if (poolSpace !== undefined) holderOf(state, poolSpace, record.host).holds.push(record.untilMs, mapping);
  }
}
