/**
 * ForgetHost: the host is removed with all that it had. What it may still serve must be unreachable first: in a shared space the gateway
 * confirms that, in scope host only the operator can say that the host is off. Quarantines run in full and outlive the host (S1, S8, S12).
 */
import { isEmpty, refuseKept, unknownHost } from './duty.js';
import { isSettled } from './growth.js';
import { finishWithdrawal, withdraw } from './leases.js';
import { lossOf, refuseMassLoss } from './mass-loss.js';
import { giveUp, rest, setState } from './mappings.js';
import { isInForce } from './states.js';
import { gatewayReady } from './shortage.js';
import { forgetTunnels } from './tunnels.js';
import { giveBack } from './workloads.js';
import type { Host, State } from './state.js';
import type { Command, Refusal, Reply } from './types.js';

type ForgetCommand = Extract<Command, { kind: 'forgetHost' }>;

export function forgetHost(state: State, command: ForgetCommand): Reply {
  const host = state.hosts.get(command.host);
  if (host === undefined) return unknownHost(command.host);
  const refusal = refuseGateway(state, host, command) ?? refuseHost(state, host, command);
  if (refusal !== undefined) return refusal;
  if (isGateway(state, host)) endRole(state, host);
  for (const workload of [...host.workloads]) giveBack(state, workload, { phase: 'deleting', removesVolumes: false });
  forgetTunnels(state, host);
  const given = isEmpty(state, host) ? { mappings: 0, ports: 0 } : takeAll(state, host);
  // Nobody routes to it, and it is off: there is nothing that could be waited for.
  if (isOff(host, command) && nothingRoutes(state)) takeNow(state, host);
  return { kind: 'forgotten', ...given, isGone: finishForgetting(state, host) };
}

/** Removes a host that is being forgotten once nothing of it is left. */
export function finishForgetting(state: State, host: Host): boolean {
  if (!isEmpty(state, host)) return false;
  const { record } = host;
  state.hosts.delete(record.host);
  state.told.delete(host);
  state.dirty.hosts.delete(host);
  state.dirty.removedHosts.push(record.host);
  state.changed = true;
  if (record.session > 0) remember(state, host);
  for (const pool of state.pools.values()) {
    for (const { holders } of pool.spaces.values()) holders.delete(record.host);
    if (!state.shared) pool.spaces.delete(state.spaceOf(record.host).name);
  }
  state.event('HostForgotten', { host: record.host });
  return true;
}

/** The next machine of that name goes on with its session numbers: what the former one accepted is older. */
function remember(state: State, { record }: Host): void {
  const forgotten = { host: record.host, session: record.session, atMs: state.nowMs };
  state.forgotten.set(record.host, forgotten);
  state.dirty.forgotten.set(record.host, forgotten);
}

/** Newest session of a forgotten host of this name, which is no longer forgotten; 0 when there is none. */
export function recall(state: State, host: string): number {
  const forgotten = state.forgotten.get(host);
  if (forgotten === undefined) return 0;
  state.forgotten.delete(host);
  state.dirty.forgotten.delete(host);
  state.dirty.removedForgotten.push(host);
  return forgotten.session;
}

function refuse(reason: Refusal['reason'], message: string, host: Host, more: Partial<Refusal> = {}): Refusal {
  return { kind: 'refused', reason, message, metadata: { host: host.record.host, state: host.state }, ...more };
}

/** A machine that may route is forgotten only when it confirmed that it does not, or the operator says that it is off. */
function refuseGateway(state: State, host: Host, { gatewayIsOff }: ForgetCommand): Refusal | undefined {
  if (!isGateway(state, host) || !mayRoute(state, host)) return undefined;
  const { host: name } = host.record;
  if (!gatewayIsOff) return refuse('GATEWAY_MAY_ROUTE', `host ${name} is the gateway of ${state.gateway.gateway}: other hosts are reached through it`, host, { field: 'gateway_is_off' });
  return host.state === 'alive' ? refuse('HOST_NOT_LOST', `host ${name} is not off: it answers`, host, { field: 'gateway_is_off' }) : undefined;
}

/** What the host has can be taken from it without its word. */
function refuseHost(state: State, host: Host, command: ForgetCommand): Refusal | undefined {
  if (isEmpty(state, host) || host.record.duty === 'forgetting') return undefined;
  const { host: name } = host.record;
  const isSaidOff = isOff(host, command);
  if (host.state === 'alive') return refuse('HOST_NOT_LOST', `host ${name} answers, and has ${host.mappings.size} mappings`, host, { field: 'host' });
  if (host.state !== 'lost' && !isSaidOff) return refuse('HOST_NOT_LOST', `host ${name} is ${host.state}, not lost`, host, { field: 'host' });
  if (!state.shared) return isSaidOff ? undefined : refuse('HOST_MAY_SERVE', `no gateway keeps clients away from host ${name}, and it has ${host.mappings.size} mappings`, host, { field: 'host_is_off' });
  return refuseTaking(state, host, isSaidOff);
}

/** Behind the fence. */
function refuseTaking(state: State, host: Host, isSaidOff: boolean): Refusal | undefined {
  const { host: name, keptUntilMs } = host.record;
  if (!isSaidOff && keptUntilMs > state.nowMs) return refuseKept(host);
  if (!isSaidOff && lossOf(state, host) !== undefined) return refuseMassLoss(state, host, { metadata: { host: name }, field: 'host' });
  if (gatewayReady(state) || (isSaidOff && (nothingRoutes(state) || isGateway(state, host)))) return undefined;
  const { gateway } = state.gateway;
  return refuse('GATEWAY_NOT_READY', `the gateway agent of ${gateway} has not said hello`, host, { metadata: { gateway }, retryAfterMs: state.timing.heartbeatMs });
}

/** The operator answers for it. A gateway that is off serves nothing as a host either. */
function isOff(host: Host, { hostIsOff, gatewayIsOff }: ForgetCommand): boolean {
  return hostIsOff || (gatewayIsOff && host.record.roles.includes('gateway'));
}

function isGateway(state: State, host: Host): boolean {
  return state.gatewayAgent === host || state.formerGateway === host;
}

function mayRoute(state: State, host: Host): boolean {
  if (host.record.session === 0) return false;
  if (state.formerGateway === host) return !isSettled(host);
  return state.leases.size > 0 || host.desired === undefined || host.appliedRevision < host.revision;
}

/** In scope host that is so; in a shared space when the gateway's machine was forgotten as one that is off, or there never was one. */
function nothingRoutes(state: State): boolean {
  return !state.shared || (state.gatewayAgent === undefined && state.formerGateway === undefined);
}

/** The role is free. What waits for a gateway's confirmation waits for that of the next one, which cuts what is left of connections. */
function endRole(state: State, host: Host): void {
  if (state.gatewayAgent === host) state.gatewayAgent = undefined;
  if (state.formerGateway === host) state.formerGateway = undefined;
  for (const lease of state.leases.values()) lease.routed = false;
  for (const mapping of state.mappings.values()) if (mapping.record.state === 'live') setState(state, mapping, 'pending', 'NOT_CONFIRMED_BY_GATEWAY');
}

/** Gives up its mappings and takes its leases back. It is told nothing any more, and heard no more. */
function takeAll(state: State, host: Host): { mappings: number; ports: number } {
  let mappings = 0;
  let ports = 0;
  Object.assign(host.record, { duty: 'forgetting', keptUntilMs: 0, lostAtMs: host.record.lostAtMs || state.nowMs });
  host.state = 'lost';
  host.desired = undefined;
  state.dirtyHost(host);
  for (const mapping of [...host.mappings]) {
    if (!isInForce(mapping.record.state)) continue;
    giveUp(state, mapping);
    mappings += 1;
  }
  for (const lease of [...host.leases]) {
    ports += lease.record.last - lease.record.first + 1;
    // In scope host the range is back at once, and what nobody confirms rests from now on.
    withdraw(state, lease, lease.record);
  }
  return { mappings, ports };
}

/** What waits for a confirmation that nobody can give, and nobody needs. */
function takeNow(state: State, host: Host): void {
  for (const lease of [...state.withdrawing]) if (lease.record.host === host.record.host) finishWithdrawal(state, lease);
  for (const mapping of [...host.mappings]) if (mapping.record.state === 'releasing') rest(state, mapping);
  for (const lease of [...host.guarding]) {
    lease.record.guards = lease.record.guards.filter((name) => name !== host.record.host);
    state.dirtyLease(lease);
  }
  host.guarding.clear();
}
