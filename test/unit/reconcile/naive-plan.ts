/** The plan as it is said in words, made from nothing and port by port: what nextPlan() is compared with. */
import { transportsOf, type PortRange, type Transport } from '../../../shared/ports.js';
import type { ObjectProblem, Role } from '../../../shared/desired.js';
import { endOf } from '../../../agent/reconcile/ends.js';
import type { Made } from '../../../agent/reconcile/forwards.js';
import type { ReconcileObject } from '../../../agent/reconcile/objects.js';
import type { Plan, PlanInput } from '../../../agent/reconcile/plan.js';

const ROLE_OF: Record<ReconcileObject['kind'], Role> = { lease: 'host', mapping: 'host', release: 'host', route: 'gateway', withdrawal: 'gateway' };
const TRANSPORTS: readonly Transport[] = ['tcp', 'udp'];

/** All that a plan says, sorted. */
export type Picture = Record<'forwards' | 'places' | 'leased' | 'reserved' | 'ends' | 'problems' | 'occupied' | 'inConflict' | 'verify', string[]>;

const numbers = ({ first, last }: PortRange): number[] => Array.from({ length: last - first + 1 }, (_, index) => first + index);
const text = (value: unknown): string => JSON.stringify(value);
const at = (transport: Transport, port: number): string => `${transport} ${port}`;

export function pictureOf(plan: Plan): Picture {
  const places = TRANSPORTS.flatMap(transport => [...plan.serving.places[transport].runs()].flatMap(run => numbers(run).map(port => `${at(transport, port)} ${text(run.value)}`)));
  return sorted({
    forwards: Array.from(plan.rules.forwards, text), places, ends: [...plan.ends.values()].map(text), problems: plan.problems.map(text),
    leased: plan.rules.leased.flatMap(({ transport, ports }) => numbers(ports).map(port => at(transport, port))), reserved: plan.reserved.flatMap(numbers).map(String),
    occupied: plan.occupied.map(({ transport, port }) => at(transport, port)), inConflict: plan.inConflict.map(({ key }) => key), verify: [...plan.verify.values()].map(text),
  });
}

export function naivePicture({ objects, facts, make, listeners, guarded }: PlanInput): Picture {
  const fitting = [...objects.values()].filter(({ kind }) => facts.roles.includes(ROLE_OF[kind]));
  const problems: ObjectProblem[] = [...objects.values()].filter(object => !fitting.includes(object))
    .map(({ key, kind }) => ({ key, reason: 'ROLE_MISSING', message: `this agent has no ${ROLE_OF[kind]} role` }));
  const leases = coveredBy(fitting.filter(({ kind }) => kind === 'lease'));
  const made = new Map<ReconcileObject, Made>();
  const taken = new Map<string, readonly unknown[]>();
  for (const object of inOrder(fitting)) {
    const outside = object.kind === 'route' ? [] : transportsOf(object.protocol).filter(transport => !leases.has(at(transport, object.port)));
    const one = object.kind === 'mapping' && outside.length > 0
      ? { key: object.key, reason: 'NOT_LEASED', message: `${outside.join(' and ')} port ${object.port} is in no lease of this host` } : make(object);
    const twice = 'reason' in one ? undefined : one.served.flatMap(({ transport, ports }) => numbers(ports).map(port => at(transport, port))).find(place => taken.has(place));
    if ('reason' in one) problems.push(one);
    else if (twice !== undefined) problems.push({ key: object.key, reason: 'PORT_CLAIMED_TWICE', message: `${twice.replace(' ', ' port ')} belongs to a later grant` });
    else {
      made.set(object, one);
      for (const { transport, ports, endpoints } of one.served) for (const port of numbers(ports)) taken.set(at(transport, port), endpoints);
    }
  }
  const failed = new Set(problems.map(({ key }) => key));
  const verify = fitting.flatMap(object => (object.kind === 'mapping' && object.verify && made.has(object) ? [{
    mappingId: object.mappingId, generation: object.generation, transport: object.protocol === 'udp' ? 'udp' : 'tcp', address: made.get(object)?.served[0]?.endpoints[0]?.address, port: object.internalPort,
  }] : []));
  const guarding = guard(fitting, new Set(taken.keys()), { facts, listeners, guarded });
  return sorted({
    forwards: [...made.values()].flatMap(({ forwards }) => forwards).map(text), places: Array.from(taken, ([place, endpoints]) => `${place} ${text(endpoints)}`),
    problems: problems.map(text), ends: fitting.filter(({ key }) => !failed.has(key)).flatMap(object => endOf(object) ?? []).map(text), verify: verify.map(text),
    ...guarding, inConflict: [...made.keys()].filter(object => object.kind === 'mapping' && transportsOf(object.protocol).some(transport => guarding.occupied.includes(at(transport, object.port)))).map(({ key }) => key),
  });
}

type Forwarded = Extract<ReconcileObject, { kind: 'mapping' | 'route' }>;

function inOrder(objects: readonly ReconcileObject[]): Forwarded[] {
  return objects.filter(object => object.kind === 'mapping' || object.kind === 'route')
    .sort((a, b) => (a.kind === b.kind ? b.generation - a.generation || (a.key < b.key ? -1 : 1) : a.kind === 'mapping' ? -1 : 1));
}

function coveredBy(objects: readonly ReconcileObject[]): Set<string> {
  return new Set(objects.flatMap(object => {
    const ports = 'ports' in object ? object.ports : { first: object.port, last: object.port };
    return transportsOf(object.protocol).flatMap(transport => numbers(ports).map(port => at(transport, port)));
  }));
}

function guard(fitting: readonly ReconcileObject[], served: ReadonlySet<string>, { facts, listeners, guarded }: Pick<PlanInput, 'facts' | 'listeners' | 'guarded'>): Pick<Picture, 'leased' | 'reserved' | 'occupied'> {
  const ports = coveredBy(fitting.filter(({ kind }) => kind !== 'mapping'));
  const always = coveredBy(fitting.filter(object => object.kind === 'lease' && object.guardOccupied === true));
  const before = new Set(guarded.flatMap(numbers));
  const heard = listeners.filter(({ address }) => ['0.0.0.0', '::', ...facts.addresses].includes(address)).map(({ transport, port }) => at(transport, port));
  const occupied = [...new Set(heard)].filter(place => ports.has(place));
  const free = new Set(occupied.filter(place => !before.has(Number(place.slice(4))) && !served.has(place) && !always.has(place)));
  const leased = [...ports].filter(place => !free.has(place));
  const freeNumbers = new Set([...free].map(place => place.slice(4)));
  return { leased, occupied, reserved: [...new Set(leased.map(place => place.slice(4)))].filter(port => !freeNumbers.has(port)) };
}

function sorted(picture: Picture): Picture {
  return Object.fromEntries(Object.entries(picture).map(([what, lines]) => [what, lines.sort()])) as Picture;
}
