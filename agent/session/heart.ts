/** Heartbeats: one at a time, each with a sequence number of its session, on a connection of their own. */
import { reopen, unchanged } from './phases.js';
import type { Effect, Event, Heart, LinkState, Now, Step, Welcome } from './words.js';

/** So many without an answer, and the connection is given up: a channel can hang for ever. */
const MISSED_LIMIT = 3;
/** Heartbeats of many hosts do not fall into step. */
const SPREAD = 0.1;

type Answered = Extract<Event, { kind: 'heartbeatAnswered' }>;
type Failed = Extract<Event, { kind: 'heartbeatFailed' }>;

/** The first one is due at once: it tells the coordinator that the session's number is durable here. */
export function newHeart({ session, heartbeatIntervalMs, heartbeatDeadlineMs }: Welcome, { nowMs }: Now): Heart {
  return { session, intervalMs: heartbeatIntervalMs, deadlineMs: heartbeatDeadlineMs, sequence: 0, inFlight: false, nextAtMs: nowMs, missed: 0 };
}

export function beat(state: LinkState, { nowMs, random }: Now): Step {
  const { heart } = state;
  if (heart === undefined || heart.inFlight || nowMs < heart.nextAtMs) return unchanged(state);
  const sequence = heart.sequence + 1;
  const nextAtMs = nowMs + heart.intervalMs * (1 - SPREAD + 2 * SPREAD * random());
  const effect: Effect = { kind: 'sendHeartbeat', session: heart.session, sequence, deadlineMs: heart.deadlineMs };
  return { state: { ...state, heart: { ...heart, sequence, inFlight: true, nextAtMs } }, effects: [effect] };
}

export function onHeartbeatAnswered(state: LinkState, event: Answered, now: Now): Step {
  const heart = awaited(state, event);
  if (heart === undefined) return unchanged(state);
  const next = { ...state, heart: event.staleSession ? undefined : { ...heart, inFlight: false, missed: 0 } };
  if (!isEstablished(next, event.session)) return unchanged(next);
  if (event.staleSession) return reopen(next, { message: 'the coordinator knows a newer session of this host' }, now);
  if (event.rebuild && !isWriting(next)) return reopen(next, { message: 'the coordinator asks for a new session: the accepted state stays behind' }, now);
  return unchanged(next);
}

export function onHeartbeatFailed(state: LinkState, event: Failed, now: Now): Step {
  const heart = awaited(state, event);
  if (heart === undefined) return unchanged(state);
  const missed = heart.missed + 1;
  const next = { ...state, heart: { ...heart, inFlight: false, missed } };
  if (missed % MISSED_LIMIT !== 0) return unchanged(next);
  const rebuild: Effect = { kind: 'rebuildHeartbeatChannel' };
  if (!isEstablished(next, event.session)) return { state: next, effects: [rebuild] };
  const reopened = reopen(next, { message: `no answer to ${missed} heartbeats: ${event.message}` }, now);
  return { state: reopened.state, effects: [rebuild, ...reopened.effects] };
}

/** The heart, when the event is about the heartbeat that is in flight. */
function awaited({ heart }: LinkState, { session, sequence }: Answered | Failed): Heart | undefined {
  return heart?.inFlight === true && heart.session === session && heart.sequence === sequence ? heart : undefined;
}

function isEstablished({ phase }: LinkState, session: number): boolean {
  return phase.kind === 'established' && phase.session === session;
}

/** The accepted state is behind because the disk is: a new session would have to be written as well. */
function isWriting({ phase }: LinkState): boolean {
  return phase.kind === 'established' && phase.queue.length > 0;
}
