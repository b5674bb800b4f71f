/**
 * The lease book of one gateway: all its state in memory, changed by one decision at a time. A decision is synchronous and takes
 * microseconds; it touches no clock, file or socket. What it lets out must wait until `sequence` is durable (S5).
 */
import { allocate, requested } from './allocate.js';
import { audit } from './audit.js';
import { conflictViews, type ConflictView } from './conflicts.js';
import { leakViews, resolveLeak, type LeakView } from './leaks.js';
import { holdHost, setDuty } from './duty.js';
import { createEnvironment, deleteEnvironment, noteCredentials, rotateCredentials } from './environments.js';
import { explainPort } from './explain.js';
import { forgetHost } from './forget.js';
import { createHost, heartbeat, hello, replaceHost, report } from './hosts.js';
import { idleView } from './idle.js';
import { move } from './move.js';
import { takePushes } from './outbox.js';
import { createPool, deletePool, updatePool } from './pools.js';
import { updateMapping } from './limits.js';
import { release, reclaimHost } from './release.js';
import { lossViews, overrideMassLoss } from './mass-loss.js';
import { restore, type BookOptions } from './restore.js';
import { adopted, refuseWhileRestoring, restoreView, waiveHost } from './restoring.js';
import { MARGIN, type Adopted } from './adopt.js';
import type { State } from './state.js';
import { tick } from './tick.js';
import { tunnelCounts, tunnelView, tunnelViews } from './tunnel-reports.js';
import { decideTunnel } from './tunnels.js';
import type {
  Changes, Command, Decision, EnvironmentCommand, EnvironmentView, GatewayRecord, HostView, IdleView, LeaseView, LossView, MappingRecord, PoolFigures, PoolSpec, PortExplanation, Reply,
  RestoreView, StoredGateway, TunnelCommand, TunnelView, WorkloadView,
} from './types.js';
import { passWorkloads } from './workloads.js';
import { figuresOf, hostView, leaseView, viewOf } from './views.js';

export type { ConflictView } from './conflicts.js';
export { leakKey, type LeakView } from './leaks.js';
export type { BookOptions } from './restore.js';
export type { LeakPolicy } from './state.js';

/** After these an environment that is made or deleted may go on. */
const MOVES_WORKLOADS: ReadonlySet<Command['kind']> = new Set(['report', 'tick', 'release', 'forgetHost', 'reclaimHost', 'resolveLeak']);

type HostCommand = Extract<Command, { kind: 'createHost' | 'replaceHost' | 'reclaimHost' | 'cordonHost' | 'uncordonHost' | 'drainHost' | 'holdHost' | 'forgetHost' | 'overrideMassLoss' | 'waiveHost' | 'resolveLeak' }>;

export class Book {
  private constructor(private state: State, private readonly options: Pick<BookOptions, 'timing' | 'random' | 'leakPolicy'>) {}

  /** A book as the journal has it; `epoch` is larger than every epoch before. */
  static restore(stored: StoredGateway, options: BookOptions): Book {
    return new Book(restore(stored, options), options);
  }

  /** Book sequence of the newest decision that changed something. */
  get sequence(): number {
    return this.state.gateway.sequence;
  }

  get gateway(): GatewayRecord {
    return this.state.gateway;
  }

  decide(command: Command, nowMs: number): Decision {
    const { state } = this;
    state.begin(nowMs);
    const reply = refuseWhileRestoring(state, command) ?? dispatch(state, command);
    if (state.underWay.size > 0 && MOVES_WORKLOADS.has(command.kind)) passWorkloads(state);
    audit(state, command, reply);
    const records = adopted(state);
    if (records !== undefined) return this.goOnWith(records, reply);
    if (state.changed) state.gateway.sequence += 1;
    return { reply, sequence: state.gateway.sequence, pushes: takePushes(state), touchedMappings: state.touched, progress: state.progress };
  }

  /** Every agent says hello again: nothing of their sessions is kept. */
  private goOnWith(records: Adopted, reply: Reply): Decision {
    const { timing, random, leakPolicy = 'report' } = this.options;
    const before = this.state;
    const stored = { ...records, pools: [...before.pools.values()].map(({ spec }) => spec), requests: Array.from(before.requests.values(), ({ record }) => record), overrides: [...before.overrides.values()],
      // They may have had sessions since that the copy does not know.
      forgotten: Array.from(before.forgotten.values(), (record) => ({ ...record, session: record.session + MARGIN })) };
    const state = restore({ ...stored, epochs: [{ epoch: records.gateway.epoch, sequence: records.gateway.sequence + 1 }] }, { timing, random, leakPolicy, epoch: records.gateway.epoch, nowMs: before.nowMs });
    state.takeOver(before, records.mappings);
    state.gateway.sequence += 1;
    this.state = state;
    return { reply, sequence: state.gateway.sequence, pushes: [], touchedMappings: [...state.mappings.keys(), ...Array.from(state.workloads.keys(), (name) => `environment/${name}`), ...tunnelViews(state, () => true, Infinity).map(({ host, spec }) => `tunnel/${host}/${spec.tunnel}`)], progress: true };
  }

  /** All rows that changed since it was last called, or undefined when nothing did. */
  takeChanges(): Changes | undefined {
    const { state } = this;
    const dirty = state.takeDirty();
    const records = <T>(items: Set<{ record: T }>): T[] => [...items].map((item) => item.record);
    const changes: Changes = {
      gateway: { ...state.gateway }, removedPools: dirty.removedPools, removedHosts: dirty.removedHosts, removedLeases: dirty.removedLeases,
      removedEnvironments: dirty.removedEnvironments, removedRequests: dirty.removedRequests, pools: [...dirty.pools].map((pool) => pool.spec),
      hosts: records(dirty.hosts), leases: records(dirty.leases), environments: records(dirty.environments), mappings: records(dirty.mappings),
      requests: records(dirty.requests), removedForgotten: dirty.removedForgotten, removedOverrides: dirty.removedOverrides, removedWorkloads: dirty.removedWorkloads, removedTunnels: dirty.removedTunnels, tunnels: [...dirty.tunnels], workloads: records(dirty.workloads),
      forgotten: [...dirty.forgotten.values()], overrides: [...dirty.overrides.values()], events: dirty.events, audits: dirty.audits,
    };
    const empty = state.gateway.sequence === this.takenSequence;
    this.takenSequence = state.gateway.sequence;
    return empty ? undefined : changes;
  }
  private takenSequence = -1;

  /** How far its container is; undefined when portlease runs none. */
  workload(name: string): WorkloadView | undefined {
    const workload = this.state.workloads.get(name);
    return workload && { ...workload.record, word: workload.word };
  }

  environment(name: string): EnvironmentView | undefined {
    return this.state.environments.has(name) ? viewOf(this.state, name, []) : undefined;
  }

  hasEnvironment(name: string): boolean {
    return this.state.environments.has(name);
  }

  /** Environments after `name` in order of name, at most `limit` that pass the filter. */
  environmentsAfter(name: string, limit: number, filter: (view: EnvironmentView) => boolean): EnvironmentView[] {
    const found: EnvironmentView[] = [];
    for (const key of [...this.state.environments.keys()].filter((candidate) => candidate > name).sort()) {
      const view = viewOf(this.state, key, []);
      if (filter(view)) found.push(view);
      if (found.length === limit) break;
    }
    return found;
  }

  /** A mapping that owns its port, quarantined ones included. */
  mapping(mappingId: string): MappingRecord | undefined {
    const mapping = this.state.mappings.get(mappingId);
    return mapping === undefined ? undefined : { ...mapping.record };
  }

  /** The mapping's target answered since that was asked for. */
  isVerified(mappingId: string): boolean {
    return this.state.mappings.get(mappingId)?.verified === true;
  }

  /** undefined: it has traffic, or nobody has said that it has none. */
  idle(record: MappingRecord): IdleView | undefined {
    return idleView(this.state, record);
  }

  /** Mappings after `mappingId` in order of id, at most `limit` that pass the filter. */
  mappingsAfter(mappingId: string, limit: number, filter: (record: MappingRecord) => boolean): MappingRecord[] {
    const found: MappingRecord[] = [];
    for (const key of [...this.state.mappings.keys()].filter((candidate) => candidate > mappingId).sort()) {
      const { record } = this.state.mappings.get(key) as { record: MappingRecord };
      if (filter(record)) found.push({ ...record });
      if (found.length === limit) break;
    }
    return found;
  }

  host(name: string): HostView | undefined {
    const host = this.state.hosts.get(name);
    return host === undefined ? undefined : hostView(this.state, host);
  }

  hasHost(host: string): boolean {
    return this.state.hosts.has(host);
  }

  poolSpecs(): PoolSpec[] {
    return [...this.state.pools.values()].map(({ spec }) => ({ ...spec }));
  }

  /** Not to be changed. */
  poolSpec(pool: string): PoolSpec | undefined {
    return this.state.pools.get(pool)?.spec;
  }

  poolFigures(pool: string): PoolFigures | undefined {
    const known = this.state.pools.get(pool);
    return known === undefined ? undefined : figuresOf(this.state, known);
  }

  hosts(): HostView[] {
    return [...this.state.hosts.values()].map((host) => hostView(this.state, host));
  }

  /** Where most hosts are silent. */
  massLosses(): LossView[] {
    return lossViews(this.state);
  }

  /** Leases in order of space and first port. */
  leases(): LeaseView[] {
    const views = [...this.state.leases.values()].map((lease) => leaseView(this.state, lease));
    return views.sort((a, b) => (a.record.space === b.record.space ? a.record.first - b.record.first : a.record.space < b.record.space ? -1 : 1));
  }

  /** undefined: there is no such port space. */
  explainPort(space: string, port: number): PortExplanation | undefined {
    return explainPort(this.state, space, port);
  }

  /** Foreign processes on leased ports, in order of host, port and transport. */
  conflicts(): ConflictView[] {
    return conflictViews(this.state);
  }

  /** What hosts found, in order of host and leak. */
  leaks(): LeakView[] {
    return leakViews(this.state);
  }

  leak(host: string, id: string): LeakView | undefined {
    return this.leaks().find((view) => view.host === host && view.leak.id === id);
  }

  /** Today's mappings of a request, those that it made among them; undefined: it is not known. */
  requested(requestId: string): ReturnType<typeof requested> {
    return requested(this.state, requestId);
  }

  /** In order of host and name, at most `limit` that fit. */
  tunnels(fits: (host: string, tunnel: string) => boolean = () => true, limit = Infinity): TunnelView[] {
    return tunnelViews(this.state, fits, limit);
  }

  tunnel(host: string, tunnel: string): TunnelView | undefined {
    const known = this.state.hosts.get(host);
    return known && tunnelView(this.state, known, tunnel);
  }

  tunnelCounts(): { up: number; down: number } {
    return tunnelCounts(this.state);
  }

  restoring(): RestoreView {
    return restoreView(this.state);
  }

  /** Host id of the machine with the gateway role. */
  gatewayAgent(): string | undefined {
    return this.state.gatewayAgent?.record.host;
  }

  /** Mappings that rest are no environment's any more. */
  counts(): { environments: number; mappings: number } {
    let mappings = 0;
    for (const { counts } of this.state.pools.values()) mappings += counts.allocated + counts.held;
    return { environments: this.state.environments.size, mappings };
  }

  /** For tests: the state that invariants are checked on. */
  get inside(): State {
    return this.state;
  }
}

function dispatch(state: State, command: Command): Reply {
  switch (command.kind) {
    case 'allocate': return allocate(state, command);
    case 'release': return release(state, command.selector);
    case 'move': return move(state, command);
    case 'updateMapping': return updateMapping(state, command);
    case 'hello': return hello(state, command);
    case 'report': return report(state, command);
    case 'heartbeat': return heartbeat(state, command);
    case 'createPool': return createPool(state, command.pool, command.seed);
    case 'updatePool': return updatePool(state, command);
    case 'deletePool': return deletePool(state, command.pool);
    case 'noteRefusal':
    case 'notePurge': return { kind: 'done' };
    case 'tick':
      tick(state);
      return { kind: 'done' };
    default:
      return dispatchOther(state, command);
  }
}

function dispatchOther(state: State, command: EnvironmentCommand | HostCommand | TunnelCommand): Reply {
  if (isAboutTunnel(command)) return decideTunnel(state, command);
  return isAboutEnvironment(command) ? decideEnvironment(state, command) : dispatchHost(state, command);
}

function isAboutEnvironment(command: EnvironmentCommand | HostCommand): command is EnvironmentCommand {
  return command.kind in ENVIRONMENT_COMMANDS;
}

function isAboutTunnel(command: EnvironmentCommand | HostCommand | TunnelCommand): command is TunnelCommand {
  return command.kind in TUNNEL_COMMANDS;
}

const TUNNEL_COMMANDS: Record<TunnelCommand['kind'], true> = { createTunnel: true, restartTunnel: true, stopTunnel: true, startTunnel: true, removeTunnel: true };

const ENVIRONMENT_COMMANDS: Record<EnvironmentCommand['kind'], true> = { createEnvironment: true, deleteEnvironment: true, rotateCredentials: true, noteCredentials: true };

function decideEnvironment(state: State, command: EnvironmentCommand): Reply {
  switch (command.kind) {
    case 'createEnvironment': return createEnvironment(state, command);
    case 'deleteEnvironment': return deleteEnvironment(state, command);
    case 'rotateCredentials': return rotateCredentials(state, command);
    case 'noteCredentials': return noteCredentials(state, command);
    default: return command satisfies never;
  }
}

/** What operators say of hosts. */
function dispatchHost(state: State, command: HostCommand): Reply {
  switch (command.kind) {
    case 'createHost': return createHost(state, command);
    case 'replaceHost': return replaceHost(state, command.host);
    case 'waiveHost': return waiveHost(state, command.host);
    case 'reclaimHost': return reclaimHost(state, command);
    case 'forgetHost': return forgetHost(state, command);
    case 'overrideMassLoss': return overrideMassLoss(state, command);
    case 'cordonHost':
    case 'uncordonHost':
    case 'drainHost': return setDuty(state, command);
    case 'holdHost': return holdHost(state, command);
    case 'resolveLeak': return resolveLeak(state, command);
    default:
      return command satisfies never;
  }
}
