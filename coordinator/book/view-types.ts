/** What the lease book shows of itself, beside its records: views for lists, figures and explanations. */
import type { RouteFigures } from '../../shared/desired.js';
import type { Conflict, HostRecord, LeaseRecord, MappingRecord, PoolSpec } from './types.js';

export type HostLiveness = 'unknown' | 'alive' | 'suspect' | 'lost';

export type HostView = {
  record: HostRecord;
  state: HostLiveness;
  /** undefined: none since the coordinator started. */
  heartbeatAgeMs: number | undefined;
  mappings: number;
  leasedPorts: number;
  driftRepairs: number;
  routes: RouteFigures | undefined;
};

/** Hosts that fell silent together: `lost` of `hosts` that are counted in the failure domain ('': over the whole gateway).
 *  `overriddenUntilMs` 0: nothing is reclaimed there. */
export type LossView = { failureDomain: string; lost: number; hosts: number; sinceMs: number; overriddenUntilMs: number };

/** `awaited`: hosts that have neither reported nor been waived. */
export type RestoreView =
  | { phase: 'no' }
  | { phase: 'reporting'; awaited: string[]; problem: string | undefined }
  | { phase: 'resting'; endsInMs: number };

/** A mapping without traffic. `releaseAtMs` undefined: it is only reported. */
export type IdleView = { sinceMs: number; releaseAtMs: number | undefined };

export type LeaseView = { record: LeaseRecord; allocated: number; routed: boolean };

/** leased: free in the lease of a host. */
export type PortCondition = 'free' | 'leased' | 'inUse' | 'held' | 'releasing' | 'resting' | 'reserved' | 'occupied' | 'fencing' | 'withdrawing' | 'notInPool';

export type PortExplanation = {
  space: string;
  port: number;
  condition: PortCondition;
  /** In this condition; undefined where it is not known. */
  sinceMs?: number | undefined;
  /** Others may have it then; undefined where something has to happen first. */
  freeAtMs?: number | undefined;
  pool: Pick<PoolSpec, 'pool' | 'protocol' | 'quarantineMs'> | undefined;
  /** That owns it, resting ones included. */
  mapping: MappingRecord | undefined;
  lease: LeaseView | undefined;
  /** Of the host that the lease, or the space, is of. */
  holder: HostLiveness | undefined;
  /** Foreign processes that listen on it there. */
  conflicts: Conflict[];
  /** Of a port that rests, or that nobody has had since. */
  lastOwner: { environment: string; tenant: string; name: string } | undefined;
};

export type PoolFigures = {
  total: number;
  reserved: number;
  leased: number;
  allocated: number;
  held: number;
  quarantined: number;
  free: number;
  usagePercent: number;
  /** Left the pool, or reserved, and still in use: in none of the counts but `leased`. */
  draining: number;
};
