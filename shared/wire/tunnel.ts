/** Tunnels of hosts, to and from messages of the contract. What passes here may become an argument of ssh or stand in its config. */
import type { Duration } from '../gen/google/protobuf/duration.js';
import * as wire from '../gen/portlease/v1/tunnels.js';
import { atMost, count, dnsLabel, matching, port, required, shown } from '../fields.js';
import { InvalidField } from '../invalid.js';
import { canonicalAddress, isBanner, isPublicHost, isSshOption, isSshOptionValue } from '../names.js';
import type { Endpoint, ForwardDirection, TunnelEngine, TunnelForward, TunnelProbe, TunnelReport, TunnelSpec, TunnelState, TunnelStatistics } from '../tunnel.js';
import { durationToMs, msToDuration } from './basics.js';

const MAX_FORWARDS = 64;
const MAX_OPTIONS = 32;
const MAX_MESSAGE = 512;
const MAX_LOG_LINES = 10;
const MAX_LOG_LINE = 200;
const DEFAULT_INTERVAL_MS = 10_000;
const DEFAULT_TIMEOUT_MS = 5_000;
const LOOPBACK = '127.0.0.1';
const REASON = /^[A-Z][A-Z0-9_]{0,63}$/;

const DIRECTIONS: Record<ForwardDirection, wire.ForwardDirection> = {
  local: wire.ForwardDirection.FORWARD_DIRECTION_LOCAL, reverse: wire.ForwardDirection.FORWARD_DIRECTION_REVERSE,
};
const ENGINES: Record<TunnelEngine, wire.TunnelEngine> = { autossh: wire.TunnelEngine.TUNNEL_ENGINE_AUTOSSH, ssh: wire.TunnelEngine.TUNNEL_ENGINE_SSH };
const STATES: Record<TunnelState, wire.TunnelState> = {
  pending: wire.TunnelState.TUNNEL_STATE_PENDING, waiting: wire.TunnelState.TUNNEL_STATE_WAITING, ending: wire.TunnelState.TUNNEL_STATE_ENDING,
  connecting: wire.TunnelState.TUNNEL_STATE_CONNECTING, up: wire.TunnelState.TUNNEL_STATE_UP, backoff: wire.TunnelState.TUNNEL_STATE_BACKOFF,
  blocked: wire.TunnelState.TUNNEL_STATE_BLOCKED, refused: wire.TunnelState.TUNNEL_STATE_REFUSED, stopped: wire.TunnelState.TUNNEL_STATE_STOPPED,
};
const STATE_OF = new Map(Object.entries(STATES).map(([state, value]) => [value, state as TunnelState]));

export function tunnelStateToWire(state: TunnelState): wire.TunnelState {
  return STATES[state];
}

export function tunnelSpecToWire({ tunnel, host, server, forwards, engine, probe, options }: TunnelSpec): wire.TunnelSpec {
  return {
    tunnel, host, server, forwards: forwards.map(({ direction, listen, to }) => ({ direction: DIRECTIONS[direction], listen: { ...listen }, to: { ...to } })),
    engine: engine === undefined ? wire.TunnelEngine.TUNNEL_ENGINE_UNSPECIFIED : ENGINES[engine],
    probe: probe && { forward: probe.forward, banner: probe.banner, interval: msToDuration(probe.intervalMs), timeout: msToDuration(probe.timeoutMs) },
    options: { ...options },
  };
}

/** In one form: what was left out is filled in, options are in order of name. So two specs are the same when their JSON is. */
export function tunnelSpecFromWire(value: wire.TunnelSpec | undefined, field: string): TunnelSpec {
  const spec = required(value, field);
  const forwards = forwardsFromWire(spec.forwards, `${field}.forwards`);
  return {
    tunnel: dnsLabel(spec.tunnel, `${field}.tunnel`),
    host: dnsLabel(spec.host, `${field}.host`),
    server: dnsLabel(spec.server, `${field}.server`),
    forwards,
    engine: engineFromWire(spec.engine, `${field}.engine`),
    probe: spec.probe && probeFromWire(spec.probe, { forwards: forwards.length, field: `${field}.probe` }),
    options: optionsFromWire(spec.options, `${field}.options`),
  };
}

function forwardsFromWire(values: readonly wire.TunnelForward[], field: string): TunnelForward[] {
  if (values.length === 0) throw new InvalidField(field, 'is empty: name at least one forward');
  const forwards = atMost(values, MAX_FORWARDS, field).map(({ direction, listen, to }, i): TunnelForward => ({
    direction: directionFromWire(direction, `${field}[${i}].direction`),
    listen: endpointFromWire(listen, `${field}[${i}].listen`, LOOPBACK),
    to: endpointFromWire(to, `${field}[${i}].to`),
  }));
  const places = forwards.map(({ direction, listen }) => `${direction} ${listen.host} ${listen.port}`);
  const twice = places.findIndex((place, i) => places.indexOf(place) !== i);
  if (twice >= 0) throw new InvalidField(`${field}[${twice}].listen`, 'is where another forward listens');
  return forwards;
}

function directionFromWire(value: wire.ForwardDirection, field: string): ForwardDirection {
  switch (value) {
    case wire.ForwardDirection.FORWARD_DIRECTION_LOCAL: return 'local';
    case wire.ForwardDirection.FORWARD_DIRECTION_REVERSE: return 'reverse';
    default: throw new InvalidField(field, `${String(value)} is not FORWARD_DIRECTION_LOCAL (1) or FORWARD_DIRECTION_REVERSE (2)`);
  }
}

/** `otherwise`: the host when none is said. */
function endpointFromWire(value: wire.Endpoint | undefined, field: string, otherwise = ''): Endpoint {
  const { host, port: number } = required(value, field);
  return { host: endpointHost(host === '' ? otherwise : host, `${field}.host`), port: port(number, `${field}.port`) };
}

/** An address comes back in canonical form. */
function endpointHost(value: string, field: string): string {
  if (value === '') throw new InvalidField(field, 'is missing');
  if (isPublicHost(value)) return canonicalAddress(value) ?? value;
  throw new InvalidField(field, `${shown(value)} is neither an address nor a host name of a-z 0-9 - and .`);
}

function engineFromWire(value: wire.TunnelEngine, field: string): TunnelEngine | undefined {
  switch (value) {
    case wire.TunnelEngine.TUNNEL_ENGINE_UNSPECIFIED: return undefined;
    case wire.TunnelEngine.TUNNEL_ENGINE_AUTOSSH: return 'autossh';
    case wire.TunnelEngine.TUNNEL_ENGINE_SSH: return 'ssh';
    default: throw new InvalidField(field, `${String(value)} is not a value of TunnelEngine`);
  }
}

function probeFromWire(value: wire.TunnelProbe, { forwards, field }: { forwards: number; field: string }): TunnelProbe {
  if (value.forward >= forwards) throw new InvalidField(`${field}.forward`, `${value.forward} is not one of the forwards: 0-${forwards - 1}`);
  if (!isBanner(value.banner)) throw new InvalidField(`${field}.banner`, `${shown(value.banner)} is not at most 128 printable characters of ASCII`);
  return {
    forward: value.forward,
    banner: value.banner,
    intervalMs: timeFromWire(value.interval, { field: `${field}.interval`, otherwise: DEFAULT_INTERVAL_MS, least: 1_000, most: 86_400_000 }),
    timeoutMs: timeFromWire(value.timeout, { field: `${field}.timeout`, otherwise: DEFAULT_TIMEOUT_MS, least: 100, most: 300_000 }),
  };
}

function timeFromWire(value: Duration | undefined, { field, otherwise, least, most }: { field: string; otherwise: number; least: number; most: number }): number {
  const ms = value === undefined ? otherwise : durationToMs(value, field);
  if (ms >= least && ms <= most) return ms;
  throw new InvalidField(field, `is ${ms} ms: at least ${least} ms, at most ${most} ms`);
}

function optionsFromWire(options: Readonly<Record<string, string>>, field: string): Record<string, string> {
  const entries = Object.entries(options).sort(([a], [b]) => (a < b ? -1 : 1));
  atMost(entries, MAX_OPTIONS, field);
  const names = new Set<string>();
  for (const [name, value] of entries) {
    if (!isSshOption(name)) throw new InvalidField(field, `${shown(name)} is not the name of an option of ssh: letters and digits, a letter first`);
    if (names.has(name.toLowerCase())) throw new InvalidField(field, `${name} comes twice: ssh does not tell upper from lower case`);
    names.add(name.toLowerCase());
    if (!isSshOptionValue(value)) throw new InvalidField(field, `${name}=${shown(value)}: a value has 1-255 of A-Z a-z 0-9 space . , : + ^ @ _ / = * -, the first one a letter, a digit, + or ^`);
  }
  return Object.fromEntries(entries);
}

export function tunnelReportToWire(report: TunnelReport): wire.TunnelReport {
  const { spec, isFromConfig, state, sinceMs, statistics, reason, message, isFlapping, pid, logTail, restart } = report;
  return {
    spec: tunnelSpecToWire(spec), fromConfig: isFromConfig, state: STATES[state], since: msToDuration(sinceMs), statistics: tunnelStatisticsToWire(statistics), reason,
    message: words(message, MAX_MESSAGE), flapping: isFlapping, pid, logTail: logTail.slice(-MAX_LOG_LINES).map((line) => words(line, MAX_LOG_LINE)), restart,
  };
}

/** Texts that a server or a tool may have chosen are cut and put on one line rather than refused: the rest of the report matters. */
export function tunnelReportFromWire(value: wire.TunnelReport, field: string): TunnelReport {
  const state = STATE_OF.get(value.state);
  if (state === undefined) throw new InvalidField(`${field}.state`, `${String(value.state)} is not a value of TunnelState`);
  return {
    spec: tunnelSpecFromWire(value.spec, `${field}.spec`),
    isFromConfig: value.fromConfig,
    state,
    sinceMs: durationToMs(required(value.since, `${field}.since`), `${field}.since`),
    statistics: statisticsFromWire(required(value.statistics, `${field}.statistics`), `${field}.statistics`),
    reason: value.reason === '' ? '' : matching(value.reason, REASON, { field: `${field}.reason`, wanted: 'a reason: 1-64 characters of A-Z 0-9 _' }),
    message: words(value.message, MAX_MESSAGE),
    isFlapping: value.flapping,
    pid: value.pid,
    logTail: value.logTail.slice(-MAX_LOG_LINES).map((line) => words(line, MAX_LOG_LINE)),
    restart: count(value.restart, `${field}.restart`),
  };
}

export function tunnelStatisticsToWire({ probesFailed, probeTimeMs, probeAgeMs, restartTimeMs, ...same }: TunnelStatistics): wire.TunnelStatistics {
  return { ...same, probesFailed, probeTime: optionalDuration(probeTimeMs), probeAge: optionalDuration(probeAgeMs), restartTime: optionalDuration(restartTimeMs) };
}

function statisticsFromWire(value: wire.TunnelStatistics, field: string): TunnelStatistics {
  return {
    attempts: value.attempts,
    connections: count(value.connections, `${field}.connections`),
    failures: count(value.failures, `${field}.failures`),
    restarts: count(value.restarts, `${field}.restarts`),
    probes: count(value.probes, `${field}.probes`),
    probesFailed: count(value.probesFailed, `${field}.probes_failed`),
    probeTimeMs: optionalMs(value.probeTime, `${field}.probe_time`),
    probeAgeMs: optionalMs(value.probeAge, `${field}.probe_age`),
    restartTimeMs: optionalMs(value.restartTime, `${field}.restart_time`),
  };
}

function optionalDuration(ms: number | undefined): Duration | undefined {
  return ms === undefined ? undefined : msToDuration(ms);
}

function optionalMs(value: Duration | undefined, field: string): number | undefined {
  return value === undefined ? undefined : durationToMs(value, field);
}

function words(text: string, max: number): string {
  return text.slice(0, max).replace(/\p{C}+/gu, ' ').trim();
}
