/**
 * Desired state: what the coordinator asks of an agent, and what the agent says back. Plain data; shared/wire.ts turns it into
 * messages of the contract and back. docs/architecture.md tells how the parts work together.
 */
import type { ContainerSpec, CredentialSpec, EnvironmentReport } from './container.js';
import type { Leak } from './leak.js';
import type { PortRange, Protocol, Transport } from './ports.js';
import type { Target } from './target.js';
import type { TunnelReport, TunnelSpec } from './tunnel.js';

export type Role = 'host' | 'gateway';

/** What an agent serves mappings with: rules in the kernel, or a forwarder of its own. */
export type Driver = 'iptables' | 'userspace';

export type { Target } from './target.js';

/** Who may use a mapping: clients of `networks` (CIDR notation, canonical; empty: everybody), by at most `maxConnections` at once (0: no limit). */
export type ClientLimits = { readonly networks: readonly string[]; readonly maxConnections: number };

/** Where TLS of clients ends: at the gateway, at the service, or there is none. */
export type TlsMode = 'none' | 'terminate' | 'passthrough';

/** What the pool of a route says of connections; `timeoutMs` 0: quiet ones are kept. Left out where it says nothing. */
export type RouteConnections = { readonly pool: string; readonly tls: TlsMode; readonly timeoutMs: number };

/** Order of desired states: by epoch, then session, then revision. */
export type StateVersion = { epoch: number; session: number; revision: number };

/** A grant that an agent holds; `host` only for routes. */
export type HeldGrant = { leaseId: string; ports: PortRange; protocol: Protocol; generation: number; host: string };

/** Says that a release, withdrawal or fenced route with exactly this generation is carried out. */
export type Confirmation = { key: string; generation: number; ports: PortRange; protocol: Protocol };

export type ObjectProblem = { key: string; reason: string; message: string };

/** What agents can do that those of earlier versions could not: nothing that needs it is asked of one that does not say so. */
export const CAPABILITIES = ['client-limits'] as const;
export type Capability = (typeof CAPABILITIES)[number];

/** How a machine introduces itself at the begin of a session. */
export type AgentHello = {
  host: string;
  gateway: string;
  bootId: string;
  agentVersion: string;
  roles: Role[];
  addresses: string[];
  /** Left out: iptables. */
  driver?: Driver;
  /** Gateway role: hosts see this machine's address instead of the client's. */
  hidesClients?: boolean;
  /** Public key of a host that is reached only through its own connections to the gateway; left out: at its addresses. */
  tunnelKey?: string;
  /** Those of CAPABILITIES, and of later versions. Left out: none. */
  capabilities?: readonly string[];
  lastSession: number;
  accepted: StateVersion | undefined;
  leases: HeldGrant[];
  routes: HeldGrant[];
  /** All that it accepted; undefined unless it was asked for that. */
  state?: DesiredObject[] | undefined;
};

export type AgentReport = {
  session: number;
  /** The accepted state that the kernel was brought to, objects in `problems` excepted. */
  applied: StateVersion;
  problems: ObjectProblem[];
  confirmations: Confirmation[];
  /** Ids of mappings whose target accepted a TCP connection. */
  verified: string[];
  driftRepairs: number;
  /** Leased ports that a foreign process listens on. */
  occupied: { transport: Transport; port: number }[];
  /** Who has them: at most MAX_CONFLICTS. Left out by agents that cannot tell. */
  conflicts?: readonly Conflict[];
  /** Mappings without traffic for longer than their limit; left out: none. */
  idle?: readonly IdleMapping[];
  /** Where nginx serves the routes. */
  routes?: RouteFigures;
  /** Of the environments that it was told to run or to remove; left out: none. Credentials in it are secrets. */
  environments?: EnvironmentReport[];
  /** At most MAX_LEAKS; left out: none. */
  leaks?: readonly Leak[];
  /** Of its tunnels, at most MAX_TUNNELS: those that it was told, and those of its own config; left out: none. */
  tunnels?: readonly TunnelReport[];
};

/** Configs that nginx took and refused, routes that it served, and how long that took, since the agent started. */
export type RouteFigures = { readonly reloads: number; readonly failures: number; readonly served: number; readonly latency: { readonly p50Ms: number; readonly p99Ms: number } | undefined };

export const MAX_CONFLICTS = 1_024;
/** Of one host. */
export const MAX_TUNNELS = 256;

/** A process with a socket. `command`: without arguments, which may hold secrets. */
export type PortHolder = {
  pid: number;
  program: string;
  command: string;
  /** '' where it is in none that is known. */
  containerId: string;
  /** Wall clock of its machine. 0: not known. */
  startedAtMs: number;
  /** "ADDRESS:PORT" that docker-proxy passes on to; '' for all others. */
  proxyFor: string;
  /** That its container is labelled with; '' for all others. */
  environment: string;
};

/** A leased port that a foreign process listens on. `holder`: not known where the socket is the kernel's own, or where /proc does not show it. */
export type Conflict = { transport: Transport; port: number; address: string; uid: number; user: string; holder: PortHolder | undefined };

/** `idleMs`: for how long somebody looked and saw no traffic. `lives`: the agent knows that the environment lives. */
export type IdleMapping = { readonly mappingId: string; readonly generation: number; readonly idleMs: number; readonly lives: boolean };

/** One thing that an agent has to bring about; `version` is the book sequence at which it last changed. */
export type DesiredObject =
  /** `host`: whose lease it is; '': nobody's any more. Others than that host only guard the ports for a while.
   *  `guardOccupied`: guard the ports even where a process of the host listens already. */
  | { kind: 'lease'; key: string; version: number; leaseId: string; ports: PortRange; protocol: Protocol; generation: number; host: string; guardOccupied?: boolean }
  /** `tenant`, `name`, `index`: nothing to the agent; a coordinator whose database was lost reads them back.
   *  `idleLimitMs`: without traffic for longer than this it is reported; left out: never. */
  | { kind: 'mapping'; key: string; version: number; mappingId: string; environment: string; tenant: string; name: string; index: number;
      protocol: Protocol; port: number; target: Target; internalPort: number; generation: number; verify: boolean; idleLimitMs?: number | undefined;
      /** `clientsHidden`: the gateway hides who they are, so that networks cannot be told apart. */
      limits?: ClientLimits; clientsHidden?: true }
  | { kind: 'release'; key: string; version: number; mappingId: string; environment: string; tenant: string; name: string; index: number;
      protocol: Protocol; port: number; target: Target; internalPort: number; generation: number; cutMs: number }
  | { kind: 'route'; key: string; version: number; leaseId: string; ports: PortRange; protocol: Protocol; generation: number;
      host: string; addresses: string[]; fence: boolean; cutMs: number; connections?: RouteConnections;
      /** It is reached through its own connections, made with this key; left out: at its addresses. */
      tunnelKey?: string }
  | { kind: 'withdrawal'; key: string; version: number; leaseId: string; ports: PortRange; protocol: Protocol; generation: number;
      cutMs: number }
  /** The container of an environment. `credentials`: all that is generated. `isReady`: it was started before; if it is gone or stopped it
   *  is left so. `tellCredentials`: they are to be in the reports, those of this `rotation`. */
  | { kind: 'environment'; key: string; version: number; environment: string; tenant: string; generation: number; container: ContainerSpec;
      credentials: readonly CredentialSpec[]; labels: Readonly<Record<string, string>>; isReady: boolean; tellCredentials: boolean; rotation: number }
  /** Containers of the environment up to this generation go; `volumes`: those made for it, too. */
  | { kind: 'removal'; key: string; version: number; environment: string; tenant: string; generation: number; volumes: boolean }
  /** An SSH connection that the host keeps. `restart`: with another number than its connection was made for, that is made anew. `isOfConfig`: only
   *  what was ordered for the tunnel of this name in the host's own config; where that has none, nothing is to be done. */
  | { kind: 'tunnel'; key: string; version: number; spec: TunnelSpec; restart: number; isStopped: boolean; isOfConfig?: true };

/** What is about ports: all but environments, their removal, and tunnels. */
export type PortObject = Exclude<DesiredObject, { kind: 'environment' | 'removal' | 'tunnel' }>;

export function isAboutPorts(object: DesiredObject): object is PortObject {
  return object.kind !== 'environment' && object.kind !== 'removal' && object.kind !== 'tunnel';
}

/** Desired state for one host: a snapshot (base undefined), or a change to the state `base`. */
export type Delta = { version: StateVersion; base: number | undefined; upserts: DesiredObject[]; removals: string[] };

export function compareVersions(a: StateVersion, b: StateVersion): number {
  return a.epoch - b.epoch || a.session - b.session || a.revision - b.revision;
}

/** Undefined: everybody, without limit. */
export function sameLimits(a: ClientLimits | undefined, b: ClientLimits | undefined): boolean {
  return a === b || ((a?.maxConnections ?? 0) === (b?.maxConnections ?? 0) && (a?.networks ?? []).join() === (b?.networks ?? []).join());
}
