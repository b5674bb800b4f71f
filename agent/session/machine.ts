/**
 * The agent's side of the session, as a pure function: `step(state, event, now)` → next state and effects. link.ts carries the
 * effects out and feeds their results back as events. It promises:
 * - at most one stream at a time; what comes from an earlier one is ignored;
 * - the number of a session is durable before anything of it is accepted, reported or confirmed by a heartbeat (S4);
 * - nothing is served that is not durable; what the disk refuses is tried again while the stream stands;
 * - heartbeats go on while a stream is opened anew: only silence makes the coordinator give this host up.
 */
import { beat, onHeartbeatAnswered, onHeartbeatFailed } from './heart.js';
import { closeStream, openStream, reopen, streamOf, unchanged } from './phases.js';
import { reportDueMs, sendReport } from './reports.js';
import type { Event, LinkState, Now, Phase, Settings, Step } from './words.js';
import { onDeltasWritten, onDesiredState, onDiskFailed, onWelcome, onWelcomeWritten, retryDisk } from './writing.js';

/** The first stream is opened by the first tick. */
export function start(settings: Settings): LinkState {
  return {
    settings, streams: 0, attempt: 0, phase: { kind: 'waiting', untilMs: 0 }, heart: undefined, outcome: undefined,
    sentReport: undefined, refusedFor: undefined, tellsState: false,
  };
}

/** When the next `tick` is due; Infinity: none is. */
export function nextWakeMs(state: LinkState): number {
  const { phase, heart } = state;
  const heartMs = heart === undefined || heart.inFlight ? Infinity : heart.nextAtMs;
  return Math.min(phaseWakeMs(phase), heartMs, reportDueMs(state));
}

function phaseWakeMs(phase: Phase): number {
  switch (phase.kind) {
    case 'waiting': return phase.untilMs;
    case 'connecting':
    case 'greeting': return phase.deadlineMs;
    case 'welcomed':
    case 'established': return phase.disk.kind === 'failing' ? phase.disk.retryAtMs : Infinity;
    case 'closed': return Infinity;
    default: return phase satisfies never;
  }
}

export function step(state: LinkState, event: Event, now: Now): Step {
  if (state.phase.kind === 'closed') return unchanged(state);
  switch (event.kind) {
    case 'tick': return onTick(state, now);
    case 'opened': return onOpened(state, event.stream, now);
    case 'welcome': return onWelcome(state, event, now);
    case 'desiredState': return onDesiredState(state, event, now);
    case 'streamEnded': return streamOf(state.phase) === event.stream ? reopen(state, event.end, now) : unchanged(state);
    case 'welcomeWritten': return onWelcomeWritten(state, event, now);
    case 'deltasWritten': return onDeltasWritten(state, event, now);
    case 'diskFailed': return onDiskFailed(state, event, now);
    case 'roundOutcome': return sendReport({ ...state, outcome: event.outcome }, now);
    case 'heartbeatAnswered': return onHeartbeatAnswered(state, event, now);
    case 'heartbeatFailed': return onHeartbeatFailed(state, event, now);
    case 'close': return { state: { ...state, phase: { kind: 'closed' }, heart: undefined }, effects: closeStream(state) };
    default: return event satisfies never;
  }
}

function onTick(state: LinkState, now: Now): Step {
  const beaten = beat(state, now);
  const moved = onPhaseDue(beaten.state, now);
  const reported = sendReport(moved.state, now);
  return { state: reported.state, effects: [...beaten.effects, ...moved.effects, ...reported.effects] };
}

function onPhaseDue(state: LinkState, now: Now): Step {
  const { phase } = state;
  if (now.nowMs < phaseWakeMs(phase)) return unchanged(state);
  switch (phase.kind) {
    case 'waiting': return openStream(state, now);
    case 'connecting': return reopen(state, { message: 'the coordinator could not be reached in time' }, now);
    case 'greeting': return reopen(state, { message: 'the coordinator did not answer the hello in time' }, now);
    case 'welcomed':
    case 'established': return retryDisk(state, now);
    case 'closed': return unchanged(state);
    default: return phase satisfies never;
  }
}

function onOpened(state: LinkState, stream: number, { nowMs }: Now): Step {
  if (state.phase.kind !== 'connecting' || state.phase.stream !== stream) return unchanged(state);
  const phase: Phase = { kind: 'greeting', stream, deadlineMs: nowMs + state.settings.connectMs };
  return { state: { ...state, phase }, effects: [{ kind: 'sendHello', stream, withState: state.tellsState }] };
}
