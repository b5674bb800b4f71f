/** Hosts and their sessions: hello, heartbeat, report, and what an operator says of them. */
import { takeAddresses } from './addresses.js';
import { settleConflicts, takeConflicts, waitsForPort } from './conflicts.js';
import { Desired } from './desired.js';
import { hostOf } from './duty.js';
import { recall } from './forget.js';
import { takeIdle } from './idle.js';
import { leaksToResolve, takeLeaks } from './leaks.js';
import { activate, finishWithdrawal, guarded, refence, renewLeases, routed } from './leases.js';
import { newHostRecord } from './host-record.js';
import { endLeftover } from './leftover.js';
import { awaitRoutes, refuseRoles, takeRole } from './gateway-role.js';
import { hidesClients } from './hidden.js';
import { retellLimited } from './limits.js';
import { about, mappingOf, rest, setState, settle } from './mappings.js';
import { problemIn, problemText } from './problem.js';
import { isInForce } from './states.js';
import { snapshot } from './outbox.js';
import { takeReport } from './restoring.js';
import { takeTunnels } from './tunnel-reports.js';
import { hear } from './workloads.js';
import type { Host, Lease, Mapping, State } from './state.js';
import type { Command, Confirmation, HeartbeatCommand, HelloCommand, HostRecord, Refusal, ReportCommand, Reply, StateVersion } from './types.js';

export function makeHost(record: HostRecord, nowMs: number): Host {
  return {
    record, state: record.lostAtMs > 0 ? 'lost' : 'unknown', heardAtMs: nowMs, heard: false, mappings: new Set(), leases: new Set(), guarding: new Set(), unguarded: new Set(), driftRepairs: 0, routes: undefined,
    desired: undefined, revision: 0, appliedRevision: 0, mustApply: 0, awaiting: new Set(), problems: new Map(), behind: { heartbeats: 0, lastAccepted: 0 },
    occupied: new Set(), conflicts: new Map(), idle: new Map(), leaks: new Map(), workloads: new Set(), tunnels: new Map(), tunnelReports: new Map(), configTunnelsTold: new Map(), capabilities: undefined,
  };
}

export function createHost(state: State, command: Extract<Command, { kind: 'createHost' }>): Reply {
  if (state.hosts.has(command.host)) return { kind: 'refused', reason: 'HOST_EXISTS', message: `there is a host ${command.host}`, field: 'host.host' };
  const refusal = refuseRoles(state, command.host, command.roles, 'host.roles');
  if (refusal !== undefined) return refusal;
  const host = addHost(state, newHostRecord(command.host, command.roles, command.failureDomain, command.publicHost));
  return { kind: 'host', host: { ...host.record } };
}

export function replaceHost(state: State, name: string): Reply {
  const host = hostOf(state, name);
  if ('kind' in host) return host;
  host.record.replaceable = true;
  state.dirtyHost(host);
  return { kind: 'host', host: { ...host.record } };
}

export function hello(state: State, command: HelloCommand): Reply {
  const known = state.hosts.get(command.host);
  const refusal = refuseHello(state, command, known);
  if (refusal !== undefined) {
    state.event('HostRefused', { host: command.host, detail: `{"reason":"${refusal.reason}"}` });
    return refusal;
  }
  const isAhead = isBehind(state, command, known);
  if (isAhead || state.gateway.restoring === 'reporting') return takeReport(state, command, isAhead);
  const hidBefore = hidesClients(state);
  const host = known ?? addHost(state, newHostRecord(command.host, command.roles, '', ''));
  const rebooted = host.record.bootId !== command.bootId;
  const tunnelKey = tunnelKeyOf(state, command);
  const moved = isElsewhere(host.record, { addresses: command.addresses, tunnelKey });
  // Another machine guards nothing yet, also where it has the address of the one before.
  const isUnguarded = moved || host.record.replaceable;
  // Until it uses the session that it is given now, this machine may say the same hello again: the welcome may be lost on its way.
  if (host.record.replaceable) host.record.confirmedSession = Math.min(host.record.confirmedSession, command.lastSession);
  Object.assign(host.record, {
    roles: command.roles, addresses: command.addresses, bootId: command.bootId, agentVersion: command.agentVersion,
    session: host.record.session + 1, replaceable: false, lostAtMs: 0, hidesClients: command.hidesClients === true, tunnelKey,
  });
  host.capabilities = new Set(command.capabilities);
  const isNewGateway = takeRole(state, host);
  state.dirtyHost(host);
  welcomeBack(state, host, rebooted);
  if (isUnguarded && state.shared) refence(state, host);
  if (moved) takeAddresses(state, host);
  for (const lease of host.unguarded) lease.hostRevision = state.sequence;
  // From here on there is somebody to tell: the snapshot has what is put meanwhile.
  host.desired ??= new Desired();
  if (hidesClients(state) !== hidBefore) retellLimited(state, state.hosts.values());
  if (state.gatewayAgent === host) awaitRoutes(state, rebooted || isNewGateway);
  state.progress = true;
  return { kind: 'welcome', session: host.record.session, epoch: state.gateway.epoch, state: snapshot(state, host) };
}

/** Its gateway reaches it another way than before. */
function isElsewhere({ addresses, tunnelKey }: HostRecord, now: Pick<HostRecord, 'addresses' | 'tunnelKey'>): boolean {
  return addresses.join() !== now.addresses.join() || tunnelKey !== now.tunnelKey;
}

/** In scope host there is no gateway to come to. */
function tunnelKeyOf(state: State, { tunnelKey = '' }: HelloCommand): string {
  return state.shared ? tunnelKey : '';
}

export function heartbeat(state: State, command: HeartbeatCommand): Reply {
  const host = state.hosts.get(command.host);
  if (host === undefined) return { kind: 'refused', reason: 'HOST_UNKNOWN', message: `there is no host ${command.host}`, field: 'host' };
  // A host that was given up for lost says hello again, so that it learns what it still has before anything is renewed.
  if (host.desired === undefined || host.record.session !== command.session || host.state === 'lost') return { kind: 'heartbeat', staleSession: true, rebuild: false, resolveLeaks: [] };
  heard(state, host);
  return { kind: 'heartbeat', staleSession: false, rebuild: staysBehind(host, command), resolveLeaks: leaksToResolve(host, state.nowMs) };
}

export function report(state: State, command: ReportCommand): Reply {
  const host = state.hosts.get(command.host);
  if (host === undefined || host.desired === undefined || host.record.session !== command.session) {
    return { kind: 'refused', reason: 'STALE_SESSION', message: `session ${command.session} is not the newest of host ${command.host}` };
  }
  confirmSession(state, host);
  host.driftRepairs = command.driftRepairs;
  host.routes = command.routes;
  takeConflicts(state, host, command);
  for (const confirmation of command.confirmations) confirm(state, host, confirmation);
  const problems = new Map(command.problems.map((problem) => [problem.key, problemText(problem)]));
  const { applied } = command;
  if (applied.epoch === state.gateway.epoch && applied.session === host.record.session) {
    if (host.appliedRevision < host.mustApply && applied.revision >= host.mustApply) state.progress = true;
    host.appliedRevision = Math.max(host.appliedRevision, applied.revision);
    settleLeases(state, host, problems);
    settleMappings(state, host, problems);
    settleConflicts(state, host);
    if (state.gatewayAgent === host) settleRoutes(state, host, problems);
  }
  for (const mappingId of command.verified) verify(state, host, mappingId);
  takeIdle(state, host, command.idle ?? []);
  takeLeaks(state, host, command.leaks ?? []);
  for (const word of command.environments ?? []) hear(state, host, word);
  takeTunnels(state, host, command);
  return { kind: 'done' };
}

function refuseHello(state: State, command: HelloCommand, known: Host | undefined): Refusal | undefined {
  const refusal = refuseStranger(state, command, known) ?? refuseDriver(state, command) ?? refuseRoles(state, command.host, command.roles, 'roles');
  const taken = refuseTakenKey(state, command);
  if (taken !== undefined) return taken;
  return refusal ?? (known?.record.replaceable === true ? undefined : refuseHistory(state, command, known));
}

/** Two hosts with one key could not be told apart by the gateway's sshd. */
function refuseTakenKey(state: State, { host, tunnelKey = '' }: HelloCommand): Refusal | undefined {
  const other = tunnelKey === '' ? undefined : [...state.hosts.values()].find(({ record }) => record.host !== host && record.tunnelKey === tunnelKey);
  if (other === undefined) return undefined;
  const metadata = { host, other: other.record.host };
  return { kind: 'refused', reason: 'TUNNEL_KEY_TAKEN', message: `host ${other.record.host} comes to the gateway with the same key as ${host}`, field: 'hello.tunnel_key', metadata };
}

function refuseStranger(state: State, command: HelloCommand, known: Host | undefined): Refusal | undefined {
  const refuse = (message: string): Refusal => ({ kind: 'refused', reason: 'NOT_ADMITTED', message, metadata: { host: command.host, gateway: state.gateway.gateway } });
  // An older copy may not know that it was made again since.
  if (known?.record.duty === 'forgetting' && state.gateway.restoring !== 'reporting') return { ...refuse(`host ${command.host} is being forgotten`), retryAfterMs: state.timing.lostMs };
  if (command.admit) return undefined;
  if (known === undefined) return refuse(`host ${command.host} is not known`);
  const roles = known.record.roles.join(', ');
  return roles === command.roles.join(', ') ? undefined : refuse(`host ${command.host} has the roles ${roles}, not ${command.roles.join(', ')}`);
}

/** In scope shared a port reaches nothing before its host keeps everybody away from it: a forwarder without rules cannot (S1, S7). */
function refuseDriver(state: State, { host, driver }: HelloCommand): Refusal | undefined {
  if (driver !== 'userspace' || !state.shared) return undefined;
  const { gateway } = state.gateway;
  return { kind: 'refused', reason: 'DRIVER_NOT_ADMITTED', message: `host ${host} has driver: userspace, and gateway ${gateway} has scope shared`, metadata: { host, gateway, driver } };
}

/** What the machine remembers must be what this database has of it (S3, S4). */
function refuseHistory(state: State, command: HelloCommand, known: Host | undefined): Refusal | undefined {
  const { lastSession, host } = command;
  const { confirmedSession } = known?.record ?? { confirmedSession: 0 };
  const refuse = (reason: Refusal['reason'], message: string): Refusal => ({ kind: 'refused', reason, message, metadata: { host, gateway: state.gateway.gateway } });
  if (lastSession < confirmedSession) return refuse('SECOND_MACHINE', `this machine knows session ${lastSession} of host ${host}, the newest is ${confirmedSession}`);
  return undefined;
}

/**
 * The machine knows more than this database, which is then an older copy (S3, S9). One that may take the place of another is no exception: the
 * leave for it may have been used after the copy was made.
 */
function isBehind(state: State, { host, lastSession, accepted }: HelloCommand, known: Host | undefined): boolean {
  // A forgotten host may be known again, by any machine that had the name: what it remembers was made here.
  const session = known?.record.session ?? state.forgotten.get(host)?.session ?? 0;
  return lastSession > session || (accepted !== undefined && isAhead(state, accepted));
}

/**
 * Not made on this database: of an epoch that it never had, or beyond the end of one that it had. Sequences alone do not tell, for later
 * decisions catch up with what was lost.
 */
function isAhead({ gateway, epochs }: State, { epoch, revision }: StateVersion): boolean {
  if (epoch >= gateway.epoch) return epoch > gateway.epoch || revision > gateway.sequence;
  const at = epochs.findIndex((start) => start.epoch >= epoch);
  // Older than what is remembered of them.
  if (at <= 0 && epochs[at]?.epoch !== epoch) return false;
  const next = epochs[at + 1];
  return epochs[at]?.epoch !== epoch || (next !== undefined && revision >= next.sequence);
}

function addHost(state: State, record: HostRecord): Host {
  const host = makeHost({ ...record, session: recall(state, record.host) }, state.nowMs);
  state.hosts.set(record.host, host);
  if (record.roles.includes('gateway')) state.gatewayAgent = host;
  state.dirtyHost(host);
  return host;
}

function welcomeBack(state: State, host: Host, rebooted: boolean): void {
  const wasLost = host.state === 'lost';
  if (host.state !== 'alive') state.event('HostAlive', { host: host.record.host });
  host.state = 'alive';
  host.heardAtMs = state.nowMs;
  host.heard = true;
  host.problems = new Map();
  host.appliedRevision = 0;
  host.mustApply = state.sequence;
  host.behind = { heartbeats: 0, lastAccepted: 0 };
  if (wasLost) renewLeases(state, host);
  for (const mapping of host.mappings) {
    if (!isInForce(mapping.record.state)) continue;
    mapping.applied = false;
    mapping.hostRevision = state.sequence;
    host.awaiting.add(mapping);
    if (rebooted && mapping.record.state === 'live') setState(state, mapping, 'pending', 'NOT_CONFIRMED_BY_HOST');
  }
}

function heard(state: State, host: Host): void {
  host.heardAtMs = state.nowMs;
  host.heard = true;
  confirmSession(state, host);
  if (host.state !== 'suspect') return;
  host.state = 'alive';
  state.progress = true;
  state.event('HostAlive', { host: host.record.host });
}

function confirmSession(state: State, host: Host): void {
  if (host.record.confirmedSession === host.record.session) return;
  host.record.confirmedSession = host.record.session;
  state.dirtyHost(host);
}

/** True when the accepted state has been another one than the book's for three heartbeats without getting on. */
function staysBehind(host: Host, command: HeartbeatCommand): boolean {
  const { behind } = host;
  const advanced = command.acceptedRevision > behind.lastAccepted && command.acceptedRevision < host.revision;
  behind.lastAccepted = command.acceptedRevision;
  if (advanced || isCurrent(host, command)) behind.heartbeats = 0;
  else behind.heartbeats += 1;
  return behind.heartbeats >= 3;
}

function isCurrent(host: Host, command: HeartbeatCommand): boolean {
  return command.acceptedRevision === host.revision && host.desired?.digestHex() === command.digest;
}

function confirm(state: State, host: Host, confirmation: Confirmation): void {
  const [kind, id] = confirmation.key.split('/') as [string, string];
  if (kind === 'release') confirmRelease(state, host, { mapping: state.mappings.get(id), confirmation });
  else if (state.gatewayAgent === host) confirmRange(state, kind, { lease: state.leases.get(id), confirmation });
}

function confirmRelease(state: State, host: Host, of: { mapping: Mapping | undefined; confirmation: Confirmation }): void {
  const { mapping, confirmation } = of;
  if (mapping?.record.host !== host.record.host || mapping.record.state !== 'releasing') return;
  if (mapping.record.generation !== confirmation.generation || mapping.record.port !== confirmation.ports.first) return;
  const lease = state.leaseAt(state.space(mapping.record.space), mapping.record.port);
  // While the range is being fenced, somebody else may still serve it: only the gateway can end that.
  if (lease?.record.state === 'withdrawing' || lease?.record.state === 'fencing') return;
  rest(state, mapping);
  endLeftover(state, mapping);
}

function confirmRange(state: State, kind: string, of: { lease: Lease | undefined; confirmation: Confirmation }): void {
  const { lease, confirmation: { generation, ports, protocol } } = of;
  if (lease === undefined) return;
  const { record } = lease;
  if (record.generation !== generation || record.first !== ports.first || record.last !== ports.last || record.protocol !== protocol) return;
  if (kind === 'withdrawal' && record.state === 'withdrawing') finishWithdrawal(state, lease);
  if (kind === 'route' && record.state === 'fencing') activate(state, lease);
}

function settleLeases(state: State, host: Host, problems: Map<string, string>): void {
  for (const lease of host.unguarded) {
    if (lease.hostRevision <= host.appliedRevision && !problems.has(`lease/${lease.record.leaseId}`)) guarded(state, lease);
  }
}

function settleMappings(state: State, host: Host, problems: Map<string, string>): void {
  for (const mapping of host.awaiting) {
    if (mapping.hostRevision > host.appliedRevision || problems.has(`mapping/${mapping.record.mappingId}`)) continue;
    host.awaiting.delete(mapping);
    mapping.applied = true;
    if (mapping.record.state === 'blocked') setState(state, mapping, 'pending', 'NOT_CONFIRMED_BY_GATEWAY');
    settle(state, mapping);
  }
  for (const [key, problem] of problems) {
    const mapping = mappingOf(state, host, key);
    if (mapping !== undefined && mapping.hostRevision <= host.appliedRevision) block(state, mapping, problem);
  }
  for (const key of host.problems.keys()) {
    const mapping = problems.has(key) ? undefined : mappingOf(state, host, key);
    if (mapping?.record.state !== 'blocked') continue;
    setState(state, mapping, 'pending', 'NOT_CONFIRMED_BY_GATEWAY');
    settle(state, mapping);
  }
  host.problems = problems;
}

/** A host behind NAT has no connection to the gateway that carries the port. */
const TUNNEL_DOWN = 'TUNNEL_DOWN';

function block(state: State, mapping: Mapping, problem: string): void {
  const { state: before, reason } = mapping.record;
  // Its connections to the gateway are on their way: nobody is told that it cannot be served.
  if (before === 'pending' && problemIn(problem).reason === TUNNEL_DOWN) return;
  const isNews = before === 'live' || (before === 'pending' && !waitsForPort(state, mapping));
  if (!isNews && (before !== 'blocked' || reason === problem)) return;
  setState(state, mapping, 'blocked', problem);
  if (isNews) state.event('PortChanged', about(mapping));
}

function settleRoutes(state: State, host: Host, problems: Map<string, string>): void {
  for (const lease of state.unrouted) {
    if (lease.record.state === 'fencing' || lease.routeRevision > host.appliedRevision || problems.has(`route/${lease.record.leaseId}`)) continue;
    routed(state, lease);
  }
}

function verify(state: State, host: Host, mappingId: string): void {
  const mapping = state.mappings.get(mappingId);
  if (mapping === undefined || mapping.record.host !== host.record.host || mapping.verified) return;
  // Before that the host had not heard of the target that is to be verified.
  if (mapping.hostRevision > host.appliedRevision) return;
  mapping.verified = true;
  state.touched.push(mappingId);
}
