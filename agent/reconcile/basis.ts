/** What the desired objects come to, kept so that a change costs as much as it changes. Pure: each change makes a new basis. */
import type { ObjectProblem, Role } from '../../shared/desired.js';
import { PersistentMap } from '../persistent/map.js';
import { donePorts, noPorts } from '../persistent/ports.js';
import type { Bound } from '../drivers/bridge/guard.js';
import type { ProxiedRoute } from '../drivers/nginx/route.js';
import { Forwards } from '../drivers/rules/forwards.js';
import type { Leased } from '../drivers/rules/spec.js';
import { ClaimsEdit, decide, type Claims, type Decision, type Forwarded } from './claims.js';
import { CoverEdit, NO_COVER, type Cover } from './cover.js';
import { endOf, type End } from './ends.js';
import type { HostFacts, Made, MakeForwards } from './forwards.js';
import type { ReconcileObject } from './objects.js';
import { Serving } from './serving.js';

/** A target whose answer is waited for. */
export type VerifyTarget = { mappingId: string; generation: number; transport: 'tcp' | 'udp'; address: string; port: number };

export type Basis = {
  /** Leases of this host. */
  readonly leases: Cover;
  /** All whose ports are guarded, and of these the ones that insist. */
  readonly guards: Cover;
  readonly always: Cover;
  readonly claims: Claims;
  /** By key: mappings and routes that have their ports. */
  readonly made: PersistentMap<Made>;
  readonly forwards: Forwards;
  readonly serving: Serving;
  /** Ports that Docker leads somewhere: "tcp/30001". */
  readonly published: PersistentMap<Leased>;
  /** Containers that mappings lead to, by the key of the mapping. */
  readonly containers: PersistentMap<Bound>;
  /** Routes that nginx serves, by key. */
  readonly proxied: PersistentMap<ProxiedRoute>;
  readonly problems: PersistentMap<ObjectProblem>;
  readonly ends: PersistentMap<End>;
  /** By key of the mapping. */
  readonly verify: PersistentMap<VerifyTarget>;
};

export const NO_BASIS: Basis = {
  leases: NO_COVER, guards: NO_COVER, always: NO_COVER, claims: noPorts(), made: PersistentMap.empty(), forwards: Forwards.none, serving: Serving.nothing, published: PersistentMap.empty(), containers: PersistentMap.empty(), proxied: PersistentMap.empty(),
  problems: PersistentMap.empty(), ends: PersistentMap.empty(), verify: PersistentMap.empty(),
};

/** Objects that went and came; one that is another one now is in both. `make` is of the same facts each time. */
export type Changed = { gone: readonly ReconcileObject[]; come: readonly ReconcileObject[]; facts: HostFacts; make: MakeForwards };

const ROLE_OF: Record<ReconcileObject['kind'], Role> = { lease: 'host', mapping: 'host', release: 'host', route: 'gateway', withdrawal: 'gateway' };

export function nextBasis(before: Basis, changed: Changed): Basis {
  const { facts, make } = changed;
  const fits = ({ kind }: ReconcileObject): boolean => facts.roles.includes(ROLE_OF[kind]);
  const [gone, come] = [changed.gone.filter(fits), changed.come.filter(fits)];
  const covers = coversOf(before, gone, come);
  const claims = new ClaimsEdit(before.claims, make);
  for (const object of gone) if (isForwarded(object)) claims.remove(object);
  for (const object of come) if (isForwarded(object)) claims.add(object);
  for (const flip of covers.leases.flips) claims.touch(flip);
  const decisions = decide({ ...claims.affected(), isLeased: (transport, port) => covers.leases.has(transport, port), make });
  const unfit = changed.come.filter(object => !fits(object)).map(roleMissing);
  return {
    leases: covers.leases.done(), guards: covers.guards.done(), always: covers.always.done(),
    claims: donePorts(claims.edit, before.claims),
    ...served(before, gone, decisions),
    problems: before.problems.with([...changed.gone.map(nothing), ...unfit, ...decisions.map(({ object: { key }, result }) => [key, 'reason' in result ? result : undefined] as const)]),
    ends: before.ends.with([...gone.map(nothing), ...come.flatMap(object => (isForwarded(object) ? [] : [[object.key, endOf(object)] as const])), ...decisions.map(routeEnd)]),
    verify: before.verify.with([...gone.map(nothing), ...decisions.map(verification)]),
  };
}

function nothing({ key }: ReconcileObject): readonly [string, undefined] {
  return [key, undefined];
}

function roleMissing({ key, kind }: ReconcileObject): readonly [string, ObjectProblem] {
  return [key, { key, reason: 'ROLE_MISSING', message: `this agent has no ${ROLE_OF[kind]} role` }];
}

function isForwarded(object: ReconcileObject): object is Forwarded {
  return object.kind === 'mapping' || object.kind === 'route';
}

type Covers = Record<'leases' | 'guards' | 'always', CoverEdit>;

function coversOf({ leases, guards, always }: Basis, gone: readonly ReconcileObject[], come: readonly ReconcileObject[]): Covers {
  const covers = { leases: new CoverEdit(leases), guards: new CoverEdit(guards), always: new CoverEdit(always) };
  for (const object of come) cover(covers, object, 'add');
  for (const object of gone) cover(covers, object, 'remove');
  return covers;
}

function cover({ leases, guards, always }: Covers, object: ReconcileObject, how: 'add' | 'remove'): void {
  if (object.kind === 'mapping') return;
  const ports = object.kind === 'release' ? { first: object.port, last: object.port } : object.ports;
  guards[how](object.protocol, ports);
  if (object.kind !== 'lease') return;
  leases[how](object.protocol, ports);
  if (object.guardOccupied === true) always[how](object.protocol, ports);
}

function served(before: Basis, gone: readonly ReconcileObject[], decisions: readonly Decision[]): Pick<Basis, 'made' | 'forwards' | 'serving' | 'published' | 'containers' | 'proxied'> {
  const fresh = new Map<string, Made | undefined>(gone.map(nothing));
  for (const { object: { key }, result } of decisions) fresh.set(key, 'reason' in result ? undefined : result);
  const changes = [...fresh].filter(([key, made]) => before.made.get(key) !== made);
  const old = changes.flatMap(([key]) => before.made.get(key) ?? []);
  const now = changes.flatMap(([, made]) => made ?? []);
  return {
    made: before.made.with(changes),
    forwards: before.forwards.amended(old.flatMap(({ forwards }) => forwards), now.flatMap(({ forwards }) => forwards)),
    serving: before.serving.amended(old.flatMap(made => made.served), now.flatMap(made => made.served)),
    containers: before.containers.with(changes.map(([key, made]) => [key, made?.container])),
    proxied: before.proxied.with(changes.map(([key, made]) => [key, made?.proxied])),
    published: before.published.with([...old.flatMap(publishedBy).map(([key]) => [key, undefined] as const), ...now.flatMap(publishedBy)]),
  };
}

function publishedBy({ isPublished, served }: Made): (readonly [string, Leased])[] {
  return isPublished === true ? served.map(({ transport, ports }) => [`${transport}/${ports.first}`, { transport, ports }]) : [];
}

/** A fence is confirmed of a route that is served. */
function routeEnd({ object, result }: Decision): readonly [string, End | undefined] {
  return [object.key, 'reason' in result ? undefined : endOf(object)];
}

function verification({ object, result }: Decision): readonly [string, VerifyTarget | undefined] {
  if (object.kind !== 'mapping' || !object.verify || 'reason' in result) return [object.key, undefined];
  const { mappingId, generation, protocol, internalPort } = object;
  const transport = protocol === 'udp' ? 'udp' : 'tcp';
  return [object.key, { mappingId, generation, transport, address: result.served[0]?.endpoints[0]?.address ?? '', port: internalPort }];
}
