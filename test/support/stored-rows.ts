/** The rows of one gateway as a journal keeps them, in memory. */
import type { Changes, StoredGateway } from '../../coordinator/book/types.js';

type Rows<Name extends keyof Omit<StoredGateway, 'gateway' | 'epochs'>> = Map<string, StoredGateway[Name][number]>;
export type StoredRows = { [Name in keyof Omit<StoredGateway, 'gateway' | 'epochs'>]: Rows<Name> };

export function noRows(): StoredRows {
  return {
    pools: new Map(), hosts: new Map(), leases: new Map(), environments: new Map(), mappings: new Map(), requests: new Map(), forgotten: new Map(),
    overrides: new Map(), workloads: new Map(), tunnels: new Map(),
  };
}

/** Removals first, as in every journal. */
export function applyRows(rows: StoredRows, changes: Changes): void {
  removeAll(rows.pools, changes.removedPools);
  removeAll(rows.hosts, changes.removedHosts);
  removeAll(rows.leases, changes.removedLeases);
  removeAll(rows.environments, changes.removedEnvironments);
  removeAll(rows.requests, changes.removedRequests);
  removeAll(rows.forgotten, changes.removedForgotten);
  removeAll(rows.overrides, changes.removedOverrides);
  removeAll(rows.workloads, changes.removedWorkloads);
  removeAll(rows.tunnels, changes.removedTunnels);
  putAll(rows.pools, changes.pools, ({ pool }) => pool);
  putAll(rows.hosts, changes.hosts, ({ host }) => host);
  putAll(rows.leases, changes.leases, ({ leaseId }) => leaseId);
  putAll(rows.environments, changes.environments, ({ environment }) => environment);
  putAll(rows.mappings, changes.mappings, ({ mappingId }) => mappingId);
  putAll(rows.requests, changes.requests, ({ requestId }) => requestId);
  putAll(rows.forgotten, changes.forgotten, ({ host }) => host);
  putAll(rows.overrides, changes.overrides, ({ scope }) => scope);
  putAll(rows.workloads, changes.workloads, ({ environment }) => environment);
  putAll(rows.tunnels, changes.tunnels, ({ host, spec }) => `${host}/${spec.tunnel}`);
}

export function listRows(rows: StoredRows): Omit<StoredGateway, 'gateway' | 'epochs'> {
  return Object.fromEntries(Object.entries(rows).map(([name, map]) => [name, [...(map as Map<string, unknown>).values()]])) as unknown as Omit<StoredGateway, 'gateway' | 'epochs'>;
}

function removeAll(map: Map<string, unknown>, keys: readonly string[]): void {
  for (const key of keys) map.delete(key);
}

function putAll<Row>(map: Map<string, Row>, rows: readonly Row[], keyOf: (row: Row) => string): void {
  for (const row of rows) map.set(keyOf(row), row);
}
