/**
 * For how long a mapping has been quiet, as far as somebody looked. Pure. Between two looks it was quiet when no connection was tracked at
 * either, and none has begun: the counter of its rule says so. A counter that is lower than before was reset (rules rewritten, flushed,
 * a reboot): that is no traffic, but what it has counted since is.
 * A long time between two looks (the agent was away) is quiet only where a counter proves it, by being the same and not 0: then the rule
 * stood all that time. Otherwise, after a reboot, and while the mapping is not served nobody knows: that time counts neither as traffic
 * nor as quiet.
 */
import type { Transport } from '../../shared/ports.js';
import type { Traffic } from '../drivers/traffic/traffic.js';

export type Quiet = {
  readonly generation: number;
  readonly quietMs: number;
  /** At the last look. */
  readonly begun: Traffic['begun'];
  readonly isTracked: boolean;
};

/** Time since the last look. unknown: of another boot. */
export type Gap = { readonly kind: 'short' | 'long'; readonly ms: number } | { readonly kind: 'unknown' };

export type Look = {
  readonly generation: number;
  readonly transports: readonly Transport[];
  /** undefined: it is not served. */
  readonly traffic: Traffic | undefined;
  readonly gap: Gap;
};

const NOT_SERVED: Traffic = { begun: {}, isTracked: false };

/** `before`: of the last look; undefined, or of another generation: it begins now. */
export function nextQuiet(before: Quiet | undefined, { generation, transports, traffic = NOT_SERVED, gap }: Look): Quiet {
  const now = { generation, begun: traffic.begun, isTracked: traffic.isTracked };
  if (before?.generation !== generation) return { ...now, quietMs: 0 };
  const hasBegun = transports.some(transport => (traffic.begun[transport] ?? 0) > 0 && traffic.begun[transport] !== before.begun[transport]);
  if (hasBegun || traffic.isTracked || before.isTracked) return { ...now, quietMs: 0 };
  return { ...now, quietMs: before.quietMs + observedMs(before, traffic, { transports, gap }) };
}

/** How much of the gap is known to have been quiet, when nothing says that it was not. */
function observedMs(before: Quiet, { begun }: Traffic, { transports, gap }: Pick<Look, 'transports' | 'gap'>): number {
  if (gap.kind === 'unknown' || transports.some(transport => begun[transport] === undefined)) return 0;
  const isProven = transports.every(transport => begun[transport] !== 0 && begun[transport] === before.begun[transport]);
  return gap.kind === 'short' || isProven ? gap.ms : 0;
}
