/**
 * What hosts found that is there without what it is for. A leak is heard of once its agent has seen it often enough; one that is new is told by an
 * event, and so is its end. What is to be done on the host is asked of the agent by its next heartbeats, until a report is without the leak. A
 * mapping is released by the coordinator: when an operator says so, or, where the policy is repair, when the agent saw its container go.
 */
import type { Leak } from '../../shared/leak.js';
import { hostOf } from './duty.js';
import { giveUpAll } from './giving-up.js';
import { giveUp } from './mappings.js';
import { lossOf } from './mass-loss.js';
import { isInForce } from './states.js';
import type { Host, KnownLeak, Mapping, State } from './state.js';
import type { Command, Reply } from './types.js';

/** A leak of a host, and what it concerns; `pool`, `environment`: '' for none. */
export type LeakView = { host: string; pool: string; environment: string; leak: Leak; sinceMs: number };

/** Why a mapping was released. */
export const LEAKED = 'LEAKED';

/** Of one report: the rest is told with the next ones. */
const MAX_TOLD = 64;
/** So long the host is asked to repair a leak; then an operator asks again. */
const ASK_MS = 60_000;

/** All that the host calls a leak now. */
export function takeLeaks(state: State, host: Host, reported: readonly Leak[]): void {
  if (host.leaks.size === 0 && reported.length === 0) return;
  const before = host.leaks;
  const present = reported.filter((leak) => concerns(state, host, leak));
  host.leaks = new Map(present.map((leak) => {
    const known = before.get(leak.id);
    return [leak.id, { leak, sinceMs: known?.sinceMs ?? state.nowMs, isTold: known?.isTold ?? false, askedUntilMs: known?.askedUntilMs ?? 0 }];
  }));
  for (const known of before.values()) if (!host.leaks.has(known.leak.id)) end(state, host, known);
  tellNew(state, host);
  if (state.leakPolicy === 'repair') for (const known of host.leaks.values()) releaseLost(state, host, known);
}

/** Its host fell silent: what it says when it is back begins anew. */
export function forgetLeaks(host: Host): void {
  host.leaks.clear();
}

/** Ids that the host is asked to repair. */
export function leaksToResolve({ leaks }: Host, nowMs: number): string[] {
  if (leaks.size === 0) return [];
  return [...leaks.values()].filter(({ askedUntilMs }) => askedUntilMs > nowMs).map(({ leak }) => leak.id);
}

export function resolveLeak(state: State, { host: name, leak: id, dryRun }: Extract<Command, { kind: 'resolveLeak' }>): Reply {
  const host = hostOf(state, name);
  if ('kind' in host) return host;
  const metadata = { host: name, leak: id };
  const known = host.leaks.get(id);
  if (known === undefined) return { kind: 'refused', reason: 'LEAK_UNKNOWN', message: `host ${name} has no leak ${id}`, field: 'leak', metadata };
  const { leak } = known;
  if (leak.repair === 'none') return { kind: 'refused', reason: 'LEAK_IS_FOREIGN', message: leak.kind === 'containerWithoutEnvironment' ? `${leak.message}: portlease removes only what it made itself and does not run` : `${leak.message}: it is not portlease's`, field: 'leak', metadata };
  const view = leakView(state, host, known);
  const workload = state.workloads.get(view.environment);
  if (leak.repair === 'release' && workload !== undefined) {
    return { kind: 'refused', reason: 'ENVIRONMENT_HAS_CONTAINER', message: `portlease runs the container of environment ${view.environment}: delete the environment as a whole`, field: 'leak', metadata: { ...metadata, environment: view.environment } };
  }
  if (!dryRun) resolve(state, host, known);
  return { kind: 'resolving', leak: view };
}

function resolve(state: State, host: Host, known: KnownLeak): void {
  const mapping = mappingOf(state, host, known.leak);
  if (known.leak.repair !== 'release') known.askedUntilMs = state.nowMs + ASK_MS;
  else {
    if (mapping !== undefined) giveUpAll(state, [mapping]);
    host.leaks.delete(known.leak.id);
    end(state, host, known);
  }
  state.changed = true;
}

/** In order of host and id. */
export function leakViews(state: State): LeakView[] {
  const views = [...state.hosts.values()].flatMap((host) => Array.from(host.leaks.values(), (known) => leakView(state, host, known)));
  return views.sort((a, b) => (a.host === b.host ? (a.leak.id < b.leak.id ? -1 : 1) : a.host < b.host ? -1 : 1));
}

/** What is published, or taken by a rule, outside of pools is nobody's business here; a mapping may have been given up meanwhile. */
function concerns(state: State, host: Host, leak: Leak): boolean {
  if (leak.kind === 'mappingWithoutContainer') return mappingOf(state, host, leak) !== undefined;
  return leak.kind !== 'publishedPort' || (leak.at !== undefined && state.poolAt(leak.at.port) !== undefined);
}

/** Of this host and generation, and in force. */
function mappingOf(state: State, host: Host, { mappingId, generation }: Leak): Mapping | undefined {
  const mapping = mappingId === '' ? undefined : state.mappings.get(mappingId);
  return mapping?.record.host === host.record.host && mapping.record.generation === generation && isInForce(mapping.record.state) ? mapping : undefined;
}

function leakView(state: State, host: Host, { leak, sinceMs }: KnownLeak): LeakView {
  const mapping = mappingOf(state, host, leak);
  const isAutomatic = leak.kind === 'mappingWithoutContainer' ? mapping !== undefined && isToGo(state, { leak, mapping }) : leak.isAutomatic;
  return {
    host: host.record.host, pool: leak.at === undefined ? '' : state.poolAt(leak.at.port)?.spec.pool ?? '', environment: mapping?.record.environment ?? '',
    leak: { ...leak, isAutomatic }, sinceMs,
  };
}

/** The agent saw its container go, and it is the scheduler's, who may not know. */
function isToGo(state: State, { leak, mapping }: { leak: Leak; mapping: Mapping }): boolean {
  return state.leakPolicy === 'repair' && leak.isAutomatic && !state.workloads.has(mapping.record.environment);
}

/** Not while the host's word may be out of date, or while portlease itself is short of what it has to know. */
function releaseLost(state: State, host: Host, known: KnownLeak): void {
  const { leak } = known;
  const mapping = leak.kind === 'mappingWithoutContainer' ? mappingOf(state, host, leak) : undefined;
  if (mapping === undefined || !isToGo(state, { leak, mapping })) return;
  if (host.state !== 'alive' || state.gateway.restoring !== 'no' || lossOf(state, host) !== undefined) return;
  const { mappingId, environment, space, protocol, port } = mapping.record;
  giveUp(state, mapping, LEAKED);
  host.leaks.delete(leak.id);
  end(state, host, known);
  state.audit({ actor: 'system', action: 'ReleaseLeaked', outcome: 'ok', environment, requestId: '', detail: JSON.stringify({ mappingId, space, protocol, port, host: host.record.host }) });
}

function tellNew(state: State, host: Host): void {
  let told = 0;
  for (const known of host.leaks.values()) {
    if (known.isTold || told === MAX_TOLD) continue;
    known.isTold = true;
    told += 1;
    tell(state, host, 'LeakFound', known);
  }
}

function end(state: State, host: Host, known: KnownLeak): void {
  if (known.isTold) tell(state, host, 'LeakOver', known);
  state.touched.push(leakKey(host.record.host, known.leak.id));
}

/** Who waits for the end of a leak watches this. */
export function leakKey(host: string, id: string): string {
  return `leak/${host}/${id}`;
}

function tell(state: State, host: Host, kind: 'LeakFound' | 'LeakOver', known: KnownLeak): void {
  const { leak: { id, kind: what, message, repair, isAutomatic, mappingId, at }, pool } = leakView(state, host, known);
  const mapping = state.mappings.get(mappingId);
  const place = at === undefined ? {} : { space: state.spaceOf(host.record.host).name, pool, protocol: at.transport, port: at.port };
  const detail = { ...(mapping === undefined ? {} : { tenant: mapping.record.tenant }), ...place, leak: id, what, message, repair, automatic: isAutomatic };
  state.event(kind, { host: host.record.host, environment: mapping?.record.environment ?? '', mappingId, detail: JSON.stringify(detail) });
}
