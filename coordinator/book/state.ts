/**
 * What a book keeps in memory: records, the indexes over them, and what changed since the journal was last told.
 * Only the functions of this folder change it; each change goes through the methods here, so that index, count and dirty mark
 * never part. Rules of who may own a port: docs/architecture.md, "Blocks, leases, ports".
 */
import type { Report } from './adopt.js';
import type { Deadline, Environment, Host, Lease, Loss, Mapping, Pool, Request, Space, Workload } from './entities.js';
import type { Formers } from './former.js';
import { MinHeap } from './minheap.js';
import { PortMap } from './portmap.js';
import { PortSet } from './portset.js';
import { Queue } from './queue.js';
import type { AuditRecord, EpochStart, EventRecord, ForgottenRecord, GatewayRecord, LossScope, MappingRecord, OverrideRecord, Timing, TunnelRecord } from './types.js';

export type * from './entities.js';

type Dirty = {
  pools: Set<Pool>; hosts: Set<Host>; leases: Set<Lease>; environments: Set<Environment>; mappings: Set<Pick<Mapping, 'record'>>; requests: Set<Request>;
  forgotten: Map<string, ForgottenRecord>; overrides: Map<LossScope, OverrideRecord>; workloads: Set<Workload>; tunnels: Set<TunnelRecord>;
  removedPools: string[]; removedHosts: string[]; removedLeases: string[]; removedEnvironments: string[]; removedRequests: string[];
  removedForgotten: string[]; removedOverrides: LossScope[]; removedWorkloads: string[]; removedTunnels: string[];
  events: EventRecord[]; audits: AuditRecord[];
};

export type StateOptions = { gateway: GatewayRecord; epochs: readonly EpochStart[]; timing: Timing; nowMs: number; random: () => number; leakPolicy?: LeakPolicy };

/** What follows when the container of a mapping has gone. */
export type LeakPolicy = 'report' | 'repair';

export class State {
  readonly gateway: GatewayRecord;
  readonly epochs: readonly EpochStart[];
  readonly timing: Timing;
  readonly random: () => number;
  readonly leakPolicy: LeakPolicy;
  readonly pools = new Map<string, Pool>();
  readonly spaces = new Map<string, Space>();
  readonly hosts = new Map<string, Host>();
  readonly leases = new Map<string, Lease>();
  readonly environments = new Map<string, Environment>();
  readonly mappings = new Map<string, Mapping>();
  /** By environment. */
  readonly workloads = new Map<string, Workload>();
  /** Those that are neither ready nor gone. */
  readonly underWay = new Set<Workload>();
  readonly requests = new Map<string, Request>();
  readonly formers: Formers = new Map();
  readonly deadlines = new MinHeap<Deadline>();
  /** Requests in the order in which they are looked at again, to be forgotten. */
  readonly remembered = new Queue<{ atMs: number; request: Request }>();
  /** Leases whose route the gateway has not confirmed yet. */
  readonly unrouted = new Set<Lease>();
  readonly withdrawing = new Set<Lease>();
  readonly startedAtMs: number;
  /** Hosts that were removed after they had a session. */
  readonly forgotten = new Map<string, ForgottenRecord>();
  /** In conflict, and to be renumbered as soon as there is another port for them. */
  readonly toRenumber = new Set<Mapping>();
  /** Scopes in which most hosts are silent: nothing is reclaimed there. */
  readonly losses = new Map<LossScope, Loss>();
  readonly overrides = new Map<LossScope, OverrideRecord>();
  /** Reclaim is bounded until then, and by this budget of ports. */
  readonly gradual = { untilMs: 0, ports: 0, atMs: 0 };
  /** The host with the gateway role, if one is known (scope shared). */
  gatewayAgent: Host | undefined;
  /** The host that had the gateway role before, in this run. */
  formerGateway: Host | undefined;
  lastTickMs: number;
  /** Time of the decision under way. */
  nowMs: number;
  /** Restore mode: what agents said that they accepted. */
  readonly reports = new Map<string, Report>();
  /** After a restore nothing is granted before then. */
  restUntilMs = 0;
  dirty: Dirty = newDirty();

  // Of the decision under way:
  changed = false;
  progress = false;
  touched: string[] = [];
  /** Hosts with changes that they have not been told. */
  readonly told = new Set<Host>();
  private serial = 0;

  constructor(options: StateOptions) {
    this.gateway = { ...options.gateway };
    this.epochs = options.epochs;
    this.timing = options.timing;
    this.random = options.random;
    this.leakPolicy = options.leakPolicy ?? 'report';
    this.startedAtMs = options.nowMs;
    this.lastTickMs = options.nowMs;
    this.nowMs = options.nowMs;
  }

  get shared(): boolean {
    return this.gateway.scope === 'shared';
  }

  /** The sequence that the decision under way will have, if it changes anything. */
  get sequence(): number {
    return this.gateway.sequence + 1;
  }

  begin(nowMs: number): void {
    this.nowMs = nowMs;
    this.changed = false;
    this.progress = false;
    this.touched = [];
    this.serial = 0;
  }

  /** An id that sorts by age: sequence, ordinal of the gateway, serial number in the decision. 14 characters. */
  newId(prefix: 'm' | 'l'): string {
    const serial = this.serial;
    this.serial += 1;
    return prefix + this.sequence.toString(36).padStart(9, '0') + this.gateway.ordinal.toString(36).padStart(2, '0') + serial.toString(36).padStart(2, '0');
  }

  spaceOf(host: string): Space {
    return this.space(this.shared ? this.gateway.gateway : `${this.gateway.gateway}/${host}`);
  }

  space(name: string): Space {
    let space = this.spaces.get(name);
    if (space === undefined) {
      space = { name, mappingAt: new PortMap(), mapped: new PortSet(), leaseStarts: new PortSet(), leaseByStart: new Map(), lastUsed: new PortMap(), formerAt: new PortMap() };
      this.spaces.set(name, space);
    }
    return space;
  }

  leaseAt(space: Space, port: number): Lease | undefined {
    const start = space.leaseStarts.atOrBelow(port);
    const lease = start === undefined ? undefined : space.leaseByStart.get(start);
    return lease !== undefined && lease.record.last >= port ? lease : undefined;
  }

  poolAt(port: number): Pool | undefined {
    for (const pool of this.pools.values()) if (inRanges(pool.spec.ranges, port)) return pool;
    return undefined;
  }

  dirtyLease(lease: Lease): void {
    this.changed = true;
    this.dirty.leases.add(lease);
  }

  dirtyMapping(mapping: Mapping): void {
    this.changed = true;
    this.dirty.mappings.add(mapping);
    this.dirtyEnvironment(mapping.environment);
    this.touched.push(mapping.record.mappingId);
  }

  /** Marks an environment that exists; one that is gone stays gone. */
  dirtyEnvironment(environment: Environment): void {
    if (environment.isGone) return;
    environment.record.revision = this.sequence;
    this.dirty.environments.add(environment);
  }

  /** `isSilent`: nothing of it that is stored has changed. */
  dirtyWorkload(workload: Workload, isSilent = false): void {
    const { environment } = workload.record;
    if (!isSilent) {
      this.changed = true;
      this.dirty.workloads.add(workload);
      const known = this.environments.get(environment);
      if (known !== undefined) this.dirtyEnvironment(known);
    }
    this.touched.push(`environment/${environment}`);
  }

  dirtyTunnel(record: TunnelRecord): void {
    this.changed = true;
    this.dirty.tunnels.add(record);
    this.touched.push(`tunnel/${record.host}/${record.spec.tunnel}`);
  }

  dirtyHost(host: Host): void {
    this.changed = true;
    this.dirty.hosts.add(host);
  }

  event(kind: EventRecord['kind'], about: { host?: string; environment?: string; mappingId?: string; detail?: string }): void {
    this.changed = true;
    this.dirty.events.push({
      sequence: this.sequence, atMs: this.nowMs, kind, host: about.host ?? '', environment: about.environment ?? '',
      mappingId: about.mappingId ?? '', detail: about.detail ?? '{}',
    });
  }

  audit(record: Omit<AuditRecord, 'sequence' | 'atMs'>): void {
    this.changed = true;
    this.dirty.audits.push({ sequence: this.sequence, atMs: this.nowMs, ...record });
  }

  /** Everything is to be written that this state and the one before it differ in, and what that one had not written yet. */
  takeOver(before: State, records: readonly MappingRecord[]): void {
    const { dirty } = this;
    const old = before.takeDirty();
    for (const host of this.hosts.values()) dirty.hosts.add(host);
    for (const lease of this.leases.values()) dirty.leases.add(lease);
    for (const environment of this.environments.values()) dirty.environments.add(environment);
    for (const mapping of this.mappings.values()) dirty.mappings.add(mapping);
    for (const { mappings } of this.requests.values()) for (const mapping of mappings) dirty.mappings.add(mapping);
    const known = new Set([...dirty.mappings].map((mapping) => mapping.record.mappingId));
    for (const record of records) if (before.mappings.has(record.mappingId) && !known.has(record.mappingId)) dirty.mappings.add({ record });
    for (const { spec } of old.pools) dirty.pools.add(this.pools.get(spec.pool) as Pool);
    for (const { record } of old.requests) dirty.requests.add(this.requests.get(record.requestId) as Request);
    for (const workload of this.workloads.values()) dirty.workloads.add(workload);
    takeOverTunnels(this, before, old.removedTunnels);
    for (const record of this.forgotten.values()) dirty.forgotten.set(record.host, record);
    for (const record of old.overrides.values()) dirty.overrides.set(record.scope, record);
    dirty.removedForgotten.push(...old.removedForgotten);
    dirty.removedOverrides.push(...old.removedOverrides);
    dirty.removedPools.push(...old.removedPools);
    dirty.removedHosts.push(...old.removedHosts);
    dirty.removedRequests.push(...old.removedRequests);
    dirty.removedLeases.push(...old.removedLeases, ...[...before.leases.keys()].filter((id) => !this.leases.has(id)));
    dirty.removedEnvironments.push(...old.removedEnvironments, ...[...before.environments.keys()].filter((name) => !this.environments.has(name)));
    dirty.removedWorkloads.push(...old.removedWorkloads, ...[...before.workloads.keys()].filter((name) => !this.workloads.has(name)));
    dirty.events.push(...old.events);
    dirty.audits.push(...old.audits);
    this.changed = true;
  }

  takeDirty(): Dirty {
    const dirty = this.dirty;
    this.dirty = newDirty();
    return dirty;
  }
}

function takeOverTunnels({ dirty, hosts }: State, before: State, removed: readonly string[]): void {
  const keysOf = (all: ReadonlyMap<string, Host>): string[] => [...all].flatMap(([host, { tunnels }]) => [...tunnels.keys()].map((name) => `${host}/${name}`));
  for (const { tunnels } of hosts.values()) for (const tunnel of tunnels.values()) dirty.tunnels.add(tunnel);
  const kept = new Set(keysOf(hosts));
  dirty.removedTunnels.push(...removed, ...keysOf(before.hosts).filter((key) => !kept.has(key)));
}

export function inRanges(ranges: readonly { first: number; last: number }[], port: number): boolean {
  for (const range of ranges) if (port >= range.first && port <= range.last) return true;
  return false;
}

function newDirty(): Dirty {
  return {
    pools: new Set(), hosts: new Set(), leases: new Set(), environments: new Set(), mappings: new Set(), requests: new Set(),
    forgotten: new Map(), overrides: new Map(), workloads: new Set(), tunnels: new Set(), removedPools: [], removedHosts: [], removedLeases: [], removedEnvironments: [], removedRequests: [],
    removedForgotten: [], removedOverrides: [], removedWorkloads: [], removedTunnels: [], events: [], audits: [],
  };
}
