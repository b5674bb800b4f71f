/** Supervised SSH connections of hosts: plain data that coordinator and agent share; proto/portlease/v1/tunnels.proto says what each field means. */
export type ForwardDirection = 'local' | 'reverse';

/** `host` of a listening end: '127.0.0.1' where nothing was said. */
export type Endpoint = { readonly host: string; readonly port: number };

export type TunnelForward = { readonly direction: ForwardDirection; readonly listen: Endpoint; readonly to: Endpoint };

export type TunnelEngine = 'autossh' | 'ssh';

/** `forward`: which of the forwards, from 0. `banner`: '' when an accepted TCP connection is enough. */
export type TunnelProbe = { readonly forward: number; readonly banner: string; readonly intervalMs: number; readonly timeoutMs: number };

export type TunnelSpec = {
  /** A DNS label, unique on its host. */
  readonly tunnel: string;
  readonly host: string;
  /** Name of an entry of tunnels.servers in the config of the host. */
  readonly server: string;
  readonly forwards: readonly TunnelForward[];
  /** undefined: as the config of the host says. */
  readonly engine: TunnelEngine | undefined;
  readonly probe: TunnelProbe | undefined;
  readonly options: Readonly<Record<string, string>>;
};

export const TUNNEL_STATES = ['pending', 'waiting', 'ending', 'connecting', 'up', 'backoff', 'blocked', 'refused', 'stopped'] as const;
export type TunnelState = (typeof TUNNEL_STATES)[number];

/** Counts since the tunnel was created; times in ms, undefined where there is none yet. */
export type TunnelStatistics = {
  readonly attempts: number;
  readonly connections: number;
  readonly failures: number;
  readonly restarts: number;
  readonly probes: number;
  readonly probesFailed: number;
  readonly probeTimeMs: number | undefined;
  readonly probeAgeMs: number | undefined;
  readonly restartTimeMs: number | undefined;
};

/** What an agent says of one of its tunnels. `restart`: that of the desired object that its connection is of. */
export type TunnelReport = {
  readonly spec: TunnelSpec;
  readonly isFromConfig: boolean;
  readonly state: TunnelState;
  readonly sinceMs: number;
  readonly statistics: TunnelStatistics;
  readonly reason: string;
  readonly message: string;
  readonly isFlapping: boolean;
  /** 0: none. */
  readonly pid: number;
  readonly logTail: readonly string[];
  readonly restart: number;
};
