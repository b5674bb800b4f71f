/** Mappings and routes as the kernel gets them, each checked by itself: one that cannot be served harms no other. Pure. */
import { canonicalAddress, cidrContains, familyOf, ipFamily, isTargetAddress, type Cidr } from '../../shared/names.js';
import { networksOf } from '../../shared/networks.js';
import { transportsOf, type Transport } from '../../shared/ports.js';
import type { ObjectProblem, Role } from '../../shared/desired.js';
import type { Target } from '../../shared/target.js';
import { tunnelAddress } from '../../shared/tunnel-address.js';
import type { Bound } from '../drivers/bridge/guard.js';
import type { MappingObject, Place, RouteObject } from './objects.js';
import { clientsOf } from '../drivers/connections/clients.js';
import { placesOf, type ProxiedRoute } from '../drivers/nginx/route.js';
import { forwardProblem, type Forward, type Limits } from '../drivers/rules/spec.js';
import type { Served } from './serving.js';

/** What the agent knows of its machine from its config. */
export type HostFacts = {
  /** Lease addresses that can be served, in canonical form. */
  addresses: readonly string[];
  roles: readonly Role[];
  /** Networks that mappings may lead to. */
  targetNetworks: readonly Cidr[];
  /** Targets see this machine's address instead of the client's. */
  snat: boolean;
  /** What leads clients from the gateway to the hosts. Left out: kernel. */
  routes?: 'kernel' | 'nginx';
  /** Bit of the mark on packets of mappings, where bridges are guarded; undefined: they are not. */
  markBit?: number | undefined;
};

/** What one object comes to. */
export type Made = {
  served: Served[];
  forwards: Forward[];
  /** The route, where nginx serves it. */
  proxied?: ProxiedRoute;
  /** The container that has the address. */
  container?: Bound;
  /** Docker leads there, and no forward. */
  isPublished?: true;
};

/** The same object gives the same result, at the price of a look-up: most objects are the same from round to round. */
export type MakeForwards = (object: MappingObject | RouteObject) => Made | ObjectProblem;

class Refused extends Error {
  override readonly name = 'Refused';
  constructor(readonly reason: string, message: string) {
    super(message);
  }
}

const refuse: Refuse = (reason, message) => { throw new Refused(reason, message); };

export function forwardMaker(facts: HostFacts): MakeForwards {
  const known = new WeakMap<MappingObject | RouteObject, Made | ObjectProblem>();
  return object => {
    const made = known.get(object) ?? make(object, facts);
    known.set(object, made);
    return made;
  };
}

function make(object: MappingObject | RouteObject, facts: HostFacts): Made | ObjectProblem {
  try {
    return object.kind === 'mapping' ? mappingForwards(object, facts) : routeForwards(object, facts);
  } catch (error) {
    if (error instanceof Refused) return { key: object.key, reason: error.reason, message: error.message };
    throw error;
  }
}

function mappingForwards(mapping: MappingObject, facts: HostFacts): Made {
  const { mappingId: id, generation, port, protocol, internalPort: toPort } = mapping;
  const ports = { first: port, last: port };
  if (mapping.target.kind === 'publishedAt') {
    if (mapping.limits !== undefined) refuse('LIMIT_NOT_SERVED', 'Docker leads to a published port, and keeps nobody away: take client_networks and max_connections away, or let the mapping lead to the container');
    const endpoints = [{ address: mapping.target.address, port: toPort }];
    return { forwards: [], served: transportsOf(protocol).map(transport => ({ transport, ports, endpoints })), isPublished: true };
  }
  const to = mapping.target.kind === 'self' ? mapping.target.address : checkedTarget(addressOf(mapping.target), facts);
  if (facts.addresses.includes(to) && toPort === port) refuse('NOT_SERVABLE', `${to} port ${port} is the public port itself: let the service listen on another port or address`);
  const transports = transportsOf(protocol);
  const limits = limitsFor(mapping, to);
  const forwards = transports.map(transport => ({ id, generation, transport, ports, to, toPort, hairpin: true, ...(limits === undefined ? {} : { limits }) }));
  for (const forward of forwards) refuseBadForward(forward, facts);
  const endpoints = [mapping.limits === undefined ? { address: to, port: toPort } : { address: to, port: toPort, clients: clientsOf(mapping.limits, familyOf(to)) }];
  const made = { forwards, served: transports.map(transport => ({ transport, ports, endpoints })) };
  if (mapping.target.kind !== 'at') return made;
  const { containerId, endpointId } = mapping.target;
  return { ...made, container: { address: to, containerId, endpointId } };
}

/** Where it leads now. */
function addressOf(target: Exclude<Target | Place, { kind: 'publishedAt' | 'self' }>): string {
  switch (target.kind) {
    case 'address':
    case 'at': return target.address;
    case 'nowhere': return refuse(target.reason, target.message);
    case 'container':
    case 'published': return refuse('DOCKER_UNAVAILABLE', 'this agent does not look at containers: set docker.enabled in its config');
    default: return target satisfies never;
  }
}

/** Where the clients of networks cannot be told, or none can come, the mapping is not served, and says so. */
function limitsFor({ limits, clientsHidden }: MappingObject, to: string): Limits | undefined {
  if (limits === undefined) return undefined;
  if (clientsHidden === true && limits.networks.length > 0) {
    refuse('CLIENTS_HIDDEN', 'the agent of the gateway has snat: true or routes: nginx, so this host cannot tell clients apart: take client_networks away, or change that there');
  }
  const networks = networksOf(limits.networks, familyOf(to));
  if (networks?.length === 0) refuse('NO_CLIENT_OF_FAMILY', `no network of client_networks is of the family of ${to}, by which clients come: add one`);
  return networks === undefined && limits.maxConnections === 0 ? undefined : { networks, maxConnections: limits.maxConnections, uncounted: 0 };
}

type Refuse = (reason: string, message: string) => never;

function checkedTarget(address: string, facts: HostFacts): string {
  const to = canonicalAddress(address);
  if (to === undefined || !isTargetAddress(to)) return refuse('TARGET_NOT_ALLOWED', `${JSON.stringify(address)} can be no target: loopback, link-local, multicast, unspecified or no address`);
  if (!facts.targetNetworks.some(network => cidrContains(network, to))) {
    const allowed = facts.targetNetworks.map(({ text }) => text).join(', ');
    return refuse('TARGET_NOT_ALLOWED', `${to} is in none of the networks that this agent allows: ${allowed === '' ? 'none' : allowed}`);
  }
  if (!hasFamilyOf(to, facts)) return refuse('NO_ADDRESS_OF_FAMILY', `this host has no lease address of the family of ${to}`);
  return to;
}

function hasFamilyOf(address: string, facts: HostFacts): boolean {
  return facts.addresses.some(own => ipFamily(own) === ipFamily(address));
}

function refuseBadForward(forward: Forward, facts: HostFacts): void {
  const problem = forwardProblem(forward, facts.addresses);
  if (problem !== undefined) refuse('NOT_SERVABLE', problem);
}

/** A route to this machine itself needs no rule: the mapping on the same port serves it. */
function routeForwards(route: RouteObject, facts: HostFacts): Made {
  const { leaseId: id, generation, ports, protocol } = route;
  refuseTls(route, facts);
  if (route.tunnelKey !== undefined) return tunnelledRoute(route, facts);
  const addresses = route.addresses.map(address => canonicalAddress(address) ?? refuse('ROUTE_INVALID', `${JSON.stringify(address)} is not an address`));
  const servable = onePerFamily(addresses).filter(to => hasFamilyOf(to, facts));
  if (servable.length === 0) refuse('NO_ADDRESS_OF_FAMILY', `no lease address of this gateway has the family of ${addresses.join(' or ') || 'any address of the route'}`);
  const remote = servable.filter(to => !facts.addresses.includes(to));
  const transports = transportsOf(protocol);
  const forwards = transports.flatMap((transport: Transport) => remote.map(to => ({ id, generation, transport, ports, to, toPort: undefined, hairpin: true })));
  for (const forward of forwards) refuseBadForward(forward, facts);
  if (facts.routes === 'nginx' && remote.length > 0) return proxiedRoute(route, { transports, remote }, facts);
  const endpoints = remote.map(address => ({ address, port: undefined }));
  return { forwards, served: endpoints.length === 0 ? [] : transports.map(transport => ({ transport, ports, endpoints })) };
}

/** Its host is behind NAT: it listens here itself, on an address of this machine's loopback that is its own. */
function tunnelledRoute(route: RouteObject, facts: HostFacts): Made {
  if (facts.routes !== 'nginx') refuse('TUNNEL_NEEDS_NGINX', `host ${route.host} is behind NAT, and rules of the kernel cannot lead to its connections: set routes: nginx in the config of this agent`);
  const transports = transportsOf(route.protocol).filter(transport => transport === 'tcp');
  if (transports.length === 0) refuse('TUNNEL_NEEDS_TCP', `host ${route.host} is reached through ssh connections, which carry TCP only`);
  const own = onePerFamily(facts.addresses.map(address => canonicalAddress(address) ?? address));
  return proxiedRoute(route, { transports, remote: own, to: tunnelAddress(route.host, route.tunnelKey ?? '') }, facts);
}

function refuseTls({ protocol, connections }: RouteObject, { routes }: HostFacts): void {
  if (connections?.tls !== 'terminate') return;
  if (routes !== 'nginx') refuse('TLS_NOT_SERVED', `pool ${connections.pool} has TLS end at the gateway, whose agent routes by rules of the kernel: set routes: nginx in its config, or another tls of the pool`);
  if (protocol !== 'tcp') refuse('TLS_NOT_SERVED', `pool ${connections.pool} has TLS end at the gateway, and serves ${protocol}: that is for TCP alone`);
}

/** `to`: for clients of both families; left out: `remote` by their family. Clients are connected to nginx at the lease addresses; where it leads on to is part of the endpoint, so that another host is another endpoint. */
function proxiedRoute({ key, leaseId: id, ports, fence: isFenced, connections }: RouteObject, { transports, remote, to }: { transports: readonly Transport[]; remote: readonly string[]; to?: string }, { addresses }: HostFacts): Made {
  const hosts = Object.fromEntries(remote.map(address => [familyOf(address) === 4 ? 'v4' : 'v6', to ?? address]));
  const proxied: ProxiedRoute = { key, id, ports, transports, hosts, isFenced, ...(connections === undefined ? {} : { connections }) };
  const through = placesOf(proxied);
  const endpoints = addresses.filter(own => remote.some(to => familyOf(to) === familyOf(own))).map(address => ({ address, port: undefined, through }));
  return { forwards: [], served: transports.map(transport => ({ transport, ports, endpoints })), proxied };
}

/** The first address of each family. */
function onePerFamily(addresses: readonly string[]): string[] {
  return [4, 6].flatMap(family => addresses.filter(address => ipFamily(address) === family).slice(0, 1));
}
