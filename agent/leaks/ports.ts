/** Leaks at ports: what Docker publishes, what listens and what rules of others take where no environment has the port. Pure. */
import { conflictSentence } from '../../shared/conflict-text.js';
import type { Conflict } from '../../shared/desired.js';
import { rangeText, transportsOf, type PortRange, type Transport } from '../../shared/ports.js';
import { isReachable, isWanted, type Wanted } from '../drivers/connections/listeners.js';
import { hasProcesses, type Container } from '../drivers/docker/containers.js';
import type { DockerView } from '../drivers/docker/watch.js';
import type { ForeignRule } from '../drivers/rules/foreign.js';
import type { Placed } from '../reconcile/places.js';
import type { Finding } from './findings.js';

/** What is desired of the ports of this machine. */
export type PortFacts = {
  /** Lease addresses. */
  readonly addresses: readonly string[];
  /** Ranges leased to this machine. */
  readonly leased: Wanted;
  /** These, and the ranges that it routes. */
  readonly served: Wanted;
  /** "tcp 30001" to the id of the mapping. */
  readonly mapped: ReadonlyMap<string, string>;
};

export function portFacts({ objects }: Pick<Placed, 'objects'>, addresses: readonly string[]): PortFacts {
  const leased: Record<Transport, PortRange[]> = { tcp: [], udp: [] };
  const routed: Record<Transport, PortRange[]> = { tcp: [], udp: [] };
  const mapped = new Map<string, string>();
  for (const object of objects.values()) {
    if (object.kind === 'lease') for (const transport of transportsOf(object.protocol)) leased[transport].push(object.ports);
    if (object.kind === 'route') for (const transport of transportsOf(object.protocol)) routed[transport].push(object.ports);
    if (object.kind === 'mapping') for (const transport of transportsOf(object.protocol)) mapped.set(`${transport} ${object.port}`, object.mappingId);
  }
  return { addresses, leased, served: { tcp: [...leased.tcp, ...routed.tcp], udp: [...leased.udp, ...routed.udp] }, mapped };
}

/** Ports that containers publish, reachable from outside, and no environment has: those in leases first. Undefined: Docker does not say so now. */
export function publishedFindings(facts: PortFacts, view: DockerView): Finding[] | undefined {
  if (view.kind !== 'known' || view.problem !== undefined) return undefined;
  const found = new Map<string, { finding: Finding; isLeased: boolean }>();
  for (const container of view.containers.all) {
    if (!hasProcesses(container)) continue;
    for (const { transport, port, hostAddress } of container.published) {
      const isOpen = hostAddress === '' || isReachable(hostAddress, facts.addresses);
      if (!isOpen || facts.mapped.has(`${transport} ${port}`)) continue;
      const id = `publishedPort/${transport}/${port}/${container.id.slice(0, 12)}`;
      const text = `container ${nameOf(container)} publishes ${transport} port ${port}, which no environment has: stop it, or allocate the port with the target published:${container.name}`;
      found.set(id, { finding: { id, kind: 'publishedPort', text, at: { transport, port } }, isLeased: isWanted(facts.leased, { transport, port }) });
    }
  }
  return [...found.values()].sort((a, b) => Number(b.isLeased) - Number(a.isLeased)).map(({ finding }) => finding);
}

/** `conflicts`: processes on leased ports. On the port of a mapping it is a conflict; what Docker publishes is found as that. */
export function listenerFindings(facts: PortFacts, conflicts: readonly Conflict[], view: DockerView): Finding[] {
  const published = publishedPlaces(view);
  return conflicts.flatMap((conflict): Finding[] => {
    const { transport, port, holder, uid } = conflict;
    const place = `${transport} ${port}`;
    if (facts.mapped.has(place) || published.has(place) || !isWanted(facts.leased, conflict)) return [];
    return [{
      id: `listener/${transport}/${port}/${holder === undefined ? `uid-${uid}` : holder.pid}`, kind: 'listener', at: { transport, port },
      text: `${conflictSentence(conflict)}, which is leased and no environment has: the port is set aside until the process is gone`,
    }];
  });
}

/** Rules of Docker for ports that a container publishes now are found as that; while Docker does not answer, its rules are nobody's leak. */
export function ruleFindings(rules: readonly ForeignRule[], view: DockerView): Finding[] {
  const published = publishedPlaces(view);
  const isDockersOwn = ({ isDockers, takes }: ForeignRule): boolean =>
    isDockers && (view.kind !== 'known' || view.problem !== undefined || (takes !== undefined && published.has(`${takes.transport} ${takes.ports.first}`)));
  return rules.filter(rule => !isDockersOwn(rule)).map(({ id, rule, tool, takes }): Finding => ({
    id: `foreignRule/${id}`, kind: 'foreignRule', at: takes && { transport: takes.transport, port: takes.ports.first },
    text: takes === undefined
      ? `a rule that is not portlease's leads to one of its chains: ${tool} ${rule}`
      : `a rule that is not portlease's takes the leased ${takes.transport} port ${rangeText(takes.ports)}: ${tool} -t nat ${rule}`,
  }));
}

function publishedPlaces(view: DockerView): Set<string> {
  if (view.kind !== 'known') return new Set();
  return new Set([...view.containers.all].filter(hasProcesses).flatMap(({ published }) => published.map(({ transport, port }) => `${transport} ${port}`)));
}

function nameOf({ name, id }: Container): string {
  return `${name === '' ? 'without a name' : name} (${id.slice(0, 12)})`;
}
