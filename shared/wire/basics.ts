/** Ports, protocols, targets and times, to and from messages of the contract. */
import type { Duration } from '../gen/google/protobuf/duration.js';
import type { Timestamp } from '../gen/google/protobuf/timestamp.js';
import { IpFamily, Protocol as WireProtocol, type PortRange as WireRange, type Target as WireTarget } from '../gen/portlease/v1/common.js';
import { port, required } from '../fields.js';
import { InvalidField } from '../invalid.js';
import type { PortRange, Protocol } from '../ports.js';
import { addressTarget, dockerName, type Target } from '../target.js';

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

const FAMILY_TO_WIRE = { 0: IpFamily.IP_FAMILY_UNSPECIFIED, 4: IpFamily.IP_FAMILY_IPV4, 6: IpFamily.IP_FAMILY_IPV6 } as const;

export function targetToWire(target: Target): WireTarget {
  switch (target.kind) {
    case 'address': return { kind: { $case: 'address', value: target.address } };
    case 'container': return { kind: { $case: 'container', value: { container: target.container, network: target.network, family: FAMILY_TO_WIRE[target.family] } } };
    case 'published': return { kind: { $case: 'published', value: { container: target.container } } };
    default: return target satisfies never;
  }
}

/** An address comes back in canonical form. Refuses loopback, link-local, multicast, unspecified and reserved ones. */
export function targetFromWire(value: WireTarget | undefined, field = 'target'): Target {
  const kind = required(required(value, field).kind, field);
  const nameIn = (text: string, path: string): string => (text === '' ? '' : dockerName(text, `${field}.${path}`));
  switch (kind.$case) {
    case 'address': return addressTarget(kind.value, `${field}.address`);
    case 'published': return { kind: 'published', container: nameIn(kind.value.container, 'published.container') };
    case 'container': {
      const { container, network, family } = kind.value;
      return {
        kind: 'container', container: nameIn(container, 'container.container'), network: nameIn(network, 'container.network'),
        family: familyFromWire(family, `${field}.container.family`),
      };
    }
    default: return kind satisfies never;
  }
}

function familyFromWire(value: IpFamily, field: string): 0 | 4 | 6 {
  switch (value) {
    case IpFamily.IP_FAMILY_UNSPECIFIED: return 0;
    case IpFamily.IP_FAMILY_IPV4: return 4;
    case IpFamily.IP_FAMILY_IPV6: return 6;
    default: throw new InvalidField(field, `${String(value)} is not a value of IpFamily`);
  }
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
