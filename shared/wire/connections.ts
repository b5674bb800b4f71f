/** What a pool says of connections, and how a gateway with nginx fared, to and from messages of the contract. */
import type { RouteObject } from '../gen/portlease/v1/agents.js';
import { TlsMode as WireTlsMode, type RouteFigures as WireFigures } from '../gen/portlease/v1/common.js';
import type { RouteConnections, RouteFigures, TlsMode } from '../desired.js';
import { count, dnsLabel } from '../fields.js';
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

export function routeFiguresToWire(figures: RouteFigures | undefined): WireFigures | undefined {
  if (figures === undefined) return undefined;
  const { latency, ...counts } = figures;
  return { ...counts, latencyP50: latency && msToDuration(latency.p50Ms), latencyP99: latency && msToDuration(latency.p99Ms) };
}

export function routeFiguresFromWire(value: WireFigures, field: string): RouteFigures {
  const { reloads, failures, served, latencyP50, latencyP99 } = value;
  const [p50Ms, p99Ms] = [durationToMs(latencyP50 ?? NO_TIME, `${field}.latency_p50`), durationToMs(latencyP99 ?? NO_TIME, `${field}.latency_p99`)];
  return {
    reloads: count(reloads, `${field}.reloads`), failures: count(failures, `${field}.failures`), served: count(served, `${field}.served`),
    latency: latencyP50 === undefined ? undefined : { p50Ms, p99Ms },
  };
}

const NO_TIME = { seconds: 0, nanos: 0 };
