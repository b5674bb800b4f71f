/**
 * Mass loss is not mass reclaim. Where most hosts fall silent together, in a failure domain or over the whole gateway, it is the network or
 * the site that failed, not the hosts: nothing is reclaimed there until they are back or an operator says otherwise, and gradually after that.
 */
import type { Host, Loss, State } from './state.js';
import type { Command, LossScope, LossView, Refusal, Reply } from './types.js';

const SHARE = 0.55;
const LEAST_HOSTS = 3;
const PORTS_PER_SECOND = 32;
/** For so long after a mass loss, or after a start with lost hosts, reclaim is bounded. */
const GRADUAL_MS = 600_000;
const GATEWAY: LossScope = 'gateway';

type Count = { lost: number; hosts: number };
type OverrideCommand = Extract<Command, { kind: 'overrideMassLoss' }>;

/** What a lost host has may be taken because others need it. */
export function mayReclaim(state: State, host: Host): boolean {
  return host.record.keptUntilMs <= state.nowMs && lossOf(state, host) === undefined;
}

/** The mass loss, not overridden, that the host is part of: the one of its failure domain first. */
export function lossOf(state: State, { record }: Host): (Loss & { scope: LossScope }) | undefined {
  if (state.losses.size === 0) return undefined;
  const scopes = record.failureDomain === '' ? [GATEWAY] : [scopeOf(record.failureDomain), GATEWAY];
  if (scopes.some((scope) => isOverridden(state, scope))) return undefined;
  for (const scope of scopes) {
    const loss = state.losses.get(scope);
    if (loss !== undefined) return { ...loss, scope };
  }
  return undefined;
}

export function refuseMassLoss(state: State, host: Host, of: { metadata?: Record<string, string>; field?: string } = {}): Refusal {
  const { lost = 0, hosts = 0, scope = GATEWAY } = lossOf(state, host) ?? {};
  const where = scope === GATEWAY ? `gateway ${state.gateway.gateway}` : `failure domain ${domainOf(scope)}`;
  return {
    kind: 'refused', reason: 'MASS_LOSS', message: `${lost} of ${hosts} hosts of ${where} are silent: nothing is reclaimed there`,
    metadata: { ...of.metadata, failure_domain: domainOf(scope), gateway: state.gateway.gateway, lost_hosts: `${lost}`, hosts: `${hosts}` },
    retryAfterMs: state.timing.lostMs, ...(of.field === undefined ? {} : { field: of.field }),
  };
}

/** Time has passed: counts anew, with an event for each scope in which a mass loss begins or ends. */
export function watchLosses(state: State): void {
  endOverrides(state);
  countLosses(state);
  for (const [scope, loss] of state.losses) {
    if (loss.isTold) continue;
    loss.isTold = true;
    state.event('MassLoss', { detail: detailOf(scope, loss) });
  }
}

/** Tells nobody: at a start the first tick does. */
export function countLosses(state: State): void {
  const counts = new Map<LossScope, Count>();
  for (const host of state.hosts.values()) {
    const { roles, bootId, failureDomain, duty } = host.record;
    if (!roles.includes('host') || bootId === '' || duty === 'forgetting') continue;
    for (const scope of failureDomain === '' ? [GATEWAY] : [GATEWAY, scopeOf(failureDomain)]) {
      const count = counts.get(scope) ?? { lost: 0, hosts: 0 };
      counts.set(scope, count);
      count.hosts += 1;
      if (isSilent(state, host)) count.lost += 1;
    }
  }
  const isMassLoss = ({ lost, hosts }: Count): boolean => hosts >= LEAST_HOSTS && lost > SHARE * hosts;
  for (const [scope, loss] of state.losses) {
    const count = counts.get(scope);
    if (count === undefined || !isMassLoss(count)) endLoss(state, scope, loss);
  }
  for (const [scope, count] of counts) {
    if (isMassLoss(count)) state.losses.set(scope, { sinceMs: state.nowMs, isTold: false, ...state.losses.get(scope), ...count });
  }
}

/** How many of the `wanted` ports may be taken from lost hosts now. */
export function withinBudget(state: State, wanted: number): number {
  if (!isGradual(state)) return wanted;
  const { gradual } = state;
  gradual.ports = Math.min(PORTS_PER_SECOND, gradual.ports + ((state.nowMs - gradual.atMs) / 1_000) * PORTS_PER_SECOND);
  gradual.atMs = state.nowMs;
  return Math.min(wanted, Math.floor(gradual.ports));
}

export function spend(state: State, ports: number): void {
  if (isGradual(state)) state.gradual.ports -= ports;
}

export function goGradually(state: State): void {
  state.gradual.untilMs = state.nowMs + GRADUAL_MS;
}

/** Nothing more may be taken in this moment, and some may be soon. */
export function budgetIsSpent(state: State): boolean {
  return withinBudget(state, 1) === 0;
}

export function overrideMassLoss(state: State, { failureDomain, reason, forMs }: OverrideCommand): Reply {
  const isKnown = failureDomain === '' || [...state.hosts.values()].some(({ record }) => record.failureDomain === failureDomain);
  if (!isKnown) return { kind: 'refused', reason: 'INVALID_FIELD', message: `no host of gateway ${state.gateway.gateway} is in failure domain ${failureDomain}`, field: 'failure_domain' };
  const scope = failureDomain === '' ? GATEWAY : scopeOf(failureDomain);
  if (forMs === 0) endOverride(state, scope);
  else {
    const override = { scope, untilMs: state.nowMs + forMs };
    state.overrides.set(scope, override);
    state.dirty.overrides.set(scope, override);
    state.changed = true;
  }
  state.event('MassLossOverridden', { detail: JSON.stringify({ failureDomain, reason, forMs }) });
  state.progress = true;
  return { kind: 'overridden', untilMs: forMs === 0 ? 0 : state.nowMs + forMs };
}

export function lossViews(state: State): LossView[] {
  return [...state.losses].map(([scope, { lost, hosts, sinceMs }]) => {
    const untilMs = Math.max(state.overrides.get(scope)?.untilMs ?? 0, state.overrides.get(GATEWAY)?.untilMs ?? 0);
    return { failureDomain: domainOf(scope), lost, hosts, sinceMs, overriddenUntilMs: untilMs > state.nowMs ? untilMs : 0 };
  });
}

function isSilent({ nowMs, timing }: State, { state, heardAtMs }: Host): boolean {
  switch (state) {
    case 'alive': return false;
    case 'suspect':
    case 'lost': return true;
    case 'unknown': return nowMs - heardAtMs > timing.suspectMs;
  }
}

function endLoss(state: State, scope: LossScope, loss: Loss): void {
  state.losses.delete(scope);
  goGradually(state);
  if (loss.isTold) state.event('MassLossOver', { detail: detailOf(scope, loss) });
}

function endOverrides(state: State): void {
  for (const { scope, untilMs } of state.overrides.values()) if (untilMs <= state.nowMs) endOverride(state, scope);
}

function endOverride(state: State, scope: LossScope): void {
  if (!state.overrides.delete(scope)) return;
  state.dirty.overrides.delete(scope);
  state.dirty.removedOverrides.push(scope);
  state.changed = true;
}

function isOverridden(state: State, scope: LossScope): boolean {
  return (state.overrides.get(scope)?.untilMs ?? 0) > state.nowMs;
}

function isGradual(state: State): boolean {
  return state.losses.size > 0 || state.nowMs < state.gradual.untilMs;
}

function scopeOf(failureDomain: string): LossScope {
  return `domain/${failureDomain}`;
}

function domainOf(scope: LossScope): string {
  return scope === GATEWAY ? '' : scope.slice('domain/'.length);
}

function detailOf(scope: LossScope, { lost, hosts }: Loss): string {
  return JSON.stringify({ failureDomain: domainOf(scope), lost, hosts });
}
