/**
 * Connections of a host behind NAT to its gateway: one for each lease, because sshd fixes what a connection may listen for when it begins, with a reverse forward for each TCP
 * port that is mapped there. A port stays with its connection as long as it is mapped, also when its lease is split. The gateway listens on an
 * address of its loopback that is this host's own; from there nginx leads clients in. Each forward leads to the public port at a lease address of this
 * host, so that its rules, guards and limits hold for these clients as for any other. Pure.
 */
import type { DesiredObject, ObjectProblem } from '../../shared/desired.js';
import { ipFamily } from '../../shared/names.js';
import { tunnelAddress } from '../../shared/tunnel-address.js';
import type { HeldForward, HeldSpec } from './words.js';

export type LeaseTunnelFacts = {
  readonly host: string;
  /** Name of the gateway in tunnels.servers. */
  readonly server: string;
  /** Public key that it comes with. */
  readonly key: string;
  /** Lease addresses: forwards lead to one of the family of the target. */
  readonly addresses: readonly string[];
};

type Objects = ReadonlyMap<string, DesiredObject>;
type Mapping = Extract<DesiredObject, { kind: 'mapping' }>;
type Lease = Extract<DesiredObject, { kind: 'lease' }>;

/** A connection that is lost is noticed within some 3 s, and on the gateway as soon as this host comes again. */
const OPTIONS = { ServerAliveInterval: '1', ServerAliveCountMax: '3', ConnectTimeout: '5' };

/** By port: the connection that carries it. */
export type Carriers = ReadonlyMap<number, string>;

export function leaseTunnelName(leaseId: string): string {
  return `lease-${leaseId}`;
}

/** Those of before keep theirs. */
export function carriersOf(objects: Objects, host: string, before: Carriers): Carriers {
  const leases = leasesOf(objects, host);
  return new Map([...objects.values()].filter(isForwarded).flatMap(({ port }): [number, string][] => {
    const lease = leases.find(({ ports }) => ports.first <= port && port <= ports.last);
    return lease === undefined ? [] : [[port, before.get(port) ?? leaseTunnelName(lease.leaseId)]];
  }));
}

/** By port. A lease without a mapping needs none. */
export function leaseSpecs(objects: Objects, facts: LeaseTunnelFacts, carriers: Carriers): HeldSpec[] {
  const found = new Map<string, HeldForward[]>();
  for (const mapping of [...objects.values()].filter(isForwarded).sort((a, b) => a.port - b.port)) {
    const name = carriers.get(mapping.port);
    if (name !== undefined) found.set(name, [...found.get(name) ?? [], forwardOf(mapping, facts)]);
  }
  return [...found].map(([tunnel, forwards]) => ({ tunnel, host: facts.host, server: facts.server, forwards, engine: undefined, probe: undefined, options: OPTIONS }));
}

/** Mappings that no connection carries at the moment. `standing`: ports that are carried. */
export function tunnelProblems(objects: Objects, standing: ReadonlySet<number>, why: (port: number) => string): ObjectProblem[] {
  return [...objects.values()].filter(object => object.kind === 'mapping').flatMap(({ key, port, protocol }): ObjectProblem[] => {
    if (protocol !== 'tcp') return [{ key, reason: 'TUNNEL_CARRIES_TCP', message: `this host is reached through ssh connections, which carry TCP only, and port ${port} serves ${protocol}` }];
    return standing.has(port) ? [] : [{ key, reason: 'TUNNEL_DOWN', message: why(port) }];
  });
}

export function listenedPorts(forwards: readonly HeldForward[]): number[] {
  return forwards.flatMap(({ listen }) => ('socket' in listen ? [] : [listen.port]));
}

function forwardOf({ port, target }: Mapping, { host, key, addresses }: LeaseTunnelFacts): HeldForward {
  const family = target.kind === 'address' ? ipFamily(target.address) : target.kind === 'container' && target.family === 6 ? 6 : 4;
  const to = addresses.find(address => ipFamily(address) === family) ?? addresses[0] ?? '';
  return { direction: 'reverse', listen: { host: tunnelAddress(host, key), port }, to: { host: to, port } };
}

function leasesOf(objects: Objects, host: string): Lease[] {
  const own = [...objects.values()].filter((object): object is Lease => object.kind === 'lease' && object.host === host);
  return own.sort((a, b) => (a.leaseId < b.leaseId ? -1 : 1));
}

/** What serves UDP, too, cannot be served whole. */
function isForwarded(object: DesiredObject): object is Mapping {
  return object.kind === 'mapping' && object.protocol === 'tcp';
}
