/** Which host has the gateway role: one at a time, and the next one only when the former routes nothing any more. */
import { isSettled } from './growth.js';
import { fenceReleasing } from './giving-up.js';
import type { Host, State } from './state.js';
import type { HostRecord, Refusal } from './types.js';

export function refuseRoles(state: State, name: string, roles: HostRecord['roles'], field: string): Refusal | undefined {
  if (!roles.includes('gateway')) return undefined;
  const metadata = { host: name, gateway: state.gateway.gateway };
  if (!state.shared) return { kind: 'refused', reason: 'INVALID_FIELD', message: `gateway ${state.gateway.gateway} has scope host: its hosts are reached directly, none has the role gateway`, field, metadata };
  const refuse = (message: string, other: string): Refusal => ({ kind: 'refused', reason: 'GATEWAY_HAS_AGENT', message, field, metadata: { ...metadata, other } });
  const { gatewayAgent: agent, formerGateway: former } = state;
  if (agent !== undefined && agent.record.host !== name) return refuse(`host ${agent.record.host} has the gateway role`, agent.record.host);
  if (former === undefined || former.record.host === name || former.record.replaceable || isSettled(former)) return undefined;
  return refuse(`host ${former.record.host} had the gateway role, and has not reported yet that it routes nothing any more`, former.record.host);
}

/** The host says hello with its roles. Returns true when it has the gateway role from now on. */
export function takeRole(state: State, host: Host): boolean {
  const had = state.gatewayAgent === host;
  if (host.record.roles.includes('gateway')) {
    state.gatewayAgent = host;
    state.formerGateway = undefined;
    return !had;
  }
  if (!had) return false;
  state.gatewayAgent = undefined;
  // Until it applied its snapshot its kernel routes as before, whatever another gateway confirms (S1).
  state.formerGateway = host;
  for (const lease of state.leases.values()) lease.routed = false;
  return false;
}

/** The gateway confirms every route again; one that has none yet does so before anything new counts as live. */
export function awaitRoutes(state: State, hasNone: boolean): void {
  for (const lease of state.leases.values()) {
    if (lease.record.state === 'withdrawing' || !lease.record.guarded) continue;
    if (hasNone) lease.routed = false;
    lease.routeRevision = state.sequence;
    state.unrouted.add(lease);
  }
  for (const host of state.hosts.values()) if (host.state === 'suspect' || host.state === 'lost') fenceReleasing(state, host);
}
