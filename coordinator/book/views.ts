/** What others may see of the book: copies, in a fixed order. */
import { rangeSize } from '../../shared/ports.js';
import type { Environment, Host, Lease, Mapping, Pool, State } from './state.js';
import type { EnvironmentView, HostView, LeaseView, MappingRecord, PoolFigures } from './types.js';

/** The environment as it stands; one that is gone, or whose name another tenant has now, as its last mappings tell. */
export function viewOf(state: State, name: string, mappings: readonly Mapping[]): EnvironmentView {
  const environment = environmentOf(state, name, mappings[0]);
  if (environment === undefined) throw new Error(`environment ${name} is not in the book`);
  const workload = environment.isGone ? undefined : state.workloads.get(name);
  return {
    environment: { ...environment.record }, mappings: environment.mappings.map((mapping): MappingRecord => ({ ...mapping.record })),
    ...(workload === undefined ? {} : { workload: { ...workload.record, word: workload.word } }),
  };
}

function environmentOf(state: State, name: string, last: Mapping | undefined): Environment | undefined {
  if (last?.environment.isGone === false) return last.environment;
  const known = state.environments.get(name);
  return last === undefined || known?.record.tenant === last.record.tenant ? known : last.environment;
}

export function hostView(state: State, host: Host): HostView {
  let leasedPorts = 0;
  for (const lease of host.leases) leasedPorts += rangeSize(lease.record);
  return {
    record: { ...host.record }, state: host.state, heartbeatAgeMs: host.heard ? state.nowMs - host.heardAtMs : undefined,
    mappings: host.mappings.size, leasedPorts, driftRepairs: host.driftRepairs, routes: host.routes,
  };
}

export function leaseView(state: State, lease: Lease): LeaseView {
  const space = state.space(lease.record.space);
  let allocated = 0;
  for (const port of space.mapped.within(lease.record.first, lease.record.last)) {
    if (space.mappingAt.get(port)?.record.state !== 'quarantined') allocated += 1;
  }
  return { record: { ...lease.record }, allocated, routed: lease.routed };
}

/** In scope host the figures add up all hosts with the role host. */
export function figuresOf(state: State, pool: Pool): PoolFigures {
  let spaces = 1;
  if (!state.shared) spaces = [...state.hosts.values()].filter((host) => host.record.roles.includes('host')).length;
  const total = pool.total * spaces;
  const reserved = pool.reservedCount * spaces;
  const { leased, quarantined } = pool.counts;
  const left = leftoverOf(pool);
  const allocated = pool.counts.allocated - left.allocated;
  const held = pool.counts.held - left.held;
  const usable = total - reserved;
  return {
    total, reserved, leased, allocated, held, quarantined, free: usable - allocated - held - quarantined + left.quarantined + restingElsewhere(state, pool),
    usagePercent: usable === 0 ? 0 : (100 * (allocated + held)) / usable, draining: left.allocated + left.held,
  };
}

/** Scope host: ports that rest in the space of a host that is no more. */
function restingElsewhere(state: State, pool: Pool): number {
  if (state.shared) return 0;
  let ports = 0;
  for (const space of state.spaces.values()) {
    if (space.mapped.size === 0 || state.hosts.has(space.name.slice(state.gateway.gateway.length + 1))) continue;
    for (const [, mapping] of space.mappingAt) if (mapping.record.pool === pool.spec.pool && !pool.leftover.has(mapping)) ports += 1;
  }
  return ports;
}

/** The pool's ports that left it or were reserved while an environment had them, or while they rested. */
function leftoverOf({ leftover }: Pool): Pick<PoolFigures, 'allocated' | 'held' | 'quarantined'> {
  const left = { allocated: 0, held: 0, quarantined: 0 };
  for (const { record: { state } } of leftover) left[state === 'held' || state === 'quarantined' ? state : 'allocated'] += 1;
  return left;
}
