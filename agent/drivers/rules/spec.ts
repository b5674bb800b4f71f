/** What the rules driver is asked to bring about, and what it refuses. */
import { BlockList, isIP, SocketAddress } from 'node:net';
import { isPort, overlaps, rangeText, type PortRange, type Transport } from '../../../shared/ports.js';

export type Family = 'v4' | 'v6';

export const FAMILIES: readonly Family[] = ['v4', 'v6'];
export const TRANSPORTS: readonly Transport[] = ['tcp', 'udp'];

/** Public ports of the lease addresses that lead to a target: a mapping of a host, or a route of a gateway. */
export type Forward = {
  /** Of the mapping or lease. */
  readonly id: string;
  readonly generation: number;
  readonly transport: Transport;
  readonly ports: PortRange;
  /** Address of the target; its family decides which lease addresses serve it. */
  readonly to: string;
  /** Port of the target; undefined: the port is kept. A range keeps its ports. */
  readonly toPort: number | undefined;
  /** True: targets of this machine may call each other, and themselves, through these ports. */
  readonly hairpin: boolean;
};

export type Leased = { readonly ports: PortRange; readonly transport: Transport };

export type RulesSpec = {
  /** Lease addresses of this machine, IPv4 and IPv6. */
  readonly addresses: readonly string[];
  /** Ports that reach nothing on this machine but by a forward. They need not be disjoint. */
  readonly leased: readonly Leased[];
  readonly forwards: readonly Forward[];
  /** True: targets see this machine's address instead of the client's. */
  readonly snat: boolean;
};

const ID = /^[a-z0-9-]{1,18}$/;

const NEVER = new BlockList();
NEVER.addSubnet('0.0.0.0', 8, 'ipv4');
NEVER.addSubnet('127.0.0.0', 8, 'ipv4');
NEVER.addSubnet('169.254.0.0', 16, 'ipv4');
NEVER.addSubnet('224.0.0.0', 3, 'ipv4');
NEVER.addSubnet('::', 127, 'ipv6');
NEVER.addSubnet('fe80::', 10, 'ipv6');
NEVER.addSubnet('ff00::', 8, 'ipv6');

export function familyOf(address: string): Family {
  return isIP(address) === 6 ? 'v6' : 'v4';
}

/** The address as the kernel's tools print it. */
export function canonicalAddress(address: string): string {
  return familyOf(address) === 'v4' ? address : new SocketAddress({ address, family: 'ipv6' }).address;
}

/** Why the address can be neither a lease address nor a target; undefined when it can. */
export function addressProblem(address: string): string | undefined {
  const kind = isIP(address);
  if (kind === 0 || address.includes('%')) return `${JSON.stringify(address)} is not an IP address`;
  const refused = NEVER.check(address, kind === 6 ? 'ipv6' : 'ipv4') || canonicalAddress(address).startsWith('::ffff:');
  return refused ? `${address} is loopback, link-local, multicast, unspecified or IPv4 in IPv6` : undefined;
}

/** Why this forward cannot be served beside these lease addresses; undefined when it can. */
export function forwardProblem(forward: Forward, addresses: readonly string[]): string | undefined {
  const { id, generation, ports, to, toPort } = forward;
  if (!ID.test(id)) return `${JSON.stringify(id)} is not an id of a mapping or lease`;
  if (!Number.isSafeInteger(generation) || generation < 0) return `${generation} is not a generation`;
  if (!isRange(ports)) return `${ports.first}-${ports.last} is not a range of ports`;
  if (toPort !== undefined && !isPort(toPort)) return `${toPort} is not a port`;
  if (toPort !== undefined && ports.first !== ports.last) return `a range keeps its ports: ${rangeText(ports)} cannot lead to port ${toPort}`;
  const problem = addressProblem(to);
  if (problem !== undefined) return problem;
  if (addresses.some(address => familyOf(address) === familyOf(to))) return undefined;
  return `this machine has no lease address of the family of ${to}`;
}

/** The spec with addresses as the kernel prints them. Throws on the first thing that cannot be brought about. */
export function checkedSpec(spec: RulesSpec): RulesSpec {
  for (const address of spec.addresses) refuse(addressProblem(address), 'lease address');
  for (const { ports } of spec.leased) refuse(isRange(ports) ? undefined : `${ports.first}-${ports.last} is not a range`, 'leased ports');
  for (const forward of spec.forwards) refuse(forwardProblem(forward, spec.addresses), `forward ${forward.id}`);
  const forwards = spec.forwards.map(forward => {
    const to = canonicalAddress(forward.to);
    return to === forward.to ? forward : { ...forward, to };
  });
  refuse(overlapProblem(forwards), 'forwards');
  return { ...spec, forwards, addresses: [...new Set(spec.addresses.map(canonicalAddress))] };
}

function refuse(problem: string | undefined, what: string): void {
  if (problem !== undefined) throw new RangeError(`${what}: ${problem}`);
}

function isRange({ first, last }: PortRange): boolean {
  return isPort(first) && isPort(last) && first <= last;
}

function overlapProblem(forwards: readonly Forward[]): string | undefined {
  const groups = new Map<string, Forward[]>();
  for (const forward of forwards) {
    const key = `${familyOf(forward.to)} ${forward.transport}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [forward]);
    else group.push(forward);
  }
  for (const group of groups.values()) {
    group.sort((a, b) => a.ports.first - b.ports.first);
    for (let i = 1; i < group.length; i++) {
      const [a, b] = [group[i - 1] as Forward, group[i] as Forward];
      if (overlaps(a.ports, b.ports)) return `${a.id} and ${b.id} both have ${b.transport} ${rangeText(b.ports)}`;
    }
  }
  return undefined;
}
