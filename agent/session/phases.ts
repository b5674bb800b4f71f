/** How a stream begins and ends: the moves that several parts of the state machine share. */
import { nextDelayMs } from '../../shared/backoff.js';
import type { Effect, LinkState, Now, Phase, Refusal, Step, StreamEnd } from './words.js';

/** Reconnects after a coordinator's restart are spread over this share of the delay. */
const JITTER = 0.5;

export function unchanged(state: LinkState): Step {
  return { state, effects: [] };
}

export function backoffMs({ settings, attempt }: LinkState, { random }: Now): number {
  return nextDelayMs({ attempt, ...settings.reconnect, jitter: JITTER, random });
}

export function streamOf(phase: Phase): number | undefined {
  return phase.kind === 'waiting' || phase.kind === 'closed' ? undefined : phase.stream;
}

export function closeStream({ phase }: LinkState): Effect[] {
  const stream = streamOf(phase);
  return stream === undefined ? [] : [{ kind: 'closeStream', stream }];
}

export function openStream(state: LinkState, { nowMs }: Now): Step {
  const stream = state.streams + 1;
  const phase: Phase = { kind: 'connecting', stream, deadlineMs: nowMs + state.settings.connectMs };
  return { state: { ...state, streams: stream, phase }, effects: [{ kind: 'openStream', stream }] };
}

/** Gives the stream up; another one is opened after a while. */
export function reopen(state: LinkState, end: StreamEnd, now: Now): Step {
  if (end.refusal?.isPermanent === true) return refused(state, { ...end, refusal: end.refusal }, now);
  if (end.refusal?.reason === 'STATE_NEEDED' && !state.tellsState) return reopen({ ...state, tellsState: true, attempt: 0 }, { ...end, retryAfterMs: 0 }, now);
  const { delayMs, attempt } = nextAttempt(state, end, now);
  const fields = { why: end.message, reason: end.refusal?.reason, wasEstablished: state.phase.kind === 'established', retryInMs: Math.round(delayMs) };
  return {
    state: { ...state, attempt, phase: { kind: 'waiting', untilMs: now.nowMs + delayMs } },
    effects: [...closeStream(state), { kind: 'log', level: 'warn', fields, message: 'no session with the coordinator' }],
  };
}

/** A coordinator that names a time knows when it can serve: waiting ever longer would only keep a fleet away. It is asked no sooner than a first attempt. */
function nextAttempt(state: LinkState, { retryAfterMs }: StreamEnd, now: Now): { delayMs: number; attempt: number } {
  if (retryAfterMs === undefined) return { delayMs: backoffMs(state, now), attempt: state.attempt + 1 };
  return { delayMs: Math.max(backoffMs({ ...state, attempt: 0 }, now), retryAfterMs * (1 + JITTER * now.random())), attempt: state.attempt };
}

/** Only people can help: says so once, and asks again slowly. What is served stays. */
function refused(state: LinkState, { message, refusal }: StreamEnd & { refusal: Refusal }, { nowMs, random }: Now): Step {
  const untilMs = nowMs + state.settings.refusedRetryMs * (1 - JITTER * random());
  const fields = { reason: refusal.reason, remedy: refusal.remedy, why: message };
  const log: Effect[] = state.refusedFor === refusal.reason ? []
    : [{ kind: 'log', level: 'error', fields, message: 'the coordinator refuses this host' }];
  return {
    state: { ...state, attempt: state.attempt + 1, phase: { kind: 'waiting', untilMs }, refusedFor: refusal.reason },
    effects: [...closeStream(state), ...log],
  };
}
