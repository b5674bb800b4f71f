/**
 * Connections of a host behind NAT to its gateway: one for each lease, with a reverse forward for each TCP port that is mapped there. The gateway listens on an
 * address of its loopback that is this host's own; from there nginx leads clients in. Each forward leads to the public port at a lease address of this
 * host, so that its rules, guards and limits hold for these clients as for any other. Pure.
 */
import type { DesiredObject, ObjectProblem } from '../../shared/desired.js';
import { tunnelAddress } from '../../shared/tunnel-address.js';
import type { HeldForward, HeldSpec } from './words.js';

export type LeaseTunnelFacts = {
  readonly host: string;
  /** Name of the gateway in tunnels.servers. */
  readonly server: string;
  /** Lease address that the forwards lead to. */
  readonly address: string;
};

type Objects = ReadonlyMap<string, DesiredObject>;
type Mapping = Extract<DesiredObject, { kind: 'mapping' }>;
type Lease = Extract<DesiredObject, { kind: 'lease' }>;

/** A connection that is lost is noticed within some 3 s, and on the gateway as soon as this host comes again. */
const OPTIONS = { ServerAliveInterval: '1', ServerAliveCountMax: '3', ConnectTimeout: '5' };

export function leaseTunnelName(leaseId: string): string {
  return `lease-${leaseId}`;
}

/** In order of their names, forwards by port. A lease without a mapping needs none. */
export function leaseSpecs(objects: Objects, facts: LeaseTunnelFacts): HeldSpec[] {
  const mappings = [...objects.values()].filter(isForwarded).sort((a, b) => a.port - b.port);
  return leasesOf(objects, facts.host).flatMap(({ leaseId, ports }): HeldSpec[] => {
    const forwards = mappings.filter(({ port }) => ports.first <= port && port <= ports.last).map(({ port }) => forwardOf(port, facts));
    return forwards.length === 0 ? [] : [{ tunnel: leaseTunnelName(leaseId), host: facts.host, server: facts.server, forwards, engine: undefined, probe: undefined, options: OPTIONS }];
  });
}

/** Mappings that no connection carries at the moment. `standing`: ports that are carried. */
export function tunnelProblems(objects: Objects, standing: ReadonlySet<number>, why: (port: number) => string): ObjectProblem[] {
  return [...objects.values()].filter(object => object.kind === 'mapping').flatMap(({ key, port, protocol }): ObjectProblem[] => {
    if (protocol !== 'tcp') return [{ key, reason: 'TUNNEL_CARRIES_TCP', message: `this host is reached through ssh connections, which carry TCP only, and port ${port} serves ${protocol}` }];
    return standing.has(port) ? [] : [{ key, reason: 'TUNNEL_DOWN', message: why(port) }];
  });
}

/** The lease that has the port. */
export function leaseAt(objects: Objects, host: string, port: number): string | undefined {
  return leasesOf(objects, host).find(({ ports }) => ports.first <= port && port <= ports.last)?.leaseId;
}

export function listenedPorts(forwards: readonly HeldForward[]): number[] {
  return forwards.flatMap(({ listen }) => ('socket' in listen ? [] : [listen.port]));
}

function forwardOf(port: number, { host, address }: LeaseTunnelFacts): HeldForward {
  return { direction: 'reverse', listen: { host: tunnelAddress(host), port }, to: { host: address, port } };
}

function leasesOf(objects: Objects, host: string): Lease[] {
  const own = [...objects.values()].filter((object): object is Lease => object.kind === 'lease' && object.host === host);
  return own.sort((a, b) => (a.leaseId < b.leaseId ? -1 : 1));
}

/** What serves UDP, too, cannot be served whole. */
function isForwarded(object: DesiredObject): object is Mapping {
  return object.kind === 'mapping' && object.protocol === 'tcp';
}
