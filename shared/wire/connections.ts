/** What a pool says of connections, to and from messages of the contract. */
import type { RouteObject } from '../gen/portlease/v1/agents.js';
import { TlsMode as WireTlsMode } from '../gen/portlease/v1/common.js';
import type { RouteConnections, TlsMode } from '../desired.js';
import { dnsLabel } from '../fields.js';
import { InvalidField } from '../invalid.js';
import { durationToMs, msToDuration } from './basics.js';

const TO_WIRE: Record<TlsMode, WireTlsMode> = { none: WireTlsMode.TLS_MODE_NONE, terminate: WireTlsMode.TLS_MODE_TERMINATE, passthrough: WireTlsMode.TLS_MODE_PASSTHROUGH };

export function tlsModeToWire(mode: TlsMode): WireTlsMode {
  return TO_WIRE[mode];
}

/** 'none' for TLS_MODE_UNSPECIFIED. */
export function tlsModeFromWire(value: WireTlsMode, field: string): TlsMode {
  switch (value) {
    case WireTlsMode.TLS_MODE_UNSPECIFIED:
    case WireTlsMode.TLS_MODE_NONE: return 'none';
    case WireTlsMode.TLS_MODE_TERMINATE: return 'terminate';
    case WireTlsMode.TLS_MODE_PASSTHROUGH: return 'passthrough';
    default: throw new InvalidField(field, `${String(value)} is not a value of TlsMode`);
  }
}

export function connectionsToWire(connections: RouteConnections | undefined): Pick<RouteObject, 'pool' | 'tls' | 'connectionTimeout'> {
  const { pool, tls, timeoutMs } = connections ?? { pool: '', tls: 'none', timeoutMs: 0 };
  return { pool, tls: tlsModeToWire(tls), connectionTimeout: timeoutMs === 0 ? undefined : msToDuration(timeoutMs) };
}

export function connectionsFromWire(value: RouteObject, field: string): { connections?: RouteConnections } {
  const tls = tlsModeFromWire(value.tls, `${field}.tls`);
  const timeoutMs = value.connectionTimeout === undefined ? 0 : durationToMs(value.connectionTimeout, `${field}.connection_timeout`);
  if (value.pool === '' && tls === 'none' && timeoutMs === 0) return {};
  return { connections: { pool: dnsLabel(value.pool, `${field}.pool`), tls, timeoutMs } };
}
