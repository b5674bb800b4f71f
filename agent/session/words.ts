/** The words of the session's state machine: its state, what happens to it (events) and what it wants done (effects). */
import type { AgentReport, Delta } from '../../shared/desired.js';

/** What a round of the reconcile loop brought about. */
export type Outcome = Omit<AgentReport, 'session'>;

export type Settings = {
  /** Delay before a stream is opened again: doubled from `baseMs` to `maxMs`. */
  reconnect: { baseMs: number; maxMs: number };
  /** How long a refused agent waits before it asks again, when only people can change the answer. */
  refusedRetryMs: number;
  /** For the connection, and again for the welcome. */
  connectMs: number;
  /** An unchanged report is sent again after this. */
  repeatReportMs: number;
};

/** What a step is given besides its event. `random` is uniform in [0, 1). */
export type Now = { nowMs: number; random: () => number };

export type Welcome = { session: number; epoch: number; heartbeatIntervalMs: number; heartbeatDeadlineMs: number };

export type Refusal = {
  /** As in shared/reasons.ts. */
  reason: string;
  remedy: string;
  /** Waiting does not help: somebody has to do something. */
  isPermanent: boolean;
};

export type StreamEnd = { message: string; refusal?: Refusal; retryAfterMs?: number };

export type Disk =
  | { kind: 'idle' }
  | { kind: 'writing'; deltas: number; failures: number }
  | { kind: 'failing'; failures: number; retryAtMs: number };

export type Phase =
  | { kind: 'waiting'; untilMs: number }
  | { kind: 'connecting'; stream: number; deadlineMs: number }
  /** Hello sent. */
  | { kind: 'greeting'; stream: number; deadlineMs: number }
  /** The welcome is not durable yet. */
  | { kind: 'welcomed'; stream: number; welcome: Welcome; queue: readonly Delta[]; disk: Disk }
  | { kind: 'established'; stream: number; session: number; queue: readonly Delta[]; disk: Disk }
  | { kind: 'closed' };

/** Heartbeats of the newest durable session. */
export type Heart = {
  session: number;
  intervalMs: number;
  deadlineMs: number;
  /** Of the last one sent; 0: none. */
  sequence: number;
  inFlight: boolean;
  nextAtMs: number;
  /** Without an answer, in a row. */
  missed: number;
};

export type LinkState = {
  settings: Settings;
  /** Streams opened so far: the number of the newest one. */
  streams: number;
  /** Streams in a row over which nothing was accepted. */
  attempt: number;
  phase: Phase;
  heart: Heart | undefined;
  outcome: Outcome | undefined;
  sentReport: { stream: number; outcome: Outcome; atMs: number } | undefined;
  /** Reason of the last refusal that was logged, until the next welcome. */
  refusedFor: string | undefined;
  /** The coordinator's database is an older copy: hellos tell all that was accepted, until the next welcome. */
  tellsState: boolean;
};

export type Event =
  | { kind: 'tick' }
  /** The connection of the stream stands. */
  | { kind: 'opened'; stream: number }
  | { kind: 'welcome'; stream: number; welcome: Welcome }
  | { kind: 'desiredState'; stream: number; delta: Delta }
  | { kind: 'streamEnded'; stream: number; end: StreamEnd }
  | { kind: 'welcomeWritten'; stream: number; result: 'accepted' | 'older' }
  /** Deltas up to the first refused one are durable. */
  | { kind: 'deltasWritten'; stream: number; result: 'accepted' | 'older' | 'wrongBase' }
  | { kind: 'diskFailed'; stream: number; message: string }
  | { kind: 'roundOutcome'; outcome: Outcome }
  | { kind: 'heartbeatAnswered'; session: number; sequence: number; staleSession: boolean; rebuild: boolean }
  | { kind: 'heartbeatFailed'; session: number; sequence: number; message: string }
  | { kind: 'close' };

export type Effect =
  | { kind: 'openStream'; stream: number }
  /** `withState`: the coordinator asked for all that was accepted. */
  | { kind: 'sendHello'; stream: number; withState: boolean }
  | { kind: 'writeWelcome'; stream: number; session: number; epoch: number }
  | { kind: 'writeDeltas'; stream: number; deltas: readonly Delta[] }
  /** Hand the durable state to the reconcile loop. */
  | { kind: 'serve' }
  | { kind: 'sendReport'; stream: number; report: AgentReport }
  | { kind: 'sendHeartbeat'; session: number; sequence: number; deadlineMs: number }
  | { kind: 'rebuildHeartbeatChannel' }
  /** Also after the stream ended by itself: its connection goes with it. */
  | { kind: 'closeStream'; stream: number }
  | { kind: 'log'; level: 'info' | 'warn' | 'error'; fields: Record<string, unknown>; message: string };

export type Step = { state: LinkState; effects: Effect[] };
