/** What is known of one port: who has it, why it is not free, when it will be. */
import { conflictsAt } from './conflicts.js';
import { inRanges, type Host, type Mapping, type Pool, type Space, type State } from './state.js';
import { leaseView } from './views.js';
import type { PortExplanation } from './types.js';

/** undefined: there is no such port space. */
export function explainPort(state: State, spaceName: string, port: number): PortExplanation | undefined {
  const owner = state.shared ? undefined : hostOf(state, spaceName);
  if (state.shared ? spaceName !== state.gateway.gateway : owner === undefined) return undefined;
  const space = state.spaces.get(spaceName);
  const mapping = space?.mappingAt.get(port);
  const pool = state.poolAt(port) ?? state.pools.get(mapping?.record.pool ?? '');
  const lease = space === undefined ? undefined : state.leaseAt(space, port);
  const holder = lease === undefined ? owner : state.hosts.get(lease.record.host);
  return {
    space: spaceName, port, pool: pool && { pool: pool.spec.pool, protocol: pool.spec.protocol, quarantineMs: pool.spec.quarantineMs },
    ...conditionOf(state, { port, mapping, pool, holder, leaseState: lease?.record.state }),
    mapping: mapping && { ...mapping.record }, lease: lease && leaseView(state, lease), holder: holder?.state,
    conflicts: conflictsAt(holder, port), lastOwner: ownerBefore(space, port),
  };
}

/** Scope host: whose port space it is. */
function hostOf(state: State, spaceName: string): Host | undefined {
  const host = state.hosts.get(spaceName.slice(state.gateway.gateway.length + 1));
  return host?.record.roles.includes('host') === true && state.spaceOf(host.record.host).name === spaceName ? host : undefined;
}

type Known = { port: number; mapping: Mapping | undefined; pool: Pool | undefined; holder: Host | undefined; leaseState: string | undefined };

function conditionOf(state: State, known: Known): Pick<PortExplanation, 'condition' | 'sinceMs' | 'freeAtMs'> {
  const { port, mapping, pool, holder, leaseState } = known;
  if (mapping !== undefined) return owned(state, mapping, pool);
  if (pool === undefined || !inRanges(pool.spec.ranges, port)) return { condition: 'notInPool' };
  if (pool.reserved.has(port)) return { condition: 'reserved' };
  if (leaseState === 'fencing' || leaseState === 'withdrawing') return { condition: leaseState };
  if (holder?.occupied.has(port) === true) return { condition: 'occupied' };
  return { condition: leaseState === undefined ? 'free' : 'leased' };
}

function owned(state: State, { record }: Mapping, pool: Pool | undefined): ReturnType<typeof conditionOf> {
  const isServed = pool !== undefined && inRanges(pool.spec.ranges, record.port) && !pool.reserved.has(record.port);
  switch (record.state) {
    case 'quarantined': return { condition: 'resting', freeAtMs: isServed ? record.untilMs : undefined };
    case 'held': return { condition: 'held', sinceMs: state.hosts.get(record.host)?.record.lostAtMs };
    case 'releasing': return { condition: 'releasing', sinceMs: record.createdAtMs };
    default: return { condition: 'inUse', sinceMs: record.createdAtMs };
  }
}

/** Of a port that nobody has now. */
function ownerBefore(space: Space | undefined, port: number): PortExplanation['lastOwner'] {
  const former = space?.formerAt.get(port);
  return former && { environment: former.environment, tenant: former.tenant, name: former.name };
}
