/** What the rules driver is asked to bring about, and which parts of it it refuses; checked.ts refuses a whole. */
import { isIP, SocketAddress } from 'node:net';
import { readNetwork } from '../../../shared/networks.js';
import { isPort, rangeText, type PortRange, type Transport } from '../../../shared/ports.js';

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
  /** Undefined: everybody, without limit. Only of a single port. */
  readonly limits?: Limits | undefined;
};

export type Limits = {
  /** Client networks of the target's family, in canonical form; undefined: all. */
  readonly networks: readonly string[] | undefined;
  /** At once, over all transports of the mapping; 0: no limit. */
  readonly maxConnections: number;
  /** Connections that its rule does not count. */
  readonly uncounted: number;
};

export type Leased = { readonly ports: PortRange; readonly transport: Transport };

export type RulesSpec = {
  /** Lease addresses of this machine, IPv4 and IPv6. */
  readonly addresses: readonly string[];
  /** Ports that reach nothing on this machine but by a forward. They need not be disjoint. The same list again: nothing has changed. */
  readonly leased: readonly Leased[];
  /** Leased ports that Docker leads somewhere: only these are left to rules of others. Left out: none. The same list again: nothing has changed. */
  readonly published?: readonly Leased[];
  /** Leased ports that a proxy of this machine serves: the guard lets clients in there. Undefined: there is no proxy. The same list again: nothing has changed. */
  readonly proxied?: readonly Leased[] | undefined;
  /** What is given as Forwards is compared with what was applied before at the price of the change. */
  readonly forwards: Iterable<Forward>;
  /** True: targets see this machine's address instead of the client's. */
  readonly snat: boolean;
  /** 0-31: packets of leased ports that are led on get this bit as mark, last of all. Undefined: they get none. */
  readonly markBit?: number | undefined;
};

const ID = /^[a-z0-9-]{1,18}$/;

/** Unspecified, loopback, link-local, multicast, reserved; and IPv4 in IPv6. */
const NEVER: Record<Family, RegExp> = {
  v4: /^(?:0|127|22[4-9]|2[3-5]\d)\.|^169\.254\./,
  v6: /^(?:::1?$|::ffff:|fe[89ab]|ff)/,
};

export function familyOf(address: string): Family {
  return address.includes(':') ? 'v6' : 'v4';
}

/** The address as the kernel's tools print it. */
export function canonicalAddress(address: string): string {
  return familyOf(address) === 'v4' ? address : new SocketAddress({ address, family: 'ipv6' }).address;
}

/** Why the address can be neither a lease address nor a target; undefined when it can. */
export function addressProblem(address: string): string | undefined {
  if (isIP(address) === 0 || address.includes('%')) return `${JSON.stringify(address)} is not an IP address`;
  return NEVER[familyOf(address)].test(canonicalAddress(address)) ? `${address} is loopback, link-local, multicast, unspecified or IPv4 in IPv6` : undefined;
}

/** Why this forward cannot be served beside these lease addresses; undefined when it can. */
export function forwardProblem(forward: Forward, addresses: readonly string[]): string | undefined {
  return ownProblem(forward) ?? familyProblem(forward.to, addresses);
}

/** Why this forward can be served nowhere; undefined when it can. */
export function ownProblem({ id, generation, ports, to, toPort, limits }: Forward): string | undefined {
  if (!ID.test(id)) return `${JSON.stringify(id)} is not an id of a mapping or lease`;
  if (!Number.isSafeInteger(generation) || generation < 0) return `${generation} is not a generation`;
  if (!isRange(ports)) return `${ports.first}-${ports.last} is not a range of ports`;
  if (toPort !== undefined && !isPort(toPort)) return `${toPort} is not a port`;
  if (toPort !== undefined && ports.first !== ports.last) return `a range keeps its ports: ${rangeText(ports)} cannot lead to port ${toPort}`;
  return addressProblem(to) ?? (limits === undefined ? undefined : limitsProblem(limits, { ports, to }));
}

function limitsProblem({ networks, maxConnections, uncounted }: Limits, { ports, to }: Pick<Forward, 'ports' | 'to'>): string | undefined {
  if (ports.first !== ports.last) return `a range cannot be limited: ${rangeText(ports)}`;
  if (![maxConnections, uncounted].every(count => Number.isSafeInteger(count) && count >= 0)) return `${maxConnections} is not a number of connections`;
  const bad = networks?.find(network => { const reading = readNetwork(network); return !('network' in reading) || reading.network !== network || familyOf(network) !== familyOf(to) || network.endsWith('/0'); });
  return bad === undefined ? undefined : `${JSON.stringify(bad)} is not a network of clients of ${to}`;
}

export function familyProblem(to: string, addresses: readonly string[]): string | undefined {
  if (addresses.some(address => familyOf(address) === familyOf(to))) return undefined;
  return `this machine has no lease address of the family of ${to}`;
}

export function refuse(problem: string | undefined, what: string): void {
  if (problem !== undefined) throw new RangeError(`${what}: ${problem}`);
}

export function isRange({ first, last }: PortRange): boolean {
  return isPort(first) && isPort(last) && first <= last;
}
