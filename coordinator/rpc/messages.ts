/** Records of the book as messages of the contract. */
import { routeFiguresToWire, tlsModeToWire } from '../../shared/wire/connections.js';
import { accessOf, type AccessPool } from '../../shared/access.js';
import { HostDuty as WireHostDuty, HostState as WireHostState, GatewayScope, IdleAction, LeaseState as WireLeaseState, Strategy, type Gateway, type Host, type HostLeak, type Latency, type Lease, type MassLoss, type Pool, type PortConflict, type PoolRates as WireRates, type Restore } from '../../shared/gen/portlease/v1/operations.js';
import { MappingState as WireState, OnConflict } from '../../shared/gen/portlease/v1/common.js';
import { Role as WireRole } from '../../shared/gen/portlease/v1/agents.js';
import { EnvironmentStatus, type Environment, type Mapping } from '../../shared/gen/portlease/v1/ports.js';
import { conflictToWire, leakToWire, limitsToWire, msToDuration, msToTimestamp, protocolToWire, rangeToWire, targetToWire } from '../../shared/wire.js';
import type { Histogram } from '../../shared/histogram.js';
import type { Book, ConflictView, LeakView } from '../book/book.js';
import type {
  EnvironmentView, GatewayRecord, HostDuty, HostLiveness, HostRecord, HostView, IdleView, LeaseState, LeaseView, LossView, MappingRecord, MappingState, PoolFigures, PoolSpec, RestoreView, WorkloadPhase, WorkloadView,
} from '../book/types.js';
import type { PoolRates, Rates } from '../keeper/meter.js';

const STATES: Record<MappingState, WireState> = {
  pending: WireState.MAPPING_STATE_PENDING,
  live: WireState.MAPPING_STATE_LIVE,
  blocked: WireState.MAPPING_STATE_BLOCKED,
  held: WireState.MAPPING_STATE_HELD,
  releasing: WireState.MAPPING_STATE_RELEASING,
  quarantined: WireState.MAPPING_STATE_RELEASED,
  released: WireState.MAPPING_STATE_RELEASED,
};

export function mappingStateToWire(state: MappingState): WireState {
  return STATES[state];
}

/** What messages take from the book besides the records themselves. */
export type Naming = { gateway: GatewayRecord; publicHostOf: (host: string) => string; poolOf: (pool: string) => AccessPool | undefined; idleOf: (mapping: MappingRecord) => IdleView | undefined };

/** Read at the moment of the answer: names of gateway and hosts do not change under a mapping. */
export function namingOf(book: Book): Naming {
  const { gateway } = book;
  const poolOf = (pool: string): AccessPool | undefined => book.poolSpec(pool);
  const idleOf = (mapping: MappingRecord): IdleView | undefined => book.idle(mapping);
  if (gateway.scope === 'shared') return { gateway, publicHostOf: () => gateway.publicHost, poolOf, idleOf };
  return { gateway, publicHostOf: (host) => publicHostOf(book.host(host)?.record), poolOf, idleOf };
}

function publicHostOf(host: HostRecord | undefined): string {
  return host === undefined ? '' : host.publicHost || (host.addresses[0] ?? '');
}

export function mappingToWire(mapping: MappingRecord, { gateway, publicHostOf: nameOf, poolOf, idleOf }: Naming): Mapping {
  const publicHost = nameOf(mapping.host);
  const idle = idleOf(mapping);
  return {
    mappingId: mapping.mappingId,
    environment: mapping.environment,
    tenant: mapping.tenant,
    name: mapping.name,
    index: mapping.index,
    gateway: gateway.gateway,
    space: mapping.space,
    pool: mapping.pool,
    protocol: protocolToWire(mapping.protocol),
    publicHost,
    publicPort: mapping.port,
    host: mapping.host,
    target: targetToWire(mapping.target),
    internalPort: mapping.internalPort,
    state: STATES[mapping.state],
    reason: mapping.reason,
    generation: mapping.generation,
    createdAt: msToTimestamp(mapping.createdAtMs),
    heldUntil: mapping.state === 'held' ? msToTimestamp(mapping.untilMs) : undefined,
    access: accessOf({ environment: mapping.environment, gateway: gateway.gateway, scope: gateway.scope, pool: poolOf(mapping.pool), publicHost, port: mapping.port }),
    ...limitsToWire(mapping.limits),
    idleSince: idle && msToTimestamp(idle.sinceMs),
    idleReleaseAt: idle?.releaseAtMs === undefined ? undefined : msToTimestamp(idle.releaseAtMs),
  };
}

export function environmentToWire({ environment, mappings, workload }: EnvironmentView, naming: Naming): Environment {
  const present = mappings.filter(({ state }) => state !== 'quarantined' && state !== 'released');
  return {
    environment: environment.environment,
    tenant: environment.tenant,
    gateway: naming.gateway.gateway,
    host: environment.host,
    labels: environment.labels,
    revision: environment.revision,
    mappings: present.map((mapping) => mappingToWire(mapping, naming)),
    createdAt: msToTimestamp(environment.createdAtMs),
    status: workload === undefined ? EnvironmentStatus.ENVIRONMENT_STATUS_UNSPECIFIED : PHASES[workload.phase],
    statusDetail: workload === undefined ? '' : statusDetail(workload),
    image: workload?.container.image ?? '',
    containerId: workload?.containerId ?? '',
  };
}

const PHASES: Record<WorkloadPhase, EnvironmentStatus> = {
  creating: EnvironmentStatus.ENVIRONMENT_STATUS_CREATING,
  ready: EnvironmentStatus.ENVIRONMENT_STATUS_READY,
  undoing: EnvironmentStatus.ENVIRONMENT_STATUS_UNDOING,
  deleting: EnvironmentStatus.ENVIRONMENT_STATUS_DELETING,
};

function statusDetail({ phase, failure, word, host }: WorkloadView): string {
  if (failure !== undefined) return `${failure.step}: ${failure.reason}: ${failure.message}`;
  if (phase === 'ready') return '';
  if (word === undefined) return `waits for host ${host}`;
  if (phase === 'creating' && word.state === 'started') return 'verify: waits until every service answers';
  const percent = word.percent > 0 ? ` ${word.percent} %` : '';
  return `${word.step}${percent}${word.message === '' ? '' : `: ${word.message}`}`;
}

export const HOST_STATES: Record<HostLiveness, WireHostState> = {
  unknown: WireHostState.HOST_STATE_UNKNOWN,
  alive: WireHostState.HOST_STATE_ALIVE,
  suspect: WireHostState.HOST_STATE_SUSPECT,
  lost: WireHostState.HOST_STATE_LOST,
};

const DUTIES: Record<HostDuty, WireHostDuty> = {
  open: WireHostDuty.HOST_DUTY_OPEN,
  cordoned: WireHostDuty.HOST_DUTY_CORDONED,
  draining: WireHostDuty.HOST_DUTY_DRAINING,
  drained: WireHostDuty.HOST_DUTY_DRAINED,
  forgetting: WireHostDuty.HOST_DUTY_FORGETTING,
};

export function hostToWire({ record, state, heartbeatAgeMs, mappings, leasedPorts, driftRepairs, routes }: HostView, gateway: string): Host {
  return {
    host: record.host,
    gateway,
    roles: record.roles.map((role) => (role === 'host' ? WireRole.ROLE_HOST : WireRole.ROLE_GATEWAY)),
    failureDomain: record.failureDomain,
    publicHost: record.publicHost,
    state: HOST_STATES[state],
    addresses: [...record.addresses],
    session: record.session,
    agentVersion: record.agentVersion,
    heartbeatAge: heartbeatAgeMs === undefined ? undefined : msToDuration(heartbeatAgeMs),
    mappings,
    leasedPorts,
    driftRepairs,
    replaceable: record.replaceable,
    duty: DUTIES[record.duty],
    keptUntil: record.keptUntilMs === 0 ? undefined : msToTimestamp(record.keptUntilMs),
    routes: routeFiguresToWire(routes),
  };
}

export function massLossToWire({ failureDomain, lost, hosts, sinceMs, overriddenUntilMs }: LossView, gateway: string): MassLoss {
  return {
    gateway, failureDomain, lostHosts: lost, hosts, since: msToTimestamp(sinceMs),
    overriddenUntil: overriddenUntilMs === 0 ? undefined : msToTimestamp(overriddenUntilMs),
  };
}

export function gatewayToWire(book: Book): Gateway {
  const { gateway } = book;
  const agent = book.host(book.gatewayAgent() ?? '');
  return {
    gateway: gateway.gateway,
    scope: gateway.scope === 'shared' ? GatewayScope.GATEWAY_SCOPE_SHARED : GatewayScope.GATEWAY_SCOPE_HOST,
    publicHost: gateway.publicHost,
    revision: book.sequence,
    agentHost: agent?.record.host ?? '',
    agentState: agent === undefined ? WireHostState.HOST_STATE_UNSPECIFIED : HOST_STATES[agent.state],
    restore: restoreToWire(book.restoring()),
  };
}

function restoreToWire(view: RestoreView): Restore | undefined {
  switch (view.phase) {
    case 'no': return undefined;
    case 'reporting': return { awaitedHosts: view.awaited, problem: view.problem ?? '', rest: undefined };
    case 'resting': return { awaitedHosts: [], problem: '', rest: msToDuration(view.endsInMs) };
    default: return view satisfies never;
  }
}

const STRATEGIES: Record<PoolSpec['strategy'], Strategy> = {
  sequential: Strategy.STRATEGY_SEQUENTIAL,
  random: Strategy.STRATEGY_RANDOM,
  leastRecentlyUsed: Strategy.STRATEGY_LEAST_RECENTLY_USED,
};

export function poolToWire(spec: PoolSpec, { gateway, figures, rates }: { gateway: string; figures: PoolFigures | undefined; rates: PoolRates }): Pool {
  return {
    pool: spec.pool,
    gateway,
    description: spec.description,
    serviceType: spec.serviceType,
    aliases: [...spec.aliases],
    ranges: spec.ranges.map(rangeToWire),
    protocol: protocolToWire(spec.protocol),
    defaultInternalPort: spec.defaultInternalPort,
    strategy: STRATEGIES[spec.strategy],
    reserved: spec.reserved.map(rangeToWire),
    quarantine: msToDuration(spec.quarantineMs),
    hold: msToDuration(spec.holdMs),
    idleLimit: msToDuration(spec.idleLimitMs),
    idleWarning: msToDuration(spec.idleWarningMs),
    idleAction: spec.idleAction === 'release' ? IdleAction.IDLE_ACTION_RELEASE : IdleAction.IDLE_ACTION_REPORT,
    connectionTimeout: spec.connectionTimeoutMs === 0 ? undefined : msToDuration(spec.connectionTimeoutMs),
    domainTemplate: spec.domainTemplate,
    onConflict: spec.onConflict === 'renumber' ? OnConflict.ON_CONFLICT_RENUMBER : OnConflict.ON_CONFLICT_BLOCK,
    tls: tlsModeToWire(spec.tls),
    figures: figures && { ...figures, recent: ratesToWire(rates.recent), sinceStart: ratesToWire(rates.sinceStart) },
  };
}

function ratesToWire({ granted, failed, allocation, release }: Rates): WireRates {
  const successPercent = granted + failed === 0 ? 100 : (100 * granted) / (granted + failed);
  return { granted, failed, successPercent, allocation: latencyToWire(allocation), release: latencyToWire(release) };
}

function latencyToWire(times: Histogram): Latency {
  const at = (quantile: number) => {
    const ms = times.quantileMs(quantile);
    return ms === undefined ? undefined : msToDuration(ms);
  };
  return { count: times.count, p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

/** `ratesOf`: of a pool, now. */
export function poolsToWire(book: Book, ratesOf: (pool: string) => PoolRates): Pool[] {
  const { gateway } = book.gateway;
  return book.poolSpecs().map((spec) => poolToWire(spec, { gateway, figures: book.poolFigures(spec.pool), rates: ratesOf(spec.pool) }));
}

export function conflictViewToWire({ host, space, pool, conflict, sinceMs, mapping }: ConflictView, gateway: string): PortConflict {
  return {
    gateway, host, space, pool, conflict: conflictToWire(conflict), since: msToTimestamp(sinceMs), environment: mapping?.environment ?? '',
    mappingId: mapping?.mappingId ?? '', mappingState: mapping === undefined ? WireState.MAPPING_STATE_UNSPECIFIED : STATES[mapping.state],
  };
}

export function leakViewToWire({ host, pool, environment, leak, sinceMs }: LeakView, gateway: string): HostLeak {
  return { gateway, host, leak: leakToWire(leak), pool, environment, since: msToTimestamp(sinceMs) };
}

const LEASE_STATES: Record<LeaseState, WireLeaseState> = {
  fencing: WireLeaseState.LEASE_STATE_FENCING,
  active: WireLeaseState.LEASE_STATE_ACTIVE,
  expired: WireLeaseState.LEASE_STATE_EXPIRED,
  withdrawing: WireLeaseState.LEASE_STATE_WITHDRAWING,
};

export function leaseToWire({ record, allocated, routed }: LeaseView, gateway: string): Lease {
  return {
    leaseId: record.leaseId,
    gateway,
    space: record.space,
    pool: record.pool,
    host: record.host,
    ports: { first: record.first, last: record.last },
    protocol: protocolToWire(record.protocol),
    state: LEASE_STATES[record.state],
    epoch: record.epoch,
    generation: record.generation,
    allocated,
    routed,
    grantedAt: msToTimestamp(record.grantedAtMs),
    expiredAt: record.expiredAtMs === 0 ? undefined : msToTimestamp(record.expiredAtMs),
  };
}
