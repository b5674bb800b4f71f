/** How records become rows, as arrays of values in the order of `columns`, and back. */
import { NO_LIMITS, type AuditRecord, type ClientLimits, type EnvironmentRecord, type EventRecord, type ForgottenRecord, type GatewayRecord, type HostRecord,
  type LeaseRecord, type MappingRecord, type OverrideRecord, type PoolSpec, type PortRange, type RequestRecord, type Role, type TunnelRecord, type TunnelTold, type WorkloadRecord } from '../../book/types.js';
import { storedTarget, targetDetail } from '../../../shared/target.js';

/** A row as JSON carries it. Booleans are 0 and 1, lists and maps are JSON text. */
export type Row = (string | number)[];

export type Table<Record> = {
  name: string;
  columns: readonly string[];
  encode(gateway: string, record: Record): Row;
};

/** A table that a book is loaded from. */
export type LoadedTable<Record> = Table<Record> & { key: string; decode(row: Row): Record };

export const GATEWAY: LoadedTable<GatewayRecord> = {
  name: 'gateway',
  key: 'gateway',
  columns: ['gateway', 'ordinal', 'scope', 'public_host', 'epoch', 'sequence', 'restoring'],
  encode: (_, r) => [r.gateway, r.ordinal, r.scope, r.publicHost, r.epoch, r.sequence, r.restoring],
  decode: (row) => {
    const [gateway, ordinal, scope, publicHost, epoch, sequence, restoring] = row as [string, number, GatewayRecord['scope'], string, number, number, GatewayRecord['restoring']];
    return { gateway, ordinal, scope, publicHost, epoch, sequence, restoring };
  },
};

export const POOL: LoadedTable<PoolSpec> = {
  name: 'pool',
  key: 'pool',
  columns: ['gateway', 'pool', 'description', 'service_type', 'aliases', 'ranges', 'protocol', 'default_internal_port', 'strategy', 'reserved',
    'quarantine_ms', 'hold_ms', 'idle_limit_ms', 'idle_action', 'connection_timeout_ms', 'domain_template', 'on_conflict', 'idle_warning_ms', 'tls'],
  encode: (gateway, r) => [gateway, r.pool, r.description, r.serviceType, json(r.aliases), json(r.ranges), r.protocol, r.defaultInternalPort,
    r.strategy, json(r.reserved), r.quarantineMs, r.holdMs, r.idleLimitMs, r.idleAction, r.connectionTimeoutMs, r.domainTemplate, r.onConflict, r.idleWarningMs, r.tls],
  decode: (row) => {
    const [, pool, description, serviceType, aliases, ranges, protocol, defaultInternalPort, strategy, reserved, quarantineMs, holdMs,
      idleLimitMs, idleAction, connectionTimeoutMs, domainTemplate, onConflict, idleWarningMs, tls] = row as [string, string, string, string, string, string,
      PoolSpec['protocol'], number, PoolSpec['strategy'], string, number, number, number, PoolSpec['idleAction'], number, string, PoolSpec['onConflict'], number, PoolSpec['tls']];
    return { pool, description, serviceType, aliases: JSON.parse(aliases) as string[], ranges: JSON.parse(ranges) as PortRange[], protocol, defaultInternalPort, strategy,
      reserved: JSON.parse(reserved) as PortRange[], quarantineMs, holdMs, idleLimitMs, idleAction, connectionTimeoutMs, domainTemplate, onConflict, idleWarningMs, tls };
  },
};

export const HOST: LoadedTable<HostRecord> = {
  name: 'host',
  key: 'host',
  columns: ['gateway', 'host', 'roles', 'failure_domain', 'public_host', 'addresses', 'session', 'confirmed_session', 'boot_id', 'agent_version', 'replaceable',
    'lost_at_ms', 'duty', 'kept_until_ms', 'waived', 'hides_clients', 'tunnel_key'],
  encode: (gateway, r) => [gateway, r.host, json(r.roles), r.failureDomain, r.publicHost, json(r.addresses), r.session, r.confirmedSession,
    r.bootId, r.agentVersion, r.replaceable ? 1 : 0, r.lostAtMs, r.duty, r.keptUntilMs, r.waived ? 1 : 0, r.hidesClients ? 1 : 0, r.tunnelKey],
  decode: (row) => {
    const [, host, roles, failureDomain, publicHost, addresses, session, confirmedSession, bootId, agentVersion, replaceable, lostAtMs, duty, keptUntilMs, waived, hidesClients, tunnelKey] = row as
      [string, string, string, string, string, string, number, number, string, string, number, number, HostRecord['duty'], number, number, number, string];
    return { host, roles: JSON.parse(roles) as Role[], failureDomain, publicHost, addresses: JSON.parse(addresses) as string[], session, confirmedSession, bootId, agentVersion,
      replaceable: replaceable === 1, lostAtMs, duty, keptUntilMs, waived: waived === 1, hidesClients: hidesClients === 1, tunnelKey };
  },
};

export const LEASE: LoadedTable<LeaseRecord> = {
  name: 'lease',
  key: 'lease_id',
  columns: ['lease_id', 'gateway', 'space', 'pool', 'host', 'first', 'last', 'protocol', 'state', 'epoch', 'generation', 'granted_at_ms',
    'expired_at_ms', 'guarded', 'guards'],
  encode: (gateway, r) => [r.leaseId, gateway, r.space, r.pool, r.host, r.first, r.last, r.protocol, r.state, r.epoch, r.generation,
    r.grantedAtMs, r.expiredAtMs, r.guarded ? 1 : 0, json(r.guards)],
  decode: (row) => {
    const [leaseId, , space, pool, host, first, last, protocol, state, epoch, generation, grantedAtMs, expiredAtMs, guarded, guards] = row as [string,
      string, string, string, string, number, number, LeaseRecord['protocol'], LeaseRecord['state'], number, number, number, number, number, string];
    return { leaseId, space, pool, host, first, last, protocol, state, epoch, generation, grantedAtMs, expiredAtMs, guarded: guarded === 1, guards: JSON.parse(guards) as string[] };
  },
};

export const ENVIRONMENT: LoadedTable<EnvironmentRecord> = {
  name: 'environment',
  key: 'environment',
  columns: ['environment', 'gateway', 'tenant', 'host', 'labels', 'created_at_ms', 'revision'],
  encode: (gateway, r) => [r.environment, gateway, r.tenant, r.host, json(r.labels), r.createdAtMs, r.revision],
  decode: (row) => {
    const [environment, , tenant, host, labels, createdAtMs, revision] = row as [string, string, string, string, string, number, number];
    return { environment, tenant, host, labels: JSON.parse(labels) as EnvironmentRecord['labels'], createdAtMs, revision };
  },
};

export const MAPPING: LoadedTable<MappingRecord> = {
  name: 'mapping',
  key: 'mapping_id',
  columns: ['mapping_id', 'gateway', 'environment', 'tenant', 'name', 'idx', 'space', 'pool', 'host', 'port', 'protocol', 'target_kind',
    'target', 'internal_port', 'state', 'reason', 'epoch', 'generation', 'created_at_ms', 'until_ms', 'released_sequence',
    'client_networks', 'max_connections', 'on_conflict'],
  encode: (gateway, r) => [r.mappingId, gateway, r.environment, r.tenant, r.name, r.index, r.space, r.pool, r.host, r.port, r.protocol,
    r.target.kind, targetDetail(r.target), r.internalPort, r.state, r.reason, r.epoch, r.generation, r.createdAtMs, r.untilMs, r.releasedSequence,
    networksText(r.limits), r.limits.maxConnections, r.onConflict],
  decode: (row) => {
    const [mappingId, , environment, tenant, name, index, space, pool, host, port, protocol, kind, detail, internalPort, state, reason,
      epoch, generation, createdAtMs, untilMs, releasedSequence, networks, maxConnections, onConflict] = row as [string, string, string, string, string, number, string, string,
      string, number, MappingRecord['protocol'], MappingRecord['target']['kind'], string, number, MappingRecord['state'], string, number,
      number, number, number, number, string, number, MappingRecord['onConflict']];
    return { mappingId, environment, tenant, name, index, space, pool, host, port, protocol, target: storedTarget(kind, detail), internalPort, limits: limitsOf(networks, maxConnections), state,
      reason, epoch, generation, createdAtMs, untilMs, releasedSequence, onConflict };
  },
};

export const REQUEST: LoadedTable<RequestRecord> = {
  name: 'request',
  key: 'request_id',
  columns: ['gateway', 'request_id', 'body_hash', 'environment', 'mapping_ids', 'at_ms'],
  encode: (gateway, r) => [gateway, r.requestId, r.bodyHash, r.environment, json(r.mappingIds), r.atMs],
  decode: (row) => {
    const [, requestId, bodyHash, environment, mappingIds, atMs] = row as [string, string, string, string, string, number];
    return { requestId, bodyHash, environment, mappingIds: JSON.parse(mappingIds) as string[], atMs };
  },
};

export const FORGOTTEN: LoadedTable<ForgottenRecord> = {
  name: 'forgotten_host',
  key: 'host',
  columns: ['gateway', 'host', 'session', 'at_ms'],
  encode: (gateway, r) => [gateway, r.host, r.session, r.atMs],
  decode: (row) => {
    const [, host, session, atMs] = row as [string, string, number, number];
    return { host, session, atMs };
  },
};

export const OVERRIDE: LoadedTable<OverrideRecord> = {
  name: 'mass_loss_override',
  key: 'scope',
  columns: ['gateway', 'scope', 'until_ms'],
  encode: (gateway, r) => [gateway, r.scope, r.untilMs],
  decode: (row) => {
    const [, scope, untilMs] = row as [string, string, number];
    return { scope, untilMs };
  },
};

export const WORKLOAD: LoadedTable<WorkloadRecord> = {
  name: 'workload',
  key: 'environment',
  columns: ['environment', 'gateway', 'tenant', 'host', 'container', 'credentials', 'body_hash', 'phase', 'generation', 'rotation', 'credentials_returned',
    'start_timeout_ms', 'removes_volumes', 'failure', 'container_id'],
  encode: (gateway, r) => [r.environment, gateway, r.tenant, r.host, json(r.container), json(r.credentials), r.bodyHash, r.phase, r.generation, r.rotation,
    r.credentialsReturned ? 1 : 0, r.startTimeoutMs, r.removesVolumes ? 1 : 0, r.failure === undefined ? '' : json(r.failure), r.containerId],
  decode: (row) => {
    const [environment, , tenant, host, container, credentials, bodyHash, phase, generation, rotation, credentialsReturned, startTimeoutMs, removesVolumes, failure, containerId] =
      row as [string, string, string, string, string, string, string, WorkloadRecord['phase'], number, number, number, number, number, string, string];
    return { environment, tenant, host, container: JSON.parse(container) as WorkloadRecord['container'], credentials: JSON.parse(credentials) as WorkloadRecord['credentials'], bodyHash, phase, generation, rotation,
      credentialsReturned: credentialsReturned === 1, startTimeoutMs, removesVolumes: removesVolumes === 1,
      failure: failure === '' ? undefined : JSON.parse(failure) as WorkloadRecord['failure'], containerId };
  },
};

export const TUNNEL: LoadedTable<TunnelRecord> = {
  name: 'tunnel',
  key: 'tunnel',
  columns: ['tunnel', 'gateway', 'host', 'spec', 'restart', 'is_stopped', 'is_of_config', 'created_at_ms', 'revision', 'told', 'told_flapping'],
  encode: (gateway, r) => [`${r.host}/${r.spec.tunnel}`, gateway, r.host, json({ ...r.spec, engine: r.spec.engine ?? null, probe: r.spec.probe ?? null }), r.restart, r.isStopped ? 1 : 0,
    r.isOfConfig ? 1 : 0, r.createdAtMs, r.revision, r.told, r.toldFlapping ? 1 : 0],
  decode: (row) => {
    const [, , host, spec, restart, isStopped, isOfConfig, createdAtMs, revision, told, toldFlapping] = row as [string, string, string, string, number, number, number, number, number, TunnelTold, number];
    const { engine, probe, ...same } = JSON.parse(spec) as Omit<TunnelRecord['spec'], 'engine' | 'probe'> & { engine: TunnelRecord['spec']['engine'] | null; probe: TunnelRecord['spec']['probe'] | null };
    return { host, spec: { ...same, engine: engine ?? undefined, probe: probe ?? undefined }, restart, isStopped: isStopped === 1, isOfConfig: isOfConfig === 1, createdAtMs, revision, told, toldFlapping: toldFlapping === 1 };
  },
};

export const EVENT: Table<EventRecord> = {
  name: 'event',
  columns: ['gateway', 'sequence', 'at_ms', 'kind', 'host', 'environment', 'mapping_id', 'detail'],
  encode: (gateway, r) => [gateway, r.sequence, r.atMs, r.kind, r.host, r.environment, r.mappingId, r.detail],
};

export const AUDIT: Table<AuditRecord> = {
  name: 'audit',
  columns: ['gateway', 'sequence', 'at_ms', 'actor', 'action', 'outcome', 'environment', 'request_id', 'detail'],
  encode: (gateway, r) => [gateway, r.sequence, r.atMs, r.actor, r.action, r.outcome, r.environment, r.requestId, r.detail],
};

/** Nearly all mappings are for everybody. */
const EVERYBODY = '[]';

function networksText({ networks }: ClientLimits): string {
  return networks.length === 0 ? EVERYBODY : json(networks);
}

function limitsOf(networks: string, maxConnections: number): ClientLimits {
  return networks === EVERYBODY && maxConnections === 0 ? NO_LIMITS : { networks: JSON.parse(networks) as string[], maxConnections };
}

function json(value: unknown): string {
  return JSON.stringify(value);
}
