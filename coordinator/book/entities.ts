/** What a book keeps of each thing beside its record: what it is connected to, and what was heard of it in this run. */
import type { IdleMapping, RouteFigures } from '../../shared/desired.js';
import type { Leak } from '../../shared/leak.js';
import type { TunnelReport } from '../../shared/tunnel.js';
import type { Blocks } from './blocks.js';
import type { Desired } from './desired.js';
import type { Former } from './former.js';
import type { FreePorts } from './freeports.js';
import type { EnvironmentWord } from '../../shared/container.js';
import type { MinHeap } from './minheap.js';
import type { PortMap } from './portmap.js';
import type { PortSet } from './portset.js';
import type { KnownLevel } from './usage.js';
import type { Conflict, EnvironmentRecord, HostLiveness, HostRecord, LeaseRecord, MappingRecord, PoolSpec, RequestRecord, TunnelRecord, WorkloadRecord } from './types.js';

/** A lease with what is known of its route. */
export type Lease = {
  record: LeaseRecord;
  holder: Holder | undefined;
  /** The gateway confirmed its route in this run (scope shared). */
  routed: boolean;
  /** Desired-state revision of the gateway at which its route was last changed. */
  routeRevision: number;
  /** Desired-state revision of its host at which it was told. */
  hostRevision: number;
};

/** A mapping with what its host said of it. */
export type Mapping = {
  record: MappingRecord;
  environment: Environment;
  /** Desired-state revision of the host at which it was last changed. */
  hostRevision: number;
  applied: boolean;
  verify: boolean;
  verified: boolean;
  /** Nobody was told its number, so it may be exchanged. Not stored: after a start all count as told. */
  isUntold: boolean;
  /** Requests that were answered with it, or are to be. */
  askedBy: Request[];
};

/** `mappings`: those that are not quarantined or released, in order of id. `isGone`: none is left, and the name is free. */
export type Environment = { record: EnvironmentRecord; mappings: Mapping[]; isGone: boolean };

export type Request = { record: RequestRecord; mappings: Mapping[] };

/** A mapping without traffic. `atMs`: when its host said so last; `isTold`: its event is out. `release`: at that time, when by then its host
 *  has seen no traffic for so long; undefined: it is only reported. */
export type Idle = IdleMapping & { readonly atMs: number; readonly isTold: boolean; release: { readonly atMs: number; readonly afterIdleMs: number } | undefined };

/** The container of an environment, with what its host said of it. */
export type Workload = {
  record: WorkloadRecord;
  /** creating: given up then. */
  deadlineMs: number;
  /** Of this generation, in this run. */
  word: EnvironmentWord | undefined;
  /** When its progress was last an event. */
  toldAtMs: number;
};

export type Host = {
  record: HostRecord;
  state: HostLiveness;
  /** Last heartbeat, or the start of the book. */
  heardAtMs: number;
  heard: boolean;
  mappings: Set<Mapping>;
  leases: Set<Lease>;
  /** Leases of others, or on their way back to the pool, whose ports it still guards. */
  guarding: Set<Lease>;
  /** Leases of its own that it has not applied yet. */
  unguarded: Set<Lease>;
  driftRepairs: number;
  /** Gateway role: where nginx serves the routes. */
  routes: RouteFigures | undefined;
  /** Kept from its hello on: what it has been told, or is about to be. */
  desired: Desired | undefined;
  revision: number;
  appliedRevision: number;
  /** It gets no new lease before it applied this revision: until then its kernel may still serve what was taken from it. */
  mustApply: number;
  /** Mappings that it has not applied yet. */
  awaiting: Set<Mapping>;
  /** Keys that its last report called a problem, with reason and message. */
  problems: Map<string, string>;
  behind: { heartbeats: number; lastAccepted: number };
  /** Leased ports that a foreign process listens on: set aside, not given out. */
  occupied: Set<number>;
  /** Who does, by transport and port: "tcp/30001". */
  conflicts: Map<string, KnownConflict>;
  /** By id of the mapping: what its last report called idle. */
  idle: Map<string, Idle>;
  /** By id: what its last report called leaks. */
  leaks: Map<string, KnownLeak>;
  workloads: Set<Workload>;
  /** Of its agent; undefined: it has not said hello to this coordinator. */
  capabilities: ReadonlySet<string> | undefined;
  /** By name: those that were made over RPC, and what was ordered for those of its config. */
  tunnels: Map<string, TunnelRecord>;
  /** By name: what it said of its tunnels last. */
  tunnelReports: Map<string, { report: TunnelReport; atMs: number }>;
  /** By name, of tunnels of its config without a record: what was told of them last. */
  configTunnelsTold: Map<string, Pick<TunnelRecord, 'told' | 'toldFlapping'>>;
};

/** `sinceMs`: heard of by this coordinator. `isTold`: its event is out. */
export type KnownConflict = { conflict: Conflict; sinceMs: number; isTold: boolean };

/** As KnownConflict. `askedUntilMs`: until then its host is asked to repair it. */
export type KnownLeak = { readonly leak: Leak; readonly sinceMs: number; isTold: boolean; askedUntilMs: number };

/** What one host has of one pool in one space. */
export type Holder = {
  host: string;
  poolSpace: PoolSpace;
  free: FreePorts;
  leases: Set<Lease>;
  /** Ports of its leases, fencing ones included. */
  ports: number;
  /** Ports that are being fenced for it. */
  fencing: number;
  /** Its held mappings by the end of their hold; entries that are no longer held are skipped. */
  holds: MinHeap<Mapping>;
};

/** A pool in one port space. */
export type PoolSpace = {
  pool: Pool;
  space: Space;
  blocks: Blocks;
  holders: Map<string, Holder>;
  /** Mappings in quarantine, by its end; entries that are over are skipped. */
  resting: MinHeap<Mapping>;
};

export type Counts = { leased: number; allocated: number; held: number; quarantined: number; releasing: number };

export type Pool = {
  spec: PoolSpec;
  reserved: PortSet;
  reservedCount: number;
  total: number;
  spaces: Map<string, PoolSpace>;
  counts: Counts;
  level: KnownLevel;
  /** Its mappings whose port has left the pool or was reserved: they are served, or rest, and their port is not given out again. */
  leftover: Set<Mapping>;
};

export type Space = {
  name: string;
  /** Mappings that own their port, quarantined ones included. */
  mappingAt: PortMap<Mapping>;
  mapped: PortSet;
  leaseStarts: PortSet;
  leaseByStart: Map<number, Lease>;
  /** Book sequence at which a port was last released. */
  lastUsed: PortMap<number>;
  /** Whose a port was last, as long as nobody has had it since. */
  formerAt: PortMap<Former>;
};

/** `isTold`: its event is out. */
export type Loss = { lost: number; hosts: number; sinceMs: number; isTold: boolean };

export type Deadline = { kind: 'quarantine'; mapping: Mapping } | { kind: 'idleLease'; lease: Lease };
