/** What has to become durable on this machine: first the number of the session, then its desired states, in their order. */
import { newHeart } from './heart.js';
import { backoffMs, reopen, streamOf, unchanged } from './phases.js';
import { sendReport } from './reports.js';
import type { Disk, Effect, Event, LinkState, Now, Phase, Step } from './words.js';

/** More changes than this do not wait for a disk that fails: a later session brings their sum. */
const MAX_QUEUE = 4096;

type Received = Extract<Event, { kind: 'desiredState' }>;
type DeltasWritten = Extract<Event, { kind: 'deltasWritten' }>;
type DiskFailed = Extract<Event, { kind: 'diskFailed' }>;
type Writer = Extract<Phase, { disk: Disk }>;

export function onWelcome(state: LinkState, { stream, welcome }: Extract<Event, { kind: 'welcome' }>, now: Now): Step {
  const { phase } = state;
  if (streamOf(phase) !== stream) return unchanged(state);
  if (phase.kind !== 'greeting') return reopen(state, { message: 'a welcome came that was not waited for' }, now);
  return write({ ...state, refusedFor: undefined, tellsState: false }, { kind: 'welcomed', stream, welcome, queue: [], disk: { kind: 'idle' } }, 0);
}

export function onWelcomeWritten(state: LinkState, { stream, result }: Extract<Event, { kind: 'welcomeWritten' }>, now: Now): Step {
  const { phase } = state;
  if (phase.kind !== 'welcomed' || phase.stream !== stream) return unchanged(state);
  const { welcome, queue } = phase;
  if (result === 'older') return reopen(state, OLDER_COORDINATOR, now);
  const { session } = welcome;
  const log: Effect = { kind: 'log', level: 'info', fields: { session, epoch: welcome.epoch }, message: 'session with the coordinator' };
  const established: Writer = { kind: 'established', stream, session, queue, disk: { kind: 'idle' } };
  const reported = sendReport({ ...state, phase: established, heart: newHeart(welcome, now) }, now);
  const writing = queue.length === 0 ? unchanged(reported.state) : write(reported.state, established, 0);
  return { state: writing.state, effects: [log, ...reported.effects, ...writing.effects] };
}

const OLDER_COORDINATOR = {
  message: 'it welcomed this host with a session number that was used before',
  refusal: { reason: 'DATABASE_IS_OLDER', remedy: 'Start the coordinator on the newest copy of its database.', isPermanent: true },
};

export function onDesiredState(state: LinkState, { stream, delta }: Received, now: Now): Step {
  const { phase } = state;
  if (streamOf(phase) !== stream) return unchanged(state);
  if (!isWriter(phase)) return reopen(state, { message: 'desired state came before the welcome' }, now);
  if (phase.queue.length >= MAX_QUEUE) return reopen(state, { message: 'too many changes wait for the disk of this host' }, now);
  const next = { ...phase, queue: [...phase.queue, delta] };
  if (next.disk.kind === 'idle') return write(state, next, 0);
  return unchanged({ ...state, phase: next });
}

/** What is durable is served, also when its stream is gone by now. */
export function onDeltasWritten(state: LinkState, { stream, result }: DeltasWritten, now: Now): Step {
  const { phase } = state;
  const serve: Effect = { kind: 'serve' };
  if (phase.kind !== 'established' || phase.stream !== stream || phase.disk.kind !== 'writing') return { state, effects: [serve] };
  if (result !== 'accepted') {
    const message = result === 'older' ? 'refused a desired state older than the accepted one' : 'refused a change to a state that this host does not have';
    const reopened = reopen(state, { message }, now);
    return { state: reopened.state, effects: [serve, ...reopened.effects] };
  }
  const rest: Writer = { ...phase, queue: phase.queue.slice(phase.disk.deltas), disk: { kind: 'idle' } };
  const accepted = { ...state, attempt: 0 };
  if (rest.queue.length === 0) return { state: { ...accepted, phase: rest }, effects: [serve] };
  const more = write(accepted, rest, 0);
  return { state: more.state, effects: [serve, ...more.effects] };
}

/** Nothing was applied; what is served stays. Tried again while the stream stands. */
export function onDiskFailed(state: LinkState, { stream, message }: DiskFailed, now: Now): Step {
  const { phase } = state;
  if (!isWriter(phase) || phase.stream !== stream || phase.disk.kind !== 'writing') return unchanged(state);
  const failures = phase.disk.failures + 1;
  const retryInMs = backoffMs({ ...state, attempt: failures - 1 }, now);
  const disk: Disk = { kind: 'failing', failures, retryAtMs: now.nowMs + retryInMs };
  const fields = { why: message, failures, retryInMs, waiting: phase.queue.length };
  const log: Effect = { kind: 'log', level: 'error', fields, message: 'the disk does not take the accepted state: nothing new is served' };
  return { state: { ...state, phase: { ...phase, disk } }, effects: [log] };
}

export function retryDisk(state: LinkState, { nowMs }: Now): Step {
  const { phase } = state;
  if (!isWriter(phase) || phase.disk.kind !== 'failing' || nowMs < phase.disk.retryAtMs) return unchanged(state);
  return write(state, phase, phase.disk.failures);
}

function write(state: LinkState, phase: Writer, failures: number): Step {
  const { stream, queue } = phase;
  const disk: Disk = { kind: 'writing', deltas: phase.kind === 'welcomed' ? 0 : queue.length, failures };
  const effect: Effect = phase.kind === 'welcomed'
    ? { kind: 'writeWelcome', stream, session: phase.welcome.session, epoch: phase.welcome.epoch }
    : { kind: 'writeDeltas', stream, deltas: queue };
  return { state: { ...state, phase: { ...phase, disk } }, effects: [effect] };
}

function isWriter(phase: Phase): phase is Writer {
  return phase.kind === 'welcomed' || phase.kind === 'established';
}
