/** Ports, ranges and protocols: the words that both daemons share. */

/** What a port, mapping or lease serves. 'tcp+udp': one number for both. */
export type Protocol = 'tcp' | 'udp' | 'tcp+udp';

/** A transport protocol by itself. */
export type Transport = 'tcp' | 'udp';

/** Ports first..last, both included; 1 <= first <= last <= 65535. */
export type PortRange = { readonly first: number; readonly last: number };

export const MAX_PORT = 65_535;

export function isPort(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= MAX_PORT;
}

/** The transport protocols that a protocol stands for. */
export function transportsOf(protocol: Protocol): readonly Transport[] {
  return TRANSPORTS[protocol];
}

const TRANSPORTS: Record<Protocol, readonly Transport[]> = { tcp: ['tcp'], udp: ['udp'], 'tcp+udp': ['tcp', 'udp'] };

/** True when every transport of `inner` is one of `outer`. */
export function covers(outer: Protocol, inner: Protocol): boolean {
  return outer === 'tcp+udp' || outer === inner;
}

export function rangeSize(range: PortRange): number {
  return range.last - range.first + 1;
}

export function overlaps(a: PortRange, b: PortRange): boolean {
  return a.first <= b.last && b.first <= a.last;
}

export function rangeText(range: PortRange): string {
  return range.first === range.last ? `${range.first}` : `${range.first}-${range.last}`;
}
