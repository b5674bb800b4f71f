/** Where the containers are that mappings lead to. Pure, and incremental: what has not changed stays the same object. */
import { isDeepStrictEqual } from 'node:util';
import { isAboutPorts, type DesiredObject } from '../../shared/desired.js';
import { ipFamily } from '../../shared/names.js';
import { transportsOf } from '../../shared/ports.js';
import { targetText, type ContainerTarget, type PublishedTarget } from '../../shared/target.js';
import { ENVIRONMENT_LABEL, hasProcesses, type Attachment, type Container, type Containers } from '../drivers/docker/containers.js';
import { placeOf as placeText, type HostPort, type HostPorts } from '../drivers/docker/host-ports.js';
import type { DockerView } from '../drivers/docker/watch.js';
import { differences, PersistentMap, type Change } from '../persistent/map.js';
import type { MappingObject, Place, ReconcileObject } from './objects.js';

type DesiredMapping = Extract<DesiredObject, { kind: 'mapping' }>;
type DockerTarget = ContainerTarget | PublishedTarget;

export type Placed = {
  /** All desired objects, with places instead of containers. */
  readonly objects: PersistentMap<ReconcileObject>;
  /** What it was made from. */
  readonly of: { readonly desired: ReadonlyMap<string, DesiredObject>; readonly view: DockerView; readonly hostPorts: HostPorts };
  /** Ports of the host that containers on its network have to listen on, for mappings to lead there. */
  readonly hostPorts: readonly HostPort[];
  /** Keys of the mappings that lead to containers. */
  readonly dependent: ReadonlySet<string>;
};

export type PlaceFacts = {
  /** Lease addresses, in canonical form. */
  addresses: readonly string[];
  /** The same map for as long as it says the same. */
  hostPorts: HostPorts;
};

export function nextPlaced(before: Placed | undefined, desired: ReadonlyMap<string, DesiredObject>, view: DockerView, facts: PlaceFacts): Placed {
  const old = before?.of.desired ?? new Map<string, DesiredObject>();
  const isPort = (key: string): boolean => isAboutPorts(desired.get(key) ?? old.get(key) as DesiredObject);
  const changed = differences(old, desired).filter(isPort);
  const dependent = dependentOf(before?.dependent ?? new Set(), changed, desired);
  const isSame = before?.of.view === view && before.of.hostPorts === facts.hostPorts;
  const toPlace = isSame ? changed.filter(key => dependent.has(key)) : [...dependent];
  const changes: Change<ReconcileObject>[] = changed.filter(key => !dependent.has(key)).map(key => [key, desired.get(key) as ReconcileObject | undefined]);
  for (const key of toPlace) changes.push([key, placedMapping(desired.get(key) as DesiredMapping, before?.objects.get(key), view, facts)]);
  const objects = (before?.objects ?? PersistentMap.empty<ReconcileObject>()).with(changes);
  const isStill = isSame && dependent === before.dependent && toPlace.length === 0;
  const hostPorts = isStill ? before.hostPorts : [...dependent].flatMap(key => hostPortsOf(desired.get(key) as DesiredMapping, view));
  return { objects, of: { desired, view, hostPorts: facts.hostPorts }, dependent, hostPorts };
}

function dependentOf(before: ReadonlySet<string>, changed: readonly string[], desired: ReadonlyMap<string, DesiredObject>): ReadonlySet<string> {
  const isDependent = (key: string): boolean => {
    const object = desired.get(key);
    return object?.kind === 'mapping' && object.target.kind !== 'address';
  };
  if (!changed.some(key => before.has(key) !== isDependent(key))) return before;
  const after = new Set(before);
  for (const key of changed) {
    if (isDependent(key)) after.add(key);
    else after.delete(key);
  }
  return after;
}

/** The object that it was before, when it says the same. */
function placedMapping(mapping: DesiredMapping, before: ReconcileObject | undefined, view: DockerView, facts: PlaceFacts): MappingObject {
  const target = placeOf(mapping, mapping.target as DockerTarget, view, facts);
  if (before?.kind === 'mapping' && before.version === mapping.version && before.generation === mapping.generation && isDeepStrictEqual(before.target, target)) return before;
  return { ...mapping, target };
}

function nowhere(reason: string, message: string): Place {
  return { kind: 'nowhere', reason, message };
}

function placeOf(mapping: DesiredMapping, target: DockerTarget, view: DockerView, facts: PlaceFacts): Place {
  if (view.kind === 'rootless') return nowhere('DOCKER_ROOTLESS', 'Docker runs without root here: its containers are in a network that this host cannot reach');
  if (view.kind === 'unknown') return nowhere('DOCKER_UNAVAILABLE', `Docker does not answer on this host: ${view.problem}`);
  const found = target.container === '' ? view.containers.of(mapping.environment) : view.containers.named(target.container);
  const what = target.container === '' ? `container with the label ${ENVIRONMENT_LABEL}=${mapping.environment}` : `container ${target.container}`;
  const [container] = found;
  if (container === undefined) return nowhere('CONTAINER_NOT_FOUND', `there is no ${what} on this host`);
  if (found.length > 1) return nowhere('CONTAINER_AMBIGUOUS', `there are ${found.length} of ${what}: ${found.map(({ name }) => name).sort().join(', ')}`);
  if (!hasProcesses(container)) return nowhere('CONTAINER_STOPPED', `container ${container.name} does not run: it is ${container.state}`);
  if (target.kind === 'published') return publishedPlace(mapping, container, facts);
  return container.networkMode === 'host' ? hostPlace(mapping, { target, container }, facts) : containerPlace(target, container, view.containers);
}

/** Every transport of the mapping has to be listened on by the container itself: nobody else of this host is led to. */
function hostPlace({ protocol, internalPort: port }: DesiredMapping, { target, container }: { target: ContainerTarget; container: Container }, { addresses, hostPorts }: PlaceFacts): Place {
  const family = target.family === 0 ? ipFamily(addresses[0] ?? '') : target.family;
  const address = addresses.find(one => ipFamily(one) === family);
  if (address === undefined) return nowhere('NO_ADDRESS_OF_FAMILY', `this host has no IPv${family} lease address`);
  const silent = transportsOf(protocol).filter(transport => hostPorts.get(placeText({ transport, port })) !== container.id);
  if (silent.length > 0) return nowhere('CONTAINER_NOT_LISTENING', `container ${container.name} is on the network of the host, and does not listen on ${silent.join(' and ')} port ${port} there`);
  return { kind: 'self', address, containerId: container.id };
}

function hostPortsOf({ environment, target, protocol, internalPort: port }: DesiredMapping, view: DockerView): HostPort[] {
  if (target.kind !== 'container' || view.kind !== 'known') return [];
  const found = target.container === '' ? view.containers.of(environment) : view.containers.named(target.container);
  return found[0]?.networkMode === 'host' ? transportsOf(protocol).map(transport => ({ transport, port })) : [];
}

function containerPlace(target: ContainerTarget, container: Container, containers: Containers): Place {
  const { networks } = containers;
  if (container.networkMode.startsWith('container:')) return nowhere('CONTAINER_UNREACHABLE', `container ${container.name} has the network of container ${container.networkMode.slice('container:'.length, 'container:'.length + 12)}: name that one as target`);
  const wanted = target.network === '' ? container.attachments : container.attachments.filter(({ name }) => name === target.network);
  if (wanted.length === 0) return nowhere('CONTAINER_NOT_ON_NETWORK', `container ${container.name} is on ${target.network === '' ? 'no network' : `no network ${target.network}`}`);
  const problems: Problem[] = [];
  for (const attachment of wanted) {
    const address = addressOn(attachment, target.family);
    const problem = networkProblem(attachment, networks) ?? addressProblem(address, attachment, target, containers);
    if (problem === undefined && address !== undefined) return { kind: 'at', address, containerId: container.id, endpointId: attachment.endpointId };
    if (problem !== undefined) problems.push(problem);
  }
  const reason = problems.some(({ passes }) => passes) ? 'CONTAINER_ADDRESS_UNSETTLED' : 'CONTAINER_UNREACHABLE';
  return nowhere(reason, `container ${container.name}: ${problems.map(({ text }) => text).join('; ')} (target ${targetText(target)})`);
}

/** `passes`: by itself, when Docker has said more. */
type Problem = { readonly text: string; readonly passes: boolean };

function addressOn({ v4, v6 }: Attachment, family: 0 | 4 | 6): string | undefined {
  return family === 6 ? v6 : family === 4 ? v4 : v4 ?? v6;
}

function addressProblem(address: string | undefined, { name }: Attachment, { family }: ContainerTarget, containers: Containers): Problem | undefined {
  if (address === undefined) return { text: `it has no ${familyText(family)} on ${name}`, passes: false };
  return containers.isClaimedTwice(address) ? { text: `its address ${address} is on its way to or from another container`, passes: true } : undefined;
}

function familyText(family: 0 | 4 | 6): string {
  return family === 0 ? 'address' : `IPv${family} address`;
}

/** Docker removes no network with containers that run: one that is not known is a new one, or one that the container is leaving. */
function networkProblem({ name, networkId }: Attachment, networks: Containers['networks']): Problem | undefined {
  const network = networks.get(networkId);
  if (network === undefined) return { text: `network ${name} is not known`, passes: true };
  if (network.isInternal) return { text: `network ${name} is internal: Docker lets nobody outside of it reach its containers`, passes: false };
  return network.driver === 'bridge' ? undefined : { text: `network ${name} has the driver ${network.driver}: this host reaches containers on bridges only`, passes: false };
}

/** Exactly the public port leads to exactly the internal port, on every lease address that the container publishes it for. */
function publishedPlace({ port, protocol, internalPort }: DesiredMapping, container: Container, { addresses }: PlaceFacts): Place {
  for (const transport of transportsOf(protocol)) {
    const there = container.published.filter(one => one.transport === transport && one.port === port && isReached(one.hostAddress, addresses));
    if (there.length === 0) return nowhere('PORT_NOT_PUBLISHED', `container ${container.name} does not publish ${transport} port ${port}: run it with -p ${port}:${internalPort}${transport === 'udp' ? '/udp' : ''}`);
    const other = there.find(one => one.internalPort !== internalPort);
    if (other !== undefined) return nowhere('PORT_PUBLISHED_ELSEWHERE', `container ${container.name} publishes ${transport} port ${port} for its port ${other.internalPort}, not ${internalPort}`);
  }
  const address = container.attachments.map(({ v4, v6 }) => v4 ?? v6).find(one => one !== undefined);
  if (address === undefined) return nowhere('CONTAINER_UNREACHABLE', `container ${container.name} has no address`);
  return { kind: 'publishedAt', address, containerId: container.id };
}

function isReached(hostAddress: string, addresses: readonly string[]): boolean {
  return hostAddress === '' || hostAddress === '0.0.0.0' || hostAddress === '::' || addresses.includes(hostAddress);
}
