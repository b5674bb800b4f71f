/** From desired state and the facts of this machine to what the kernel must hold. Pure; one object that cannot be served harms no other. */
import { transportsOf, type PortRange, type Transport } from '../../shared/ports.js';
import type { AgentReport, DesiredObject, ObjectProblem, Role } from '../../shared/desired.js';
import type { Listener } from '../drivers/connections/listeners.js';
import type { RulesSpec } from '../drivers/rules/spec.js';
import { endOf, type End } from './ends.js';
import type { HostFacts, Made, MakeForwards } from './forwards.js';
import { guardOf } from './guard.js';
import { PortSet } from './portset.js';
import { Serving } from './serving.js';

export type { HostFacts } from './forwards.js';
export type { End } from './ends.js';

export type PlanInput = {
  objects: ReadonlyMap<string, DesiredObject>;
  facts: HostFacts;
  /** Made by forwardMaker() of the same facts. */
  make: MakeForwards;
  listeners: readonly Listener[];
  /** Ports that were guarded before this round. */
  guarded: readonly PortRange[];
};

/** A target whose answer is waited for. */
export type VerifyTarget = { mappingId: string; generation: number; transport: Transport; address: string; port: number };

export type Plan = {
  rules: RulesSpec;
  /** For ip_local_reserved_ports; these are the guarded ones. */
  reserved: PortRange[];
  serving: Serving;
  ends: End[];
  problems: ObjectProblem[];
  occupied: AgentReport['occupied'];
  verify: VerifyTarget[];
};

const ROLE_OF: Record<DesiredObject['kind'], Role> = { lease: 'host', mapping: 'host', release: 'host', route: 'gateway', withdrawal: 'gateway' };

export function makePlan({ objects, facts, make, listeners, guarded }: PlanInput): Plan {
  const { fitting, problems } = byRole(objects, facts);
  const { forwards, served } = joined(makeAll(fitting, make, problems));
  const serving = new Serving(served);
  const { leased, reserved, occupied } = guardOf({ objects: fitting, serving, listeners, addresses: facts.addresses, guarded });
  const failed = new Set(problems.map(({ key }) => key));
  const ends: End[] = [];
  const verify: VerifyTarget[] = [];
  for (const object of fitting) {
    if (failed.has(object.key)) continue;
    const end = endOf(object);
    if (end !== undefined) ends.push(end);
    if (object.kind === 'mapping' && object.verify) verify.push(verifyTarget(object, serving));
  }
  return { rules: { addresses: facts.addresses, leased, forwards, snat: facts.snat }, reserved, serving, ends, problems, occupied, verify };
}

function joined(made: readonly Made[]): Made {
  const all: Made = { forwards: [], served: [] };
  for (const { forwards, served } of made) {
    all.forwards.push(...forwards);
    all.served.push(...served);
  }
  return all;
}

function byRole(objects: PlanInput['objects'], { roles }: HostFacts): { fitting: DesiredObject[]; problems: ObjectProblem[] } {
  const fitting: DesiredObject[] = [];
  const problems: ObjectProblem[] = [];
  for (const object of objects.values()) {
    const role = ROLE_OF[object.kind];
    if (roles.includes(role)) fitting.push(object);
    else problems.push({ key: object.key, reason: 'ROLE_MISSING', message: `this agent has no ${role} role` });
  }
  return { fitting, problems };
}

/** Forwards of all objects that can be served. Of two that claim a port the later grant has it; mappings go before routes. */
function makeAll(objects: readonly DesiredObject[], make: MakeForwards, problems: ObjectProblem[]): Made[] {
  const leased = leasedPorts(objects);
  const taken = new PortSet();
  const made: Made[] = [];
  for (const object of inOrder(objects)) {
    const one = notLeased(object, leased) ?? make(object);
    const problem = 'reason' in one ? one : claimedTwice(object.key, one, taken);
    if (problem !== undefined) problems.push(problem);
    else if ('served' in one) made.push(one);
  }
  return made;
}

function leasedPorts(objects: readonly DesiredObject[]): PortSet {
  const leased = new PortSet();
  for (const object of objects) {
    if (object.kind === 'lease') for (const transport of transportsOf(object.protocol)) leased.add(transport, object.ports);
  }
  return leased;
}

type Forwarded = Extract<DesiredObject, { kind: 'mapping' | 'route' }>;

function inOrder(objects: readonly DesiredObject[]): Forwarded[] {
  return objects.filter(object => object.kind === 'mapping' || object.kind === 'route')
    .sort((a, b) => (a.kind === b.kind ? b.generation - a.generation : a.kind === 'mapping' ? -1 : 1));
}

function notLeased(object: Forwarded, leased: PortSet): ObjectProblem | undefined {
  if (object.kind === 'route') return undefined;
  const { key, port, protocol } = object;
  const outside = transportsOf(protocol).filter(transport => !leased.has(transport, port));
  if (outside.length === 0) return undefined;
  return { key, reason: 'NOT_LEASED', message: `${outside.join(' and ')} port ${port} is in no lease of this host` };
}

/** Takes the ports, unless one of them is taken. */
function claimedTwice(key: string, { served }: Made, taken: PortSet): ObjectProblem | undefined {
  for (const { transport, ports } of served) {
    for (let port = ports.first; port <= ports.last; port++) {
      if (taken.has(transport, port)) return { key, reason: 'PORT_CLAIMED_TWICE', message: `${transport} port ${port} belongs to a later grant` };
    }
  }
  for (const { transport, ports } of served) taken.add(transport, ports);
  return undefined;
}

function verifyTarget(mapping: Extract<DesiredObject, { kind: 'mapping' }>, serving: Serving): VerifyTarget {
  const { mappingId, generation, protocol, port, internalPort, target } = mapping;
  const transport = protocol === 'udp' ? 'udp' : 'tcp';
  const address = serving.endpoints(transport, port)[0]?.address ?? target.address;
  return { mappingId, generation, transport, address, port: internalPort };
}
