/** How records become objects of desired state. */
import type { RouteConnections } from '../../shared/desired.js';
import { ipFamily } from '../../shared/names.js';
import { hidesClients } from './hidden.js';
import type { Lease, Mapping, State, Workload } from './state.js';
import type { DesiredObject, TunnelRecord } from './types.js';

const portsOf = (lease: Lease) => ({ first: lease.record.first, last: lease.record.last });

export function leaseObject(state: State, lease: Lease): DesiredObject {
  const { leaseId, protocol, generation } = lease.record;
  const host = lease.record.state === 'withdrawing' ? '' : lease.record.host;
  const object = { kind: 'lease' as const, key: `lease/${leaseId}`, version: state.sequence, leaseId, ports: portsOf(lease), protocol, generation, host };
  return lease.record.state === 'fencing' ? { ...object, guardOccupied: true } : object;
}

export function mappingObject(state: State, mapping: Mapping): DesiredObject {
  const { mappingId, environment, tenant, name, index, protocol, port, target, internalPort, generation, limits } = mapping.record;
  const object = {
    kind: 'mapping' as const, key: `mapping/${mappingId}`, version: state.sequence, mappingId, environment, tenant, name, index, protocol, port, target,
    internalPort, generation, verify: mapping.verify, idleLimitMs: idleLimitMs(state, mapping.record.pool),
  };
  if (limits.networks.length === 0 && limits.maxConnections === 0) return object;
  return hidesClients(state) ? { ...object, limits, clientsHidden: true } : { ...object, limits };
}

export function releaseObject(state: State, mapping: Mapping): DesiredObject {
  const { mappingId, environment, tenant, name, index, protocol, port, target, internalPort, generation } = mapping.record;
  return {
    kind: 'release', key: `release/${mappingId}`, version: state.sequence, mappingId, environment, tenant, name, index, protocol, port, target, internalPort,
    generation, cutMs: cutMs(state, mapping.record.pool),
  };
}

/** The route of a lease that is fencing, active or expired. */
export function routeObject(state: State, lease: Lease): DesiredObject {
  const { leaseId, protocol, generation, host } = lease.record;
  const { addresses = [], tunnelKey = '' } = state.hosts.get(host)?.record ?? {};
  return {
    kind: 'route', key: `route/${leaseId}`, version: state.sequence, leaseId, ports: portsOf(lease), protocol, generation, host,
    addresses: [firstOf(addresses, 4), firstOf(addresses, 6)].filter((address) => address !== undefined),
    fence: lease.record.state === 'fencing', cutMs: cutMs(state, lease.record.pool), ...connectionsOf(state, lease.record.pool), ...(tunnelKey === '' ? {} : { tunnelKey }),
  };
}

/** Nothing where the pool says nothing. */
function connectionsOf(state: State, pool: string): { connections?: RouteConnections } {
  const { tls = 'none', connectionTimeoutMs: timeoutMs = 0 } = state.pools.get(pool)?.spec ?? {};
  return tls === 'none' && timeoutMs === 0 ? {} : { connections: { pool, tls, timeoutMs } };
}

export function withdrawalObject(state: State, lease: Lease): DesiredObject {
  const { leaseId, protocol, generation } = lease.record;
  return {
    kind: 'withdrawal', key: `withdrawal/${leaseId}`, version: state.sequence, leaseId, ports: portsOf(lease), protocol, generation,
    cutMs: cutMs(state, lease.record.pool),
  };
}

/** A limit of 0 is none. */
function idleLimitMs(state: State, pool: string): number | undefined {
  return state.pools.get(pool)?.spec.idleLimitMs || undefined;
}

/** What its host is to bring about: the container, or its removal. */
export function workloadObject(state: State, { record }: Workload): DesiredObject {
  const { environment, tenant, generation, container, credentials, phase, credentialsReturned, rotation } = record;
  const version = state.sequence;
  if (phase === 'undoing' || phase === 'deleting') {
    return { kind: 'removal', key: `removal/${environment}`, version, environment, tenant, generation, volumes: record.removesVolumes };
  }
  return {
    kind: 'environment', key: `environment/${environment}`, version, environment, tenant, generation, container, credentials,
    labels: state.environments.get(environment)?.record.labels ?? {}, isReady: phase === 'ready', tellCredentials: !credentialsReturned, rotation,
  };
}

export function tunnelObject(state: State, { spec, restart, isStopped, isOfConfig }: TunnelRecord): DesiredObject {
  return { kind: 'tunnel', key: `tunnel/${spec.tunnel}`, version: state.sequence, spec, restart, isStopped, ...(isOfConfig ? { isOfConfig: true } : {}) };
}

function cutMs(state: State, pool: string): number {
  return Math.max(state.pools.get(pool)?.spec.quarantineMs ?? 0, 60_000);
}

function firstOf(addresses: readonly string[], family: 4 | 6): string | undefined {
  return addresses.find((address) => ipFamily(address) === family);
}
