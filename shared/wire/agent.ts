/** What an agent says: hello, report and heartbeat, to and from messages of the contract. */
import { routeFiguresFromWire, routeFiguresToWire } from './connections.js';
import { Driver as WireDriver, EnvironmentState as WireEnvironmentState, Role as WireRole, type Confirmation as WireConfirmation, type EnvironmentReport as WireEnvironment, type HeartbeatRequest, type HeldGrant as WireGrant, type Hello, type IdleMapping as WireIdle, type ObjectProblem as WireProblem, type Report } from '../gen/portlease/v1/agents.js';
import { MAX_TUNNELS, type AgentHello, type AgentReport, type Confirmation, type Driver, type HeldGrant, type IdleMapping, type ObjectProblem, type Role } from '../desired.js';
import { atMost, count, dnsLabel, ipAddress, matching, objectId, port, required, sshPublicKey } from '../fields.js';
import { InvalidField } from '../invalid.js';
import type { EnvironmentReport, EnvironmentState } from '../container.js';
import type { Transport } from '../ports.js';
import { conflictsFromWire, conflictToWire } from './conflict.js';
import { leaksFromWire, leakToWire } from './leak.js';
import { durationToMs, msToDuration, protocolFromWire, protocolToWire, rangeFromWire, rangeToWire } from './basics.js';
import { credentialsFromWire, credentialsToWire } from './container.js';
import { tunnelReportFromWire, tunnelReportToWire } from './tunnel.js';
import { grantFromWire, grantToWire, objectFromWire, objectKey, objectToWire, versionFromWire } from './state.js';

export type { AgentHello } from '../desired.js';

export type AgentHeartbeat = { host: string; session: number; sequence: number; acceptedRevision: number; digest: string };

const MAX_ADDRESSES = 16;
const MAX_CAPABILITIES = 64;
const MAX_MESSAGE = 512;
/** Idle mappings in one report. */
export const MAX_IDLE = 4_096;
const BOOT_ID = /^[A-Za-z0-9][A-Za-z0-9-]{0,63}$/;
const VERSION = /^[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}$/;
const CAPABILITY = /^[a-z][a-z0-9-]{0,63}$/;
const REASON = /^[A-Z][A-Z0-9_]{0,63}$/;
const DIGEST = /^[0-9a-f]{16}$/;
const OCCUPIED = /^(?:tcp|udp)\/[0-9]{1,5}$/;

export function helloToWire(hello: AgentHello): Hello {
  const { agentVersion, roles, leases, routes, accepted, state, driver = 'iptables', hidesClients = false, tunnelKey = '', capabilities = [], ...same } = hello;
  return {
    ...same,
    version: agentVersion,
    roles: roles.map(roleToWire),
    driver: WIRE_DRIVERS[driver],
    hidesClients,
    tunnelKey,
    capabilities: [...capabilities],
    accepted: accepted && { ...accepted },
    leases: leases.map(heldToWire),
    routes: routes.map(heldToWire),
    state: state && { objects: state.map(objectToWire) },
  };
}

export function helloFromWire(value: Hello, field = 'hello'): AgentHello {
  return {
    host: dnsLabel(value.host, `${field}.host`),
    gateway: dnsLabel(value.gateway, `${field}.gateway`),
    bootId: matching(value.bootId, BOOT_ID, { field: `${field}.boot_id`, wanted: 'a boot id: 1-64 characters of A-Z a-z 0-9 -, not - at the begin' }),
    agentVersion: matching(value.version, VERSION, { field: `${field}.version`, wanted: 'a version: 1-64 characters of A-Z a-z 0-9 . + _ -' }),
    roles: rolesFromWire(value.roles, `${field}.roles`),
    addresses: addressesFromWire(value.addresses, `${field}.addresses`),
    driver: driverFromWire(value.driver, `${field}.driver`),
    ...(value.hidesClients ? { hidesClients: true } : {}),
    ...(value.tunnelKey === '' ? {} : { tunnelKey: sshPublicKey(value.tunnelKey, `${field}.tunnel_key`) }),
    ...(value.capabilities.length === 0 ? {} : { capabilities: capabilitiesFromWire(value.capabilities, `${field}.capabilities`) }),
    lastSession: count(value.lastSession, `${field}.last_session`),
    accepted: value.accepted && versionFromWire(value.accepted, `${field}.accepted`),
    leases: value.leases.map((grant, i) => ({ ...grantFromWire(grant, `${field}.leases[${i}]`), host: '' })),
    routes: value.routes.map((grant, i) => heldRouteFromWire(grant, `${field}.routes[${i}]`)),
    state: value.state?.objects.map((object, i) => objectFromWire(object, `${field}.state.objects[${i}]`)),
  };
}

function capabilitiesFromWire(values: readonly string[], field: string): string[] {
  return atMost(values, MAX_CAPABILITIES, field).map((value, i) => matching(value, CAPABILITY, { field: `${field}[${i}]`, wanted: 'a capability: 1-64 characters of a-z 0-9 -, a letter first' }));
}

const WIRE_DRIVERS: Record<Driver, WireDriver> = { iptables: WireDriver.DRIVER_IPTABLES, userspace: WireDriver.DRIVER_USERSPACE };

function driverFromWire(value: WireDriver, field: string): Driver {
  switch (value) {
    case WireDriver.DRIVER_UNSPECIFIED:
    case WireDriver.DRIVER_IPTABLES: return 'iptables';
    case WireDriver.DRIVER_USERSPACE: return 'userspace';
    default: throw new InvalidField(field, `${String(value)} is not DRIVER_IPTABLES (1) or DRIVER_USERSPACE (2)`);
  }
}

function roleToWire(role: Role): WireRole {
  return role === 'host' ? WireRole.ROLE_HOST : WireRole.ROLE_GATEWAY;
}

function rolesFromWire(values: readonly WireRole[], field: string): Role[] {
  const roles = atMost(values, 2, field).map((value, i) => roleFromWire(value, `${field}[${i}]`));
  if (roles.length === 0) throw new InvalidField(field, 'is empty: at least one of ROLE_HOST and ROLE_GATEWAY');
  return [...new Set(roles)];
}

function roleFromWire(value: WireRole, field: string): Role {
  switch (value) {
    case WireRole.ROLE_HOST: return 'host';
    case WireRole.ROLE_GATEWAY: return 'gateway';
    default: throw new InvalidField(field, `${String(value)} is not ROLE_HOST (1) or ROLE_GATEWAY (2)`);
  }
}

function addressesFromWire(values: readonly string[], field: string): string[] {
  if (values.length === 0) throw new InvalidField(field, 'is empty: at least one lease address');
  return atMost(values, MAX_ADDRESSES, field).map((value, i) => ipAddress(value, `${field}[${i}]`));
}

function heldToWire(grant: HeldGrant): WireGrant {
  return { ...grantToWire(grant), host: grant.host };
}

function heldRouteFromWire(value: WireGrant, field: string): HeldGrant {
  return { ...grantFromWire(value, field), host: dnsLabel(value.host, `${field}.host`) };
}

export function reportToWire(report: AgentReport): Report {
  return {
    session: report.session,
    applied: { ...report.applied },
    problems: report.problems.map((problem) => ({ ...problem, message: oneLine(problem.message) })),
    confirmations: report.confirmations.map(confirmationToWire),
    verified: [...report.verified],
    driftRepairs: report.driftRepairs,
    occupied: report.occupied.map(({ transport, port: number }) => `${transport}/${number}`),
    conflicts: (report.conflicts ?? []).map(conflictToWire),
    idle: (report.idle ?? []).map(({ mappingId, generation, idleMs, lives }) => ({ mappingId, generation, idle: msToDuration(idleMs), environmentLives: lives })),
    environments: (report.environments ?? []).map(environmentToWire),
    leaks: (report.leaks ?? []).map(leakToWire),
    tunnels: (report.tunnels ?? []).slice(0, MAX_TUNNELS).map(tunnelReportToWire),
    routes: routeFiguresToWire(report.routes),
  };
}

export function reportFromWire(value: Report, field = 'report'): AgentReport {
  const idle = atMost(value.idle, MAX_IDLE, `${field}.idle`).map((one, i) => idleFromWire(one, `${field}.idle[${i}]`));
  return {
    session: count(value.session, `${field}.session`),
    applied: versionFromWire(required(value.applied, `${field}.applied`), `${field}.applied`),
    problems: value.problems.map((problem, i) => problemFromWire(problem, `${field}.problems[${i}]`)),
    confirmations: value.confirmations.map((confirmation, i) => confirmationFromWire(confirmation, `${field}.confirmations[${i}]`)),
    verified: value.verified.map((id, i) => objectId(id, `${field}.verified[${i}]`)),
    driftRepairs: count(value.driftRepairs, `${field}.drift_repairs`),
    occupied: value.occupied.map((text, i) => occupiedFromWire(text, `${field}.occupied[${i}]`)),
    conflicts: conflictsFromWire(value.conflicts, `${field}.conflicts`),
    ...(idle.length === 0 ? {} : { idle }),
    ...(value.routes === undefined ? {} : { routes: routeFiguresFromWire(value.routes, `${field}.routes`) }),
    ...(value.environments.length === 0 ? {} : { environments: value.environments.map((one, i) => environmentFromWire(one, `${field}.environments[${i}]`)) }),
    ...(value.leaks.length === 0 ? {} : { leaks: leaksFromWire(value.leaks, `${field}.leaks`) }),
    ...(value.tunnels.length === 0 ? {} : { tunnels: atMost(value.tunnels, MAX_TUNNELS, `${field}.tunnels`).map((one, i) => tunnelReportFromWire(one, `${field}.tunnels[${i}]`)) }),
  };
}

function idleFromWire(value: WireIdle, field: string): IdleMapping {
  return {
    mappingId: objectId(value.mappingId, `${field}.mapping_id`),
    generation: count(value.generation, `${field}.generation`),
    idleMs: durationToMs(required(value.idle, `${field}.idle`), `${field}.idle`),
    lives: value.environmentLives,
  };
}

const WIRE_STATES: Record<EnvironmentState, WireEnvironmentState> = {
  working: WireEnvironmentState.ENVIRONMENT_STATE_WORKING, started: WireEnvironmentState.ENVIRONMENT_STATE_STARTED,
  failed: WireEnvironmentState.ENVIRONMENT_STATE_FAILED, removed: WireEnvironmentState.ENVIRONMENT_STATE_REMOVED,
};
const STATES = new Map(Object.entries(WIRE_STATES).map(([state, value]) => [value, state as EnvironmentState]));
const STEP = /^[a-z]{1,32}$/;
const CONTAINER_ID = /^[0-9a-f]{0,64}$/;

function environmentToWire({ credentials, state, message, ...same }: EnvironmentReport): WireEnvironment {
  return { ...same, state: WIRE_STATES[state], message: oneLine(message), credentials: credentialsToWire(credentials) };
}

function environmentFromWire(value: WireEnvironment, field: string): EnvironmentReport {
  const state = STATES.get(value.state);
  if (state === undefined) throw new InvalidField(`${field}.state`, `${String(value.state)} is not a value of EnvironmentState`);
  if (value.percent > 100) throw new InvalidField(`${field}.percent`, `${value.percent} is more than 100`);
  return {
    environment: dnsLabel(value.environment, `${field}.environment`),
    generation: count(value.generation, `${field}.generation`),
    state,
    step: matching(value.step, STEP, { field: `${field}.step`, wanted: 'the name of a step: 1-32 characters of a-z' }),
    reason: value.reason === '' ? '' : matching(value.reason, REASON, { field: `${field}.reason`, wanted: 'a reason: 1-64 characters of A-Z 0-9 _' }),
    message: oneLine(value.message),
    percent: value.percent,
    containerId: matching(value.containerId, CONTAINER_ID, { field: `${field}.container_id`, wanted: 'the id of a container: at most 64 hexadecimal digits' }),
    credentials: credentialsFromWire(value.credentials, `${field}.credentials`),
    rotation: count(value.rotation, `${field}.rotation`),
  };
}

function problemFromWire(value: WireProblem, field: string): ObjectProblem {
  return {
    key: objectKey(value.key, `${field}.key`),
    reason: matching(value.reason, REASON, { field: `${field}.reason`, wanted: 'a reason: 1-64 characters of A-Z 0-9 _' }),
    message: oneLine(value.message),
  };
}

/** What a tool printed may be in it: cut and put on one line rather than refused, for the rest of the report matters. */
function oneLine(text: string): string {
  return text.slice(0, MAX_MESSAGE).replace(/\p{Cc}+/gu, ' ');
}

function confirmationToWire({ key, generation, ports, protocol }: Confirmation): WireConfirmation {
  return { key, generation, ports: rangeToWire(ports), protocol: protocolToWire(protocol) };
}

function confirmationFromWire(value: WireConfirmation, field: string): Confirmation {
  return {
    key: objectKey(value.key, `${field}.key`),
    generation: count(value.generation, `${field}.generation`),
    ports: rangeFromWire(value.ports, `${field}.ports`),
    protocol: protocolFromWire(value.protocol, `${field}.protocol`),
  };
}

function occupiedFromWire(text: string, field: string): { transport: Transport; port: number } {
  matching(text, OCCUPIED, { field, wanted: 'a transport and a port, as in "tcp/30001"' });
  return { transport: text.startsWith('tcp') ? 'tcp' : 'udp', port: port(Number(text.slice(4)), field) };
}

export function heartbeatToWire(heartbeat: AgentHeartbeat): HeartbeatRequest {
  return { ...heartbeat };
}

export function heartbeatFromWire(value: HeartbeatRequest): AgentHeartbeat {
  return {
    host: dnsLabel(value.host, 'host'),
    session: count(value.session, 'session'),
    sequence: count(value.sequence, 'sequence'),
    acceptedRevision: count(value.acceptedRevision, 'accepted_revision'),
    digest: matching(value.digest, DIGEST, { field: 'digest', wanted: '16 hexadecimal digits, lower case' }),
  };
}
