/** From desired state and the facts of this machine to what the kernel must hold. Pure; one object that cannot be served harms no other. */
import type { PortRange } from '../../shared/ports.js';
import type { AgentReport, Conflict, ObjectProblem } from '../../shared/desired.js';
import type { Listener } from '../drivers/connections/listeners.js';
import type { Bound } from '../drivers/bridge/guard.js';
import type { Forwards } from '../drivers/rules/forwards.js';
import type { RulesSpec } from '../drivers/rules/spec.js';
import type { ProxiedRoute } from '../drivers/nginx/route.js';
import { differences, type PersistentMap } from '../persistent/map.js';
import type { Ports } from '../persistent/ports.js';
import { NO_BASIS, nextBasis, type Basis, type VerifyTarget } from './basis.js';
import { conflictProblems } from './conflicts.js';
import type { End } from './ends.js';
import type { HostFacts, MakeForwards } from './forwards.js';
import { guardOf, type Guarded } from './guard.js';
import type { Objects } from './objects.js';
import type { Serving } from './serving.js';

export type { HostFacts } from './forwards.js';
export type { End } from './ends.js';
export type { VerifyTarget } from './basis.js';
export type { Objects } from './objects.js';

export type PlanInput = {
  objects: Objects;
  facts: HostFacts;
  /** Made by forwardMaker() of the same facts. */
  make: MakeForwards;
  listeners: readonly Listener[];
  /** Ports that were guarded before this round. */
  guarded: readonly PortRange[];
};

export type Plan = {
  readonly rules: RulesSpec & { readonly forwards: Forwards };
  /** For ip_local_reserved_ports; these are the guarded ones. */
  readonly reserved: readonly PortRange[];
  readonly serving: Serving;
  /** By key of the object. */
  readonly ends: ReadonlyMap<string, End>;
  /** Routes that nginx serves, by key; the same map for as long as these are the same. */
  readonly routes: PersistentMap<ProxiedRoute>;
  /** Ports of this host's own leases. */
  readonly own: Ports<true>;
  /** Containers that mappings lead to, each once; the same list for as long as these are the same. */
  readonly containers: readonly Bound[];
  readonly problems: ObjectProblem[];
  readonly occupied: AgentReport['occupied'];
  /** Who has these. */
  readonly conflicts: readonly Conflict[];
  /** Of mappings that are served, on such ports. */
  readonly inConflict: readonly ObjectProblem[];
  /** By key of the mapping. */
  readonly verify: ReadonlyMap<string, VerifyTarget>;
};

/** A plan, and what the next one is made from. */
export type Planned = { readonly plan: Plan; readonly objects: Objects; readonly basis: Basis; readonly guarded: Guarded };

/**
 * The plan for these objects, whatever the earlier one was for; facts and `make` are the same each time. Costs as much as has
 * changed, when the objects are a PersistentMap that was made from the earlier one. Parts that are as before are the same objects.
 */
export function nextPlan(before: Planned | undefined, { objects, facts, make, listeners, guarded }: PlanInput): Planned {
  const old: Objects = before?.objects ?? new Map();
  const keys = differences(old, objects);
  const changed = { gone: keys.flatMap(key => old.get(key) ?? []), come: keys.flatMap(key => objects.get(key) ?? []), facts, make };
  const basis = keys.length === 0 && before !== undefined ? before.basis : nextBasis(before?.basis ?? NO_BASIS, changed);
  const { serving, guards, always, ends, verify } = basis;
  const guard = guardOf({ ports: guards.covered, always: always.covered, serving, published: basis.published, listeners, addresses: facts.addresses, guarded }, before?.guarded);
  const { leased, reserved, occupied, conflicts } = guard.guard;
  const plan = {
    rules: rulesOf(facts, basis, leased, before), reserved, serving, ends, routes: basis.proxied, own: basis.leases.covered, containers: containersOf(basis, before), problems: problemsOf(basis, before), occupied, conflicts,
    inConflict: inConflictOf(basis, guard.guard, before), verify,
  };
  return { plan, objects, basis, guarded: guard };
}

function rulesOf(facts: HostFacts, { forwards, published, containers }: Basis, leased: RulesSpec['leased'], before: Planned | undefined): Plan['rules'] {
  const rules = before?.plan.rules;
  const isSame = before?.basis.published === published;
  const markBit = containers.size > 0 ? facts.markBit : undefined;
  if (isSame && rules?.forwards === forwards && rules.leased === leased && rules.markBit === markBit) return rules;
  const leaves = isSame && rules?.published !== undefined ? rules.published : [...published.values()];
  return { addresses: facts.addresses, leased, forwards, snat: facts.snat, published: leaves, markBit };
}

function containersOf({ containers }: Basis, before: Planned | undefined): readonly Bound[] {
  if (before?.basis.containers === containers) return before.plan.containers;
  return [...new Map([...containers.values()].map(bound => [bound.address, bound])).values()];
}

function inConflictOf({ claims, made }: Basis, { occupied, conflicts }: Guarded['guard'], before: Planned | undefined): readonly ObjectProblem[] {
  const isSame = before?.basis.claims === claims && before.basis.made === made && before.guarded.guard.occupied === occupied && before.guarded.guard.conflicts === conflicts;
  return isSame ? before.plan.inConflict : conflictProblems(occupied, { conflicts, claims, isMade: key => made.get(key) !== undefined });
}

/** In the order of their keys. */
function problemsOf({ problems }: Basis, before: Planned | undefined): ObjectProblem[] {
  if (before?.basis.problems === problems) return before.plan.problems;
  return [...problems.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
}
