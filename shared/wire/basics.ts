/** Ports, protocols, targets and times, to and from messages of the contract. */
import type { Duration } from '../gen/google/protobuf/duration.js';
import type { Timestamp } from '../gen/google/protobuf/timestamp.js';
import { Protocol as WireProtocol, type PortRange as WireRange, type Target as WireTarget } from '../gen/portlease/v1/common.js';
import type { Target } from '../desired.js';
import { ipAddress, port, required } from '../fields.js';
import { InvalidField } from '../invalid.js';
import { isTargetAddress } from '../names.js';
import type { PortRange, Protocol } from '../ports.js';

const TO_WIRE: Record<Protocol, WireProtocol> = {
  tcp: WireProtocol.PROTOCOL_TCP,
  udp: WireProtocol.PROTOCOL_UDP,
  'tcp+udp': WireProtocol.PROTOCOL_TCP_UDP,
};

export function protocolToWire(protocol: Protocol): WireProtocol {
  return TO_WIRE[protocol];
}

/** Refuses PROTOCOL_UNSPECIFIED and numbers that the contract does not name. */
export function protocolFromWire(value: WireProtocol, field = 'protocol'): Protocol {
  const protocol = optionalProtocolFromWire(value, field);
  if (protocol === undefined) throw new InvalidField(field, 'is missing: PROTOCOL_TCP, PROTOCOL_UDP or PROTOCOL_TCP_UDP');
  return protocol;
}

/** undefined for PROTOCOL_UNSPECIFIED. */
export function optionalProtocolFromWire(value: WireProtocol, field = 'protocol'): Protocol | undefined {
  switch (value) {
    case WireProtocol.PROTOCOL_UNSPECIFIED: return undefined;
    case WireProtocol.PROTOCOL_TCP: return 'tcp';
    case WireProtocol.PROTOCOL_UDP: return 'udp';
    case WireProtocol.PROTOCOL_TCP_UDP: return 'tcp+udp';
    default: throw new InvalidField(field, `${String(value)} is not a value of Protocol`);
  }
}

export function rangeToWire(range: PortRange): WireRange {
  return { first: range.first, last: range.last };
}

export function rangeFromWire(value: WireRange | undefined, field = 'ports'): PortRange {
  const range = required(value, field);
  const first = port(range.first, `${field}.first`);
  const last = port(range.last, `${field}.last`);
  if (first > last) throw new InvalidField(field, `first ${first} is greater than last ${last}`);
  return { first, last };
}

export function targetToWire(target: Target): WireTarget {
  return { kind: { $case: 'address', value: target.address } };
}

/** The address comes back in canonical form. Refuses loopback, link-local, multicast, unspecified and reserved ones. */
export function targetFromWire(value: WireTarget | undefined, field = 'target'): Target {
  const kind = required(required(value, field).kind, field);
  const at = `${field}.address`;
  const address = ipAddress(kind.value, at);
  if (!isTargetAddress(address)) {
    throw new InvalidField(at, `${address} may not be a target: loopback, link-local, multicast, unspecified and reserved addresses are refused`);
  }
  return { kind: 'address', address };
}

const MAX_DURATION_SECONDS = 315_576_000_000;

/** Milliseconds, rounded up, so that a short duration does not become none. Refuses negative and out-of-range ones. */
export function durationToMs(duration: Duration, field = 'duration'): number {
  const { seconds, nanos } = duration;
  const valid = Number.isSafeInteger(seconds) && seconds >= 0 && seconds <= MAX_DURATION_SECONDS
    && Number.isInteger(nanos) && nanos >= 0 && nanos < 1e9;
  if (!valid) throw new InvalidField(field, `${seconds} s and ${nanos} ns are not a duration from 0 to 10,000 years`);
  return seconds * 1000 + Math.ceil(nanos / 1e6);
}

export function msToDuration(ms: number): Duration {
  return secondsAndNanos(ms);
}

/** `ms` since 1970. */
export function msToTimestamp(ms: number): Timestamp {
  return secondsAndNanos(ms);
}

function secondsAndNanos(ms: number): { seconds: number; nanos: number } {
  const seconds = Math.floor(ms / 1000);
  return { seconds, nanos: Math.round((ms - seconds * 1000) * 1e6) };
}
