/** How full the pools are, as the event stream tells it: once when a pool crosses a threshold, and not again while it stays around it. */
import type { State } from './state.js';
import type { EventKind } from './types.js';
import { figuresOf } from './views.js';

export type PoolLevel = 'normal' | 'warning' | 'critical';

/** What is known of a pool's level. fresh: nothing yet. unsure: between two thresholds since the start; it may have been told before. */
export type KnownLevel = PoolLevel | 'fresh' | 'unsure';

/** In percent of what can be used: a level is entered above `over` and left below `until`. */
const WARNING = { over: 80, until: 75 };
const CRITICAL = { over: 95, until: 90 };

const EVENTS: Record<PoolLevel, EventKind> = { normal: 'PoolNormal', warning: 'PoolWarning', critical: 'PoolCritical' };

/** Tells of pools that have crossed a threshold. In scope host a pool is counted over all hosts, as in its figures. */
export function watchUsage(state: State): void {
  for (const pool of state.pools.values()) {
    const { usagePercent, allocated, held, total, reserved } = figuresOf(state, pool);
    const level = levelOf(pool.level, usagePercent);
    if (level === pool.level) continue;
    const isNews = level !== 'unsure' && !(pool.level === 'fresh' && level === 'normal');
    pool.level = level;
    if (!isNews) continue;
    const detail = { pool: pool.spec.pool, usagePercent: Math.round(usagePercent * 10) / 10, allocated, held, usable: total - reserved };
    state.event(EVENTS[level], { detail: JSON.stringify(detail) });
  }
}

/** After a start a level above its threshold is told again: it may have been crossed a moment before the end. */
export function levelOf(known: KnownLevel, percent: number): Exclude<KnownLevel, 'fresh'> {
  const isOpen = known === 'fresh' || known === 'unsure';
  if (percent > CRITICAL.over || (known === 'critical' && percent >= CRITICAL.until)) return 'critical';
  if (isOpen && percent >= CRITICAL.until) return 'unsure';
  if (percent > WARNING.over || ((known === 'warning' || known === 'critical') && percent >= WARNING.until)) return 'warning';
  return isOpen && percent >= WARNING.until ? 'unsure' : 'normal';
}
