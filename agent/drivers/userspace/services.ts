/** What is to be listened on, and where each of it leads. Pure. */
import { cidrContains, parseCidr, type Cidr } from '../../../shared/names.js';
import type { RulesSpec } from '../rules/spec.js';
import { familyOf, type Forward } from '../rules/spec.js';

export type Place = { readonly address: string; readonly port: number };

/** A place of this machine that leads to a target; `id`: of its mapping. */
export type Service = {
  readonly id: string;
  readonly place: Place;
  readonly target: Place;
  /** Undefined: everybody, as many as the agent takes. */
  readonly limits?: { readonly networks: readonly Cidr[] | undefined; readonly maxConnections: number };
};

/** A mapping that is not served, or not everywhere. */
export type Unserved = { readonly id: string; readonly reason: string; readonly message: string };

export type Services = {
  /** By keyOf(place). */
  readonly services: ReadonlyMap<string, Service>;
  readonly unserved: readonly Unserved[];
};

export const NO_SERVICES: Services = { services: new Map(), unserved: [] };

export function keyOf({ address, port }: Place): string {
  return `${address} ${port}`;
}

/**
 * A mapping is served on the lease addresses of its target's family, or not at all: one with UDP is not, so that nothing is called
 * live of which a part is missing, and neither is one that leads to a port of portlease itself, for it might lead in a circle.
 */
export function servicesOf({ addresses, forwards }: Pick<RulesSpec, 'addresses' | 'forwards'>): Services {
  const all = [...forwards];
  const unserved = new Map(all.filter(({ transport }) => transport === 'udp').map(forward => [forward.id, withUdp(forward)]));
  const services = new Map(all.filter(({ id }) => !unserved.has(id)).flatMap(forward => placesOf(forward, addresses)).map(service => [keyOf(service.place), service]));
  for (const service of services.values()) if (services.has(keyOf(service.target))) unserved.set(service.id, inCircle(service));
  for (const [key, { id }] of services) if (unserved.has(id)) services.delete(key);
  return { services, unserved: [...unserved.values()] };
}

function placesOf({ id, ports, to, toPort, limits }: Forward, addresses: readonly string[]): Service[] {
  const limited = limits === undefined ? {} : { limits: { networks: limits.networks?.flatMap(network => parseCidr(network) ?? []), maxConnections: limits.maxConnections } };
  const own = addresses.filter(address => familyOf(address) === familyOf(to));
  const numbers = Array.from({ length: ports.last - ports.first + 1 }, (_, index) => ports.first + index);
  return numbers.flatMap(port => own.map(address => ({ id, place: { address, port }, target: { address: to, port: toPort ?? port }, ...limited })));
}

/** Why a client with this address is turned away, though there were room; undefined: it is welcome. */
export function refusalFor({ limits }: Service, { client, ofMapping }: { client: string; ofMapping: number }): 'CLIENT_NOT_ALLOWED' | 'TOO_MANY_CONNECTIONS' | undefined {
  if (limits?.networks?.some(network => cidrContains(network, client)) === false) return 'CLIENT_NOT_ALLOWED';
  return limits !== undefined && limits.maxConnections > 0 && ofMapping >= limits.maxConnections ? 'TOO_MANY_CONNECTIONS' : undefined;
}

function withUdp({ id, ports: { first } }: Forward): Unserved {
  return { id, reason: 'UDP_NOT_SERVED', message: `driver userspace forwards TCP only: nothing of a mapping with UDP port ${first} is served; ask for protocol tcp, or set driver: iptables` };
}

function inCircle({ id, target }: Service): Unserved {
  return { id, reason: 'NOT_SERVABLE', message: `${target.address} port ${target.port} is a public port that this agent serves: name the target behind it` };
}

/** Why a listener could not be opened: for the operator, by the code of the kernel. */
export function unservedFor({ id, place: { address, port } }: Service, { code, message }: { code?: string | undefined; message: string }): Unserved {
  const [reason, text] = wordsFor(code, { address, port }) ?? ['NOT_SERVABLE', `cannot listen on ${address} port ${port}: ${message}`];
  return { id, reason, message: text };
}

function wordsFor(code: string | undefined, { address, port }: Place): [reason: string, message: string] | undefined {
  switch (code) {
    case 'EADDRINUSE': return ['PORT_OCCUPIED', `a process of this machine, or an outgoing connection of it, has ${address} port ${port}`];
    case 'EADDRNOTAVAIL': return ['ADDRESS_MISSING', `this machine does not have the address ${address}: correct addresses in the config, or bring it up`];
    case 'EACCES': return ['PORT_NOT_ALLOWED', `this user may not listen on port ${port}: choose a pool above net.ipv4.ip_unprivileged_port_start`];
    case 'EMFILE':
    case 'ENFILE': return ['TOO_MANY_FILES', `no descriptor is left to listen on ${address} port ${port}: raise the limit of open files (ulimit -n)`];
    default: return undefined;
  }
}
