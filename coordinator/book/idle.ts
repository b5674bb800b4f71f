/**
 * Mappings without traffic, as their hosts report them. One that is new there is told by an event; where it is to be released, the event says
 * when, and the release follows a report that comes after that time and says that there was no traffic all through the warning. So nothing is
 * ever released because nobody says anything, nor because time passed while the coordinator or the agent was away; a start begins every
 * warning anew. Another port of the same environment that is not idle shows that the environment lives.
 */
import type { IdleMapping } from '../../shared/desired.js';
import { lossOf } from './mass-loss.js';
import { about, giveUp, tellLimit } from './mappings.js';
import { isInForce } from './states.js';
import type { Environment, Host, Idle, Mapping, Pool, State } from './state.js';
import type { IdleView, MappingRecord } from './types.js';

/** Why a mapping was released. */
export const IDLE = 'IDLE';

/** All that the host calls idle now: what it does not name any more has had traffic, or its limit was changed. */
export function takeIdle(state: State, host: Host, reported: readonly IdleMapping[]): void {
  if (host.idle.size === 0 && reported.length === 0) return;
  const before = host.idle;
  host.idle = new Map();
  for (const one of reported) {
    const known = before.get(one.mappingId);
    const told = known?.generation === one.generation ? known : undefined;
    if (isIdle(state, host, { one, wasTold: told !== undefined })) host.idle.set(one.mappingId, { ...one, atMs: state.nowMs, isTold: told !== undefined, release: told?.release });
  }
  for (const [mappingId, { generation }] of before) if (!host.idle.has(mappingId)) tellActive(state, host, { mappingId, generation });
  const isUsed = usage(state, host);
  for (const [mappingId, idle] of host.idle) {
    const mapping = state.mappings.get(mappingId) as Mapping;
    follow(state, host, { mapping, idle, lives: idle.lives || isUsed(mapping.environment) });
  }
}

/** Its host fell silent: what it says when it is back begins anew. */
export function forgetIdle(host: Host): void {
  host.idle.clear();
}

/** What others may see; undefined: it is not idle. */
export function idleView(state: State, { mappingId, host, generation, state: now }: MappingRecord): IdleView | undefined {
  const idle = state.hosts.get(host)?.idle.get(mappingId);
  if (idle?.generation !== generation || !isInForce(now) || now === 'held') return undefined;
  return { sinceMs: idle.atMs - idle.idleMs, releaseAtMs: idle.release?.atMs };
}

/** Hosts report by the limit that they were told: those that serve ports of the pool are told the new one. */
export function tellLimits(state: State, { spec: { pool } }: Pool): void {
  for (const mapping of state.mappings.values()) if (mapping.record.pool === pool && isInForce(mapping.record.state)) tellLimit(state, mapping);
}

/** What was told stays told while the mapping is in force; a mapping that is not live becomes idle no sooner than it is. */
function isIdle(state: State, host: Host, { one, wasTold }: { one: IdleMapping; wasTold: boolean }): boolean {
  const record = state.mappings.get(one.mappingId)?.record;
  if (record?.host !== host.record.host || record.generation !== one.generation) return false;
  const limitMs = limitOf(state, record);
  if (limitMs === 0 || one.idleMs <= limitMs) return false;
  return record.state === 'live' || (wasTold && isInForce(record.state) && record.state !== 'held');
}

function limitOf(state: State, { pool }: MappingRecord): number {
  return state.pools.get(pool)?.spec.idleLimitMs ?? 0;
}

/** True for an environment with a port that is watched, served and not idle. */
function usage(state: State, { idle }: Host): (environment: Environment) => boolean {
  const known = new Map<Environment, boolean>();
  const isActive = ({ record }: Mapping): boolean => record.state === 'live' && !idle.has(record.mappingId) && limitOf(state, record) > 0;
  return (environment) => {
    const used = known.get(environment) ?? environment.mappings.some(isActive);
    known.set(environment, used);
    return used;
  };
}

type Followed = { mapping: Mapping; idle: Idle; lives: boolean };

function follow(state: State, host: Host, { mapping, idle, lives }: Followed): void {
  const spec = state.pools.get(mapping.record.pool)?.spec;
  const warningMs = spec?.idleWarningMs ?? 0;
  const isToGo = !lives || spec?.idleAction === 'release';
  const warn = (): void => {
    idle.release = isToGo ? { atMs: state.nowMs + warningMs, afterIdleMs: idle.idleMs + warningMs } : undefined;
    state.event('PortIdle', about(mapping, { idleMs: idle.idleMs, limitMs: limitOf(state, mapping.record), lives, releaseAtMs: idle.release?.atMs ?? 0 }));
  };
  if (!idle.isTold || isToGo !== (idle.release !== undefined)) warn();
  else if (idle.release !== undefined && state.nowMs >= idle.release.atMs && idle.idleMs >= idle.release.afterIdleMs) {
    if (mayRelease(state, host, mapping)) release(state, host, { mapping, idle });
    else warn();
  }
}

/** Not while clients may have been kept away by what portlease, or the site, is short of; then the warning begins anew. */
function mayRelease(state: State, host: Host, { record }: Mapping): boolean {
  const leadsHere = !state.shared || state.gatewayAgent?.state === 'alive';
  return record.state === 'live' && host.state === 'alive' && leadsHere && state.gateway.restoring === 'no' && lossOf(state, host) === undefined;
}

/** By nobody's wish: the audit record says why (S11). */
function release(state: State, host: Host, { mapping, idle: { idleMs } }: Pick<Followed, 'mapping' | 'idle'>): void {
  const { mappingId, environment, space, protocol, port } = mapping.record;
  host.idle.delete(mappingId);
  giveUp(state, mapping, IDLE);
  state.audit({ actor: 'system', action: 'ReleaseIdle', outcome: 'ok', environment, requestId: '', detail: JSON.stringify({ mappingId, space, protocol, port, host: host.record.host, idleMs }) });
}

function tellActive(state: State, host: Host, { mappingId, generation }: Pick<IdleMapping, 'mappingId' | 'generation'>): void {
  const mapping = state.mappings.get(mappingId);
  if (mapping?.record.host !== host.record.host || mapping.record.generation !== generation || !isInForce(mapping.record.state)) return;
  state.event('PortActive', about(mapping));
}
