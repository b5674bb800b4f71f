/** The words that people read and type for the enums of the contract, and how times and addresses are shown. */
import { Role, roleToJSON } from '../shared/gen/portlease/v1/agents.js';
import { mappingStateToJSON, OnConflict, protocolToJSON, Protocol, TlsMode, Wait, type MappingState, type Target, MappingState as State } from '../shared/gen/portlease/v1/common.js';
import {
  gatewayScopeToJSON, GatewayScope, hostDutyToJSON, hostStateToJSON, IdleAction, leaseStateToJSON, Strategy, type HostDuty, type HostState, type LeaseState,
} from '../shared/gen/portlease/v1/operations.js';
import { forwardDirectionToJSON, tunnelEngineToJSON, TunnelEngine, tunnelStateToJSON, type ForwardDirection, type TunnelState } from '../shared/gen/portlease/v1/tunnels.js';
import { environmentStatusToJSON, type EnvironmentStatus } from '../shared/gen/portlease/v1/ports.js';
import type { Duration } from '../shared/gen/google/protobuf/duration.js';
import type { Timestamp } from '../shared/gen/google/protobuf/timestamp.js';
import { rangeText, type PortRange } from '../shared/ports.js';
import { targetText as textOfTarget } from '../shared/target.js';
import { durationToMs, targetFromWire } from '../shared/wire.js';

export const PROTOCOLS = { tcp: Protocol.PROTOCOL_TCP, udp: Protocol.PROTOCOL_UDP, 'tcp+udp': Protocol.PROTOCOL_TCP_UDP } as const;
export const SCOPES = { shared: GatewayScope.GATEWAY_SCOPE_SHARED, host: GatewayScope.GATEWAY_SCOPE_HOST } as const;
export const ROLES = { host: Role.ROLE_HOST, gateway: Role.ROLE_GATEWAY } as const;
export const IDLE_ACTIONS = { report: IdleAction.IDLE_ACTION_REPORT, release: IdleAction.IDLE_ACTION_RELEASE } as const;
export const TLS_MODES = { none: TlsMode.TLS_MODE_NONE, terminate: TlsMode.TLS_MODE_TERMINATE, passthrough: TlsMode.TLS_MODE_PASSTHROUGH } as const;
export const ON_CONFLICT = { block: OnConflict.ON_CONFLICT_BLOCK, renumber: OnConflict.ON_CONFLICT_RENUMBER } as const;
export const WAITS = { recorded: Wait.WAIT_RECORDED, live: Wait.WAIT_LIVE, verified: Wait.WAIT_VERIFIED } as const;
export const TUNNEL_ENGINES = { autossh: TunnelEngine.TUNNEL_ENGINE_AUTOSSH, ssh: TunnelEngine.TUNNEL_ENGINE_SSH } as const;
export const STRATEGIES = {
  sequential: Strategy.STRATEGY_SEQUENTIAL,
  random: Strategy.STRATEGY_RANDOM,
  'least-recently-used': Strategy.STRATEGY_LEAST_RECENTLY_USED,
} as const;
export const MAPPING_STATES = {
  pending: State.MAPPING_STATE_PENDING,
  live: State.MAPPING_STATE_LIVE,
  blocked: State.MAPPING_STATE_BLOCKED,
  held: State.MAPPING_STATE_HELD,
  releasing: State.MAPPING_STATE_RELEASING,
} as const;

export const protocolWord = (protocol: Protocol) => word(protocolToJSON(protocol), 'PROTOCOL_').replace('tcp-udp', 'tcp+udp');
export const scopeWord = (scope: GatewayScope) => word(gatewayScopeToJSON(scope), 'GATEWAY_SCOPE_');
export const hostStateWord = (state: HostState) => word(hostStateToJSON(state), 'HOST_STATE_');
export const hostDutyWord = (duty: HostDuty) => word(hostDutyToJSON(duty), 'HOST_DUTY_');
export const leaseStateWord = (state: LeaseState) => word(leaseStateToJSON(state), 'LEASE_STATE_');
export const mappingStateWord = (state: MappingState) => word(mappingStateToJSON(state), 'MAPPING_STATE_');
export const environmentStatusWord = (status: EnvironmentStatus) => word(environmentStatusToJSON(status), 'ENVIRONMENT_STATUS_');
export const tunnelStateWord = (state: TunnelState) => word(tunnelStateToJSON(state), 'TUNNEL_STATE_');
export const tunnelEngineWord = (engine: TunnelEngine) => word(tunnelEngineToJSON(engine), 'TUNNEL_ENGINE_');
export const forwardDirectionWord = (direction: ForwardDirection) => word(forwardDirectionToJSON(direction), 'FORWARD_DIRECTION_');
export const roleWord = (role: Role) => word(roleToJSON(role), 'ROLE_');

function word(name: string, prefix: string): string {
  const rest = name.startsWith(prefix) ? name.slice(prefix.length) : name;
  return rest === 'UNSPECIFIED' ? '' : rest.toLowerCase().replaceAll('_', '-');
}

/** "10.0.0.1:22", "[2001:db8::1]:22"; '' without an address. */
export function endpoint(address: string, port: number): string {
  if (address === '') return '';
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

export function targetText(target: Target | undefined, internalPort: number): string {
  if (target?.kind === undefined) return '';
  return target.kind.$case === 'address' ? endpoint(target.kind.value, internalPort) : `${textOfTarget(targetFromWire(target))} port ${internalPort}`;
}

export function rangesText(ranges: readonly PortRange[]): string {
  return ranges.map(rangeText).join(',');
}

/** "850ms", "12s", "3m 20s", "2h 5m", "4d 1h": the two largest units. '' when unset. */
export function durationText(duration: Duration | undefined): string {
  return duration === undefined ? '' : msText(durationToMs(duration));
}

export function msText(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)}ms`;
  const seconds = Math.round(ms / 1_000);
  const units: [string, number][] = [['d', Math.floor(seconds / 86_400)], ['h', Math.floor(seconds / 3_600) % 24], ['m', Math.floor(seconds / 60) % 60], ['s', seconds % 60]];
  const first = units.findIndex(([, count]) => count > 0);
  return units.slice(first, first + 2).filter(([, count]) => count > 0).map(([unit, count]) => `${count}${unit}`).join(' ');
}

/** UTC, to the second: "2026-01-31 09:30:00Z"; '' when unset. */
export function timeText(timestamp: Timestamp | undefined): string {
  if (timestamp === undefined) return '';
  return new Date(timestamp.seconds * 1_000).toISOString().replace('T', ' ').replace(/\.\d+Z$/, 'Z');
}
