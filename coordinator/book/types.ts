/**
 * The words of the lease book: what it keeps (records), what it is asked (commands) and what it says (replies).
 * Records are plain data, one per row of the journal; the book alone changes them.
 */
import type { PortRange, Protocol } from '../../shared/ports.js';
import type { EnvironmentWord } from '../../shared/container.js';
import type { AgentHello, AgentReport, ClientLimits, Delta, Role, Target, TlsMode } from '../../shared/desired.js';
import type { Reason } from '../../shared/reasons.js';
import type { AllocateCommand } from './want-types.js';
import type { TunnelCommand, TunnelRecord, TunnelView } from './tunnel-types.js';
import type { EnvironmentCommand, WorkloadRecord, WorkloadView } from './workload-types.js';

export type { AllocateCommand, Choice, WantSpec } from './want-types.js';
export type { TunnelCommand, TunnelRecord, TunnelTold, TunnelView } from './tunnel-types.js';
export type { CreateEnvironmentCommand, EnvironmentCommand, WorkloadFailure, WorkloadPhase, WorkloadRecord, WorkloadView } from './workload-types.js';
export type { PortRange, Protocol } from '../../shared/ports.js';
import type { LeakView } from './leaks.js';

export type { ClientLimits, Confirmation, Conflict, Delta, DesiredObject, HeldGrant, Role, StateVersion, Target } from '../../shared/desired.js';

export type Scope = 'shared' | 'host';
export type Strategy = 'sequential' | 'random' | 'leastRecentlyUsed';
export type IdleAction = 'report' | 'release';
/** When a foreign process listens on the port of a mapping: it is blocked until that is gone, or gets another number. */
export type OnConflict = 'block' | 'renumber';

/** One gateway: the unit of sharding. `sequence` is the book sequence, `epoch` grows at every start. */
export type GatewayRecord = {
  gateway: string;
  /** Small number, unique in the coordinator: part of the ids that its book makes. */
  ordinal: number;
  scope: Scope;
  publicHost: string;
  epoch: number;
  sequence: number;
  /** The database turned out to be an older copy: agents report what they accepted, and then ports rest. */
  restoring: Restoring;
};

export type Restoring = 'no' | 'reporting' | 'resting';

/** When an epoch began: its first book sequence. */
export type EpochStart = { epoch: number; sequence: number };

export type PoolSpec = {
  pool: string;
  description: string;
  serviceType: string;
  aliases: string[];
  ranges: PortRange[];
  protocol: Protocol;
  /** 0: every want names its own. */
  defaultInternalPort: number;
  strategy: Strategy;
  reserved: PortRange[];
  quarantineMs: number;
  holdMs: number;
  idleLimitMs: number;
  idleAction: IdleAction;
  /** Between the event that says that an idle port will be released, and its release. */
  idleWarningMs: number;
  /** 0: no limit. */
  connectionTimeoutMs: number;
  domainTemplate: string;
  onConflict: OnConflict;
  /** Scope shared: where TLS of clients ends. */
  tls: TlsMode;
};

/** Only an open host gets new ports. draining: what it has unused goes back to the pools; drained: it has no lease any more.
 *  forgetting: all that it had is on its way back behind the fence, then it is removed. */
export type HostDuty = 'open' | 'cordoned' | 'draining' | 'drained' | 'forgetting';

export type HostRecord = {
  host: string;
  roles: Role[];
  failureDomain: string;
  publicHost: string;
  addresses: string[];
  /** Newest session number given out; 0 before the first hello. */
  session: number;
  /** Newest session that a machine has used (heartbeat or report): a hello that knows an older one is another machine. A welcome
   *  that was lost on its way therefore locks nobody out. */
  confirmedSession: number;
  bootId: string;
  agentVersion: string;
  /** A machine with another history may take this id at its next hello. */
  replaceable: boolean;
  /** Leases expired since then; 0 while they are not. */
  lostAtMs: number;
  duty: HostDuty;
  /** Nothing is reclaimed from it before then while it is lost; 0: it is not kept. */
  keptUntilMs: number;
  /** Restore mode goes on without its report. */
  waived: boolean;
  /** Gateway role: hosts see its address instead of the client's. */
  hidesClients: boolean;
  /** It is reached only through its own connections to the gateway, made with this key; '': at its addresses. */
  tunnelKey: string;
};

/** A host that was removed after it had a session: one of that name goes on with the next number. */
export type ForgottenRecord = { host: string; session: number; atMs: number };

/** Where hosts that are silent are counted together: 'gateway', or 'domain/NAME' for a failure domain. */
export type LossScope = string;

/** Until then reclaim goes on there as if no mass loss had been. */
export type OverrideRecord = { scope: LossScope; untilMs: number };

export type LeaseState = 'fencing' | 'active' | 'expired' | 'withdrawing';

export type LeaseRecord = {
  leaseId: string;
  space: string;
  pool: string;
  /** Who may serve it; withdrawing: who could. */
  host: string;
  first: number;
  last: number;
  protocol: Protocol;
  state: LeaseState;
  epoch: number;
  generation: number;
  grantedAtMs: number;
  /** 0 unless expired. */
  expiredAtMs: number;
  /** Its host keeps local listeners away from these ports: only then is a route told to the gateway. Scope host: always true. */
  guarded: boolean;
  /** fencing, withdrawing: hosts that the range may still be routed to, and that keep their guard until the gateway confirms. */
  guards: string[];
};

/** 'quarantined' and 'released' are both RELEASED outside. A quarantined row still owns its port. */
export type MappingState = 'pending' | 'live' | 'blocked' | 'held' | 'releasing' | 'quarantined' | 'released';

export type MappingRecord = {
  mappingId: string;
  environment: string;
  tenant: string;
  name: string;
  index: number;
  space: string;
  pool: string;
  host: string;
  port: number;
  protocol: Protocol;
  target: Target;
  internalPort: number;
  limits: ClientLimits;
  state: MappingState;
  /** Why it is in this state; '' when live. */
  reason: string;
  epoch: number;
  generation: number;
  createdAtMs: number;
  /** held: first to be reclaimed from then on. quarantined: reusable from then on. released: since then. Else 0. */
  untilMs: number;
  /** Book sequence at which the release was confirmed: the order of reuse. 0 before. */
  releasedSequence: number;
  /** What its want said; 'pool': as its pool says. */
  onConflict: OnConflict | 'pool';
};

/** Everybody, without limit. */
export const NO_LIMITS: ClientLimits = { networks: [], maxConnections: 0 };

export type EnvironmentRecord = {
  environment: string;
  tenant: string;
  host: string;
  labels: Record<string, string>;
  createdAtMs: number;
  /** Book sequence at which it, or one of its mappings, last changed. */
  revision: number;
};

/** What makes a retry safe: kept until 7 days after all its mappings were released. */
export type RequestRecord = {
  requestId: string;
  /** Hash of the request's body. */
  bodyHash: string;
  environment: string;
  mappingIds: string[];
  atMs: number;
};

export const EVENT_KINDS = [
  'PortAllocated', 'PortReleased', 'PortChanged', 'PortAvailable', 'PortConflict', 'PortConflictOver', 'PortRenumbered', 'PortIdle', 'PortActive', 'LeakFound', 'LeakOver',
  'EnvironmentCreating', 'EnvironmentProgress', 'EnvironmentReady', 'EnvironmentFailed', 'EnvironmentDeleted', 'CredentialsRotated',
  'LeaseGranted', 'LeaseExpired', 'LeaseRenewed', 'LeaseReclaimed',
  'HostAlive', 'HostSuspect', 'HostLost', 'HostRefused',
  'HostCordoned', 'HostUncordoned', 'HostDraining', 'HostDrained', 'HostKept', 'HostKeptOver', 'HostForgotten',
  'MassLoss', 'MassLossOver', 'MassLossOverridden', 'RestoreBegan', 'RestoreEnded',
  'TunnelUp', 'TunnelDown', 'TunnelBlocked', 'TunnelFlapping',
  'PoolCreated', 'PoolUpdated', 'PoolDeleted', 'PoolWarning', 'PoolCritical', 'PoolNormal', 'GatewayCreated', 'GatewayDeleted',
] as const;
export type EventKind = (typeof EVENT_KINDS)[number];

/** One row of the event stream of a gateway: ordered by (sequence, position in the batch). */
export type EventRecord = {
  sequence: number;
  atMs: number;
  kind: EventKind;
  /** What it is about; '' where it does not apply. */
  host: string;
  environment: string;
  mappingId: string;
  /** Further fields, as a JSON object. */
  detail: string;
};

/** One row for each mutation, accepted or refused. */
export type AuditRecord = {
  sequence: number;
  atMs: number;
  actor: string;
  action: string;
  /** 'ok' or the reason of the refusal. */
  outcome: string;
  environment: string;
  requestId: string;
  detail: string;
};

/** All that one batch of decisions changed: written in one transaction, in the order of these fields, removals first. */
export type Changes = {
  gateway: GatewayRecord;
  removedPools: string[];
  removedHosts: string[];
  removedLeases: string[];
  removedEnvironments: string[];
  removedRequests: string[];
  removedForgotten: string[];
  removedOverrides: LossScope[];
  removedWorkloads: string[];
  /** "HOST/TUNNEL". */
  removedTunnels: string[];
  pools: PoolSpec[];
  hosts: HostRecord[];
  leases: LeaseRecord[];
  environments: EnvironmentRecord[];
  mappings: MappingRecord[];
  requests: RequestRecord[];
  forgotten: ForgottenRecord[];
  overrides: OverrideRecord[];
  workloads: WorkloadRecord[];
  tunnels: TunnelRecord[];
  events: EventRecord[];
  audits: AuditRecord[];
};

/** All that the journal holds of one gateway: what a book starts from. Mappings: every state but 'released', and the released
 *  ones that a request names or that are the newest of their port. */
export type StoredGateway = {
  gateway: GatewayRecord;
  /** The newest ones, oldest first. */
  epochs: EpochStart[];
  pools: PoolSpec[];
  hosts: HostRecord[];
  leases: LeaseRecord[];
  environments: EnvironmentRecord[];
  mappings: MappingRecord[];
  requests: RequestRecord[];
  forgotten: ForgottenRecord[];
  overrides: OverrideRecord[];
  workloads: WorkloadRecord[];
  tunnels: TunnelRecord[];
};

/** Who asks: for the audit record and, later, for roles. */
export type Actor = string;

export type ReleaseSelector =
  | { kind: 'environment'; environment: string }
  | { kind: 'mapping'; mappingId: string }
  | { kind: 'port'; space: string; protocol: Protocol; port: number };

/** `admit`: create the host when it is not known. */
export type HelloCommand = Omit<AgentHello, 'gateway'> & { kind: 'hello'; actor: Actor; admit: boolean };

/** Without the credentials: they are kept out of the book. */
export type ReportCommand = Omit<AgentReport, 'environments'> & { kind: 'report'; host: string; environments?: EnvironmentWord[] };

export type HeartbeatCommand = { kind: 'heartbeat'; host: string; session: number; acceptedRevision: number; digest: string };

export type Command =
  | AllocateCommand
  | EnvironmentCommand
  | TunnelCommand
  | { kind: 'release'; actor: Actor; selector: ReleaseSelector }
  | { kind: 'move'; actor: Actor; environment: string; host: string; targets: { name: string; target: Target | undefined; internalPort: number }[]; verify: boolean }
  /** undefined: as it is. */
  | { kind: 'updateMapping'; actor: Actor; mappingId: string; networks: readonly string[] | undefined; maxConnections: number | undefined }
  | HelloCommand
  | ReportCommand
  | HeartbeatCommand
  | { kind: 'createPool'; actor: Actor; pool: PoolSpec; seed: boolean }
  | { kind: 'updatePool'; actor: Actor; pool: string; change: Partial<Omit<PoolSpec, 'pool'>>; drain: boolean }
  | { kind: 'deletePool'; actor: Actor; pool: string }
  | { kind: 'createHost'; actor: Actor; host: string; roles: Role[]; failureDomain: string; publicHost: string }
  | { kind: 'replaceHost'; actor: Actor; host: string; reason: string }
  /** `override`: also during a mass loss, and from a host that is kept. */
  | { kind: 'reclaimHost'; actor: Actor; host: string; reason: string; override: boolean }
  /** What the operator answers for: `hostIsOff`, this host serves nothing any more; `gatewayIsOff`, it routes nothing any more. */
  | { kind: 'forgetHost'; actor: Actor; host: string; reason: string; hostIsOff: boolean; gatewayIsOff: boolean }
  /** `failureDomain` '': all of the gateway. `forMs` 0 ends it. */
  | { kind: 'overrideMassLoss'; actor: Actor; failureDomain: string; reason: string; forMs: number }
  | { kind: 'cordonHost' | 'uncordonHost' | 'drainHost'; actor: Actor; host: string; reason: string }
  | { kind: 'holdHost'; actor: Actor; host: string; reason: string; forMs: number }
  | { kind: 'resolveLeak'; actor: Actor; host: string; leak: string; reason: string; dryRun: boolean }
  /** Restore mode is to go on without the host's report. */
  | { kind: 'waiveHost'; actor: Actor; host: string; reason: string }
  /** A mutation that was refused before it reached the book: leaves its audit record. */
  | { kind: 'noteRefusal'; actor: Actor; action: string; reason: Reason; environment: string; requestId: string; detail: string }
  /** Leaves the audit record of a purge of old rows, which the journal does. */
  | { kind: 'notePurge'; actor: Actor; detail: string }
  /** Lets time pass: expiry, quarantine, purge. Asked at least every H/2. */
  | { kind: 'tick' };

/** Something that the book will not do. `reason` decides code and remedy (shared/reasons.ts). */
export type Refusal = {
  kind: 'refused';
  reason: Reason;
  message: string;
  /** Request field that is at fault, as in the proto: "wants[0].exact_port". */
  field?: string;
  /** For ErrorInfo: host, pool, port, and the figures of a full pool. */
  metadata?: Record<string, string>;
  /** A retry may succeed after this. */
  retryAfterMs?: number;
};

/** `workload`: undefined when portlease runs no container for it. */
export type EnvironmentView = { environment: EnvironmentRecord; mappings: MappingRecord[]; workload?: WorkloadView | undefined };

export type Reply =
  | Refusal
  /** allocate: `mappings` in the order of the wants; `made`: ids of those that this request made and the environment did not have
   *  before. Copies: they do not change afterwards. */
  | { kind: 'allocated'; view: EnvironmentView; mappings: MappingRecord[]; made: string[]; replayed: boolean }
  /** The ports exist and are being fenced: decide the same command again when the book says `progress`. */
  | { kind: 'waiting' }
  /** createEnvironment, rotateCredentials. */
  | { kind: 'environment'; view: EnvironmentView; replayed: boolean }
  /** deleteEnvironment: undefined when there is nothing left of it. */
  | { kind: 'deleting'; view: EnvironmentView | undefined; boundMs: number | undefined }
  | { kind: 'released'; mappings: MappingRecord[]; boundMs: number | undefined }
  | { kind: 'moved'; view: EnvironmentView }
  | { kind: 'updated'; mapping: MappingRecord }
  | { kind: 'welcome'; session: number; epoch: number; state: Delta }
  | { kind: 'heartbeat'; staleSession: boolean; rebuild: boolean; resolveLeaks: readonly string[] }
  | { kind: 'pool'; pool: PoolSpec }
  | { kind: 'host'; host: HostRecord }
  | { kind: 'reclaimed'; mappings: number; ports: number }
  /** `isGone` false: it is removed when the gateway has confirmed. */
  | { kind: 'forgotten'; mappings: number; ports: number; isGone: boolean }
  | { kind: 'overridden'; untilMs: number }
  /** The leak as it was. */
  | { kind: 'resolving'; leak: LeakView }
  | { kind: 'tunnel'; tunnel: TunnelView; replayed: boolean }
  /** undefined: there was none. */
  | { kind: 'tunnelRemoved'; tunnel: TunnelView | undefined }
  | { kind: 'done' };

/** What a decision lets out besides its reply, once its sequence is durable. */
export type Push = { host: string; session: number; delta: Delta };

/** Outcome of one decision. All of it leaves only after `sequence` is committed. */
export type Decision = {
  reply: Reply;
  sequence: number;
  pushes: Push[];
  /** Ids of mappings whose state changed, and keys of environments ("environment/NAME") and tunnels ("tunnel/HOST/NAME"): waiters look again. */
  touchedMappings: string[];
  /** Ports or hosts became usable: commands that were told 'waiting' are decided again. */
  progress: boolean;
};

/** Counted by the coordinator; checked when the config is loaded: heartbeat + 2 × deadline <= suspect < lost. */
export type Timing = { heartbeatMs: number; deadlineMs: number; suspectMs: number; lostMs: number };

export type * from './view-types.js';
