/**
 * Restore mode: an agent knows more than the database, so the database is an older copy. Nothing is granted or taken until the gateway's
 * agent and every known host have said what they accepted, or were waived; then the book is made of the copy and of that (adopt.ts), and
 * rests for one more quarantine, because what was released after the copy was made is not known (S9, S12).
 */
import { adopt, portsWithoutPool, type Adopted, type Copy } from './adopt.js';
import { runs } from './leftover.js';
import { isUsable } from './poolspace.js';
import { inRanges, type Host, type State } from './state.js';
import type { Command, HelloCommand, MappingRecord, PortRange, Refusal, Reply, RestoreView } from './types.js';

/** Commands that wait until the agents have reported. */
const WAITING: ReadonlySet<Command['kind']> = new Set(['allocate', 'release', 'move', 'updateMapping', 'reclaimHost', 'drainHost', 'forgetHost', 'updatePool', 'deletePool',
  'createTunnel', 'restartTunnel', 'stopTunnel', 'startTunnel', 'removeTunnel'] as const);
/** Those that also wait while the ports rest. */
const GRANTING: ReadonlySet<Command['kind']> = new Set(['allocate', 'move'] as const);

export function refuseWhileRestoring(state: State, command: Command): Refusal | undefined {
  const { gateway, restoring } = state.gateway;
  if (restoring === 'no' || !(restoring === 'reporting' ? WAITING : GRANTING).has(command.kind) || onlyGrows(state, command)) return undefined;
  const waitsFor = restoring === 'reporting' ? `hosts that have not reported yet: ${awaited(state).join(', ')}` : 'the quarantine of ports that may have been released lately';
  return {
    kind: 'refused', reason: 'RESTORING', message: `gateway ${gateway} runs on an older copy of its database, and waits for ${waitsFor}`, metadata: { gateway },
    retryAfterMs: restoring === 'reporting' ? state.timing.heartbeatMs : Math.max(1, state.restUntilMs - state.nowMs),
  };
}

/** A pool that had been grown after the copy was made is grown again: what hosts hold is then in a pool. */
function onlyGrows(state: State, command: Command): boolean {
  const pool = command.kind === 'updatePool' ? state.pools.get(command.pool) : undefined;
  if (command.kind !== 'updatePool' || pool === undefined) return false;
  const { ranges = pool.spec.ranges, reserved = pool.spec.reserved, protocol = pool.spec.protocol } = command.change;
  const keeps = ({ first, last }: PortRange): boolean => runs({ first, last }, (port) => isUsable(pool, port) && (!inRanges(ranges, port) || inRanges(reserved, port))).length === 0;
  return protocol === pool.spec.protocol && pool.spec.ranges.every(keeps);
}

/** A hello while agents are to report, or of the first one that knows more than the database. It is refused in any case. */
export function takeReport(state: State, command: HelloCommand, isAhead: boolean): Refusal {
  if (state.gateway.restoring !== 'reporting') begin(state, command);
  const { host, state: objects } = command;
  const metadata = { host, gateway: state.gateway.gateway };
  const refuse = (reason: Refusal['reason'], message: string, retryAfterMs: number): Refusal => ({ kind: 'refused', reason, message, metadata, retryAfterMs });
  const earlier = state.reports.get(host);
  if (earlier !== undefined && earlier.hello.lastSession > command.lastSession) return refuse('SECOND_MACHINE', `another machine that says it is ${host} knows session ${earlier.hello.lastSession}, this one ${command.lastSession}`, state.timing.heartbeatMs);
  if (objects === undefined) return refuse('STATE_NEEDED', `the database is older than what host ${host} accepted`, 1);
  state.reports.set(host, { hello: command, objects, isAhead });
  const missing = awaited(state);
  const why = missing.length > 0 ? `${missing.length} hosts have not reported yet: ${missing.slice(0, 10).join(', ')}` : problemOf(state) ?? 'every host has reported';
  return refuse('RESTORING', why, missing.length > 0 ? state.timing.heartbeatMs : 1);
}

export function waiveHost(state: State, name: string): Reply {
  const metadata = { host: name, gateway: state.gateway.gateway };
  const host = state.hosts.get(name);
  if (host === undefined) return { kind: 'refused', reason: 'HOST_UNKNOWN', message: `there is no host ${name}`, field: 'host', metadata };
  if (!awaited(state).includes(name)) return { kind: 'refused', reason: 'HOST_NOT_AWAITED', message: `nothing waits for a report of host ${name}`, field: 'host', metadata };
  host.record.waived = true;
  state.dirtyHost(host);
  return { kind: 'host', host: { ...host.record } };
}

/** The records that the book goes on with, once everybody has reported; undefined: not yet. */
export function adopted(state: State): Adopted | undefined {
  if (state.gateway.restoring !== 'reporting' || awaited(state).length > 0 || problemOf(state) !== undefined) return undefined;
  return adopt(copyOf(state), state.reports, state.nowMs);
}

/** How long ports rest after a restore: the longest quarantine of any pool. */
export function restMs(state: State): number {
  return Math.max(0, ...[...state.pools.values()].map(({ spec }) => spec.quarantineMs));
}

export function endRest(state: State): void {
  if (state.gateway.restoring !== 'resting' || state.nowMs < state.restUntilMs) return;
  state.gateway.restoring = 'no';
  state.event('RestoreEnded', {});
  state.progress = true;
}

export function restoreView(state: State): RestoreView {
  const { restoring } = state.gateway;
  if (restoring === 'no') return { phase: 'no' };
  if (restoring === 'resting') return { phase: 'resting', endsInMs: Math.max(0, state.restUntilMs - state.nowMs) };
  return { phase: 'reporting', awaited: awaited(state), problem: problemOf(state) };
}

function begin(state: State, { host }: HelloCommand): void {
  state.gateway.restoring = 'reporting';
  state.reports.clear();
  for (const known of state.hosts.values()) forgetSession(state, known);
  state.event('RestoreBegan', { host });
}

/** Its next heartbeat makes it say hello again. Whether the copy's leave to replace it was used since is not known: an operator gives it anew. */
function forgetSession(state: State, host: Host): void {
  host.desired = undefined;
  state.told.delete(host);
  if (!host.record.waived && !host.record.replaceable) return;
  Object.assign(host.record, { waived: false, replaceable: false });
  state.dirtyHost(host);
}

/** The gateway's agent, and hosts that have ever said hello, or that something is routed to: those that have neither reported nor been waived. */
function awaited(state: State): string[] {
  if (state.gateway.restoring !== 'reporting') return [];
  const names = new Set([...state.hosts.values()].filter((host) => host === state.gatewayAgent || host.record.session > 0 || host.leases.size > 0).map(({ record }) => record.host));
  for (const { objects } of state.reports.values()) for (const object of objects) if (object.kind === 'route') names.add(object.host);
  return [...names].filter((name) => !state.reports.has(name) && state.hosts.get(name)?.record.waived !== true).sort();
}

function problemOf(state: State): string | undefined {
  if (state.shared && state.gatewayAgent === undefined) return 'no host with the role gateway is known, and only its agent knows where clients are led: create it; waive it if there is none any more';
  const pools = [...state.pools.values()].map(({ spec }) => spec);
  // Mappings and leases are looked at only when a port is in no pool.
  let [gap] = portsWithoutPool({ pools, mappings: [], leases: [] }, state.reports);
  if (gap !== undefined) [gap] = portsWithoutPool(copyOf(state), state.reports);
  return gap === undefined ? undefined : `host ${gap.host} holds ports ${gap.first}-${gap.last}, which no pool has: create the pool again, or give it its ranges again`;
}

function copyOf(state: State): Copy {
  const records = <T>(items: Iterable<{ record: T }>): T[] => Array.from(items, ({ record }) => record);
  return {
    gateway: state.gateway, pools: [...state.pools.values()].map(({ spec }) => spec), hosts: records(state.hosts.values()), leases: records(state.leases.values()),
    environments: records(state.environments.values()), workloads: records(state.workloads.values()), tunnels: [...state.hosts.values()].flatMap(({ tunnels }) => [...tunnels.values()]), mappings: [...records(state.mappings.values()), ...releasedOf(state)],
  };
}

/** Released mappings that requests name: they stay what they are. */
function releasedOf(state: State): MappingRecord[] {
  const found = new Map([...state.requests.values()].flatMap(({ mappings }) => mappings.map(({ record }) => [record.mappingId, record] as const)));
  return [...found.values()].filter(({ mappingId }) => !state.mappings.has(mappingId));
}
