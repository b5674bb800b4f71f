/** The words of the state machine of one tunnel: its state, what happens to it (events) and what it wants done (effects). */
import type { Endpoint, TunnelForward, TunnelSpec, TunnelStatistics } from '../../shared/tunnel.js';

/** Listening end of a reverse forward as a unix socket on the server. Never asked for over RPC. */
export type SocketEnd = { readonly socket: string };
export type SocketForward = { readonly direction: 'reverse'; readonly listen: SocketEnd; readonly to: Endpoint };
export type HeldForward = TunnelForward | SocketForward;
export type HeldSpec = Omit<TunnelSpec, 'forwards'> & { readonly forwards: readonly HeldForward[] };

export type Settings = {
  /** Pause after a failure: doubled from `baseMs` to `maxMs`. */
  readonly backoff: { readonly baseMs: number; readonly maxMs: number };
  /** SIGKILL follows SIGTERM after this. */
  readonly killAfterMs: number;
  /** What is not over after this (an end, a port that becomes free) is told, and looked at every `blockedMs` from then on. */
  readonly patienceMs: number;
  readonly blockedMs: number;
  /** For a connection with all its forwards; of an adopted one, or one that autossh makes again by itself: `retakeMs`. */
  readonly connectMs: number;
  readonly retakeMs: number;
  /** A connection that was up for so long makes up for earlier failures. */
  readonly stableMs: number;
  /** What the host does not allow is looked at again after this. */
  readonly refusedMs: number;
  /** Probes in a row that must fail before the connection is made anew. */
  readonly probeFailures: number;
  readonly flapping: { readonly downs: number; readonly windowMs: number };
};

export type Wanted = 'up' | 'stopped' | 'removed';

/** The process that leads the group of a connection. `startTicks`: since boot; with the pid it names one process. */
export type Leader = { readonly pid: number; readonly startTicks: number };

export type Why = { readonly reason: string; readonly message: string };

export type Probing = { readonly nextAtMs: number; readonly inFlight: boolean; readonly failed: number };

/** Who began to connect: this agent, an earlier one, or autossh after a loss. */
export type Beginner = 'start' | 'adoption' | 'engine';

export type Phase =
  | { readonly kind: 'waiting'; readonly untilMs: number }
  /** Whatever is there of a former connection ends, and the ports become free; then what `then` says. */
  | { readonly kind: 'clearing'; readonly then: 'start' | 'pause'; readonly pauseMs: number; readonly beganMs: number; readonly signalled: 'none' | 'term' | 'kill';
      readonly isLooking: boolean; readonly nextLookMs: number; readonly isBlocked: boolean }
  | { readonly kind: 'starting' }
  | { readonly kind: 'connecting'; readonly leader: Leader; readonly deadlineMs: number; readonly from: Beginner }
  /** Connected; the first probe is not answered yet. */
  | { readonly kind: 'proving'; readonly leader: Leader; readonly sshPid: number; readonly probing: Probing }
  | { readonly kind: 'up'; readonly leader: Leader; readonly sshPid: number; readonly probing: Probing }
  | { readonly kind: 'backoff'; readonly untilMs: number }
  | { readonly kind: 'refused'; readonly untilMs: number }
  | { readonly kind: 'stopped' }
  | { readonly kind: 'gone' };

export type TunnelMachine = {
  readonly settings: Settings;
  readonly wanted: Wanted;
  /** Of the desired object that the connection, or the attempt, is of. */
  readonly restart: number;
  readonly probeIntervalMs: number | undefined;
  readonly phase: Phase;
  readonly phaseSinceMs: number;
  /** Number of what is being done: results of earlier doings are ignored. */
  readonly turn: number;
  /** Failures in a row; 0 also after a connection that was stable. */
  readonly failures: number;
  /** When connections that were up were lost, as far as they count for flapping. */
  readonly downsMs: readonly number[];
  /** When a connection that was up ended, until the next one is up. */
  readonly downSinceMs: number | undefined;
  readonly statistics: Omit<TunnelStatistics, 'probeAgeMs'>;
  readonly probedAtMs: number | undefined;
  readonly why: Why | undefined;
};

/** What a look at processes and ports found. `alive`: processes of this tunnel. `isBusy`: a port is not free. `holder`: who has it, if that is not this tunnel. */
export type Sight = { readonly alive: number; readonly isBusy: boolean; readonly holder: Why | undefined };

export type Event =
  | { readonly kind: 'tick' }
  /** `isNew`: the spec has changed, so the connection is made anew. */
  | { readonly kind: 'want'; readonly wanted: Wanted; readonly restart: number; readonly isNew: boolean; readonly probeIntervalMs: number | undefined }
  | { readonly kind: 'looked'; readonly turn: number; readonly sight: Sight }
  | { readonly kind: 'started'; readonly turn: number; readonly leader: Leader }
  | { readonly kind: 'refused'; readonly turn: number; readonly why: Why }
  | { readonly kind: 'connected'; readonly turn: number; readonly sshPid: number }
  /** The connection is lost, and whoever leads the group is still there. */
  | { readonly kind: 'disconnected'; readonly turn: number; readonly why: Why }
  /** The leader is gone, it could not be started, or an attempt failed. */
  | { readonly kind: 'failed'; readonly turn: number; readonly why: Why }
  | { readonly kind: 'probed'; readonly turn: number; readonly tookMs: number; readonly problem: string | undefined };

export type Effect =
  | { readonly kind: 'look'; readonly turn: number }
  | { readonly kind: 'signal'; readonly signal: 'SIGTERM' | 'SIGKILL' }
  | { readonly kind: 'start'; readonly turn: number }
  /** From now on tell when it is connected, and what becomes of it. */
  | { readonly kind: 'watch'; readonly turn: number; readonly leader: Leader }
  | { readonly kind: 'unwatch' }
  | { readonly kind: 'probe'; readonly turn: number }
  /** What is remembered of it on disk has changed. */
  | { readonly kind: 'record' }
  | { readonly kind: 'forget' };

export type Step = { readonly state: TunnelMachine; readonly effects: readonly Effect[] };

/** What a step is given besides its event. `random` is uniform in [0, 1). */
export type Now = { readonly nowMs: number; readonly random: () => number };
