/** How a connection of a tunnel ends: the moves that several parts of its state machine share. */
import { nextDelayMs } from '../../shared/backoff.js';
import type { Now, Phase, Step, TunnelMachine, Why } from './words.js';

export function unchanged(state: TunnelMachine): Step {
  return { state, effects: [] };
}

export function enter(state: TunnelMachine, phase: Phase, nowMs: number): TunnelMachine {
  return { ...state, phase, phaseSinceMs: nowMs };
}

/** Ends what there is, and goes on from there as the tunnel is wanted then. */
export function clear(state: TunnelMachine, { then, pauseMs }: { then: 'start' | 'pause'; pauseMs: number }, { nowMs }: Now): Step {
  const turn = state.turn + 1;
  const phase: Phase = { kind: 'clearing', then, pauseMs, beganMs: nowMs, signalled: 'none', isLooking: true, nextLookMs: nowMs, isBlocked: false };
  return { state: enter({ ...state, turn }, phase, nowMs), effects: [{ kind: 'unwatch' }, { kind: 'look', turn }] };
}

/** An attempt came to nothing. That of autossh after a loss is part of the loss, and was counted; what was adopted in vain is made anew at once. */
export function afterFailure(state: TunnelMachine, why: Why, now: Now): Step {
  const { failures, statistics, phase } = state;
  const from = phase.kind === 'connecting' ? phase.from : 'start';
  if (from === 'engine') return againAfter({ ...state, why }, failures - 1, now);
  const counted = { ...state, why, failures: failures + 1, statistics: { ...statistics, failures: statistics.failures + 1 } };
  return againAfter(counted, from === 'adoption' ? 0 : failures + 1, now);
}

/** `failures` in a row before: none, and it is tried at once. */
function againAfter(state: TunnelMachine, failures: number, now: Now): Step {
  if (failures === 0) return clear(state, { then: 'start', pauseMs: 0 }, now);
  return clear(state, { then: 'pause', pauseMs: nextDelayMs({ attempt: failures - 1, ...state.settings.backoff, random: now.random }) }, now);
}

/** A connection that was up is lost: made anew at once if it was stable or this is the first time, else after a pause. autossh, while it is there, connects again by itself. */
export function afterLoss(state: TunnelMachine, why: Why, { isEngineAlive }: { isEngineAlive: boolean }, now: Now): Step {
  const { phase, statistics, settings, phaseSinceMs } = state;
  if (phase.kind === 'connecting' && !isEngineAlive) return afterFailure(state, why, now);
  if (phase.kind !== 'up' && phase.kind !== 'proving') return unchanged(state);
  const { nowMs } = now;
  const { windowMs } = settings.flapping;
  const wasUp = phase.kind === 'up';
  const failures = wasUp && nowMs - phaseSinceMs >= settings.stableMs ? 0 : state.failures;
  const lost: TunnelMachine = {
    ...state, why, failures: failures + 1, downSinceMs: state.downSinceMs ?? (wasUp ? nowMs : undefined),
    downsMs: [...state.downsMs.filter(atMs => nowMs - atMs < windowMs), ...(wasUp ? [nowMs] : [])],
    statistics: { ...statistics, failures: statistics.failures + 1, restarts: statistics.restarts + (wasUp ? 1 : 0) },
  };
  if (isEngineAlive) return { state: enter(lost, { kind: 'connecting', leader: phase.leader, deadlineMs: nowMs + settings.retakeMs, from: 'engine' }, nowMs), effects: [{ kind: 'record' }] };
  return againAfter(lost, failures, now);
}

export function isFlapping({ downsMs, settings: { flapping: { downs, windowMs } } }: TunnelMachine, nowMs: number): boolean {
  return downsMs.filter(atMs => nowMs - atMs < windowMs).length >= downs;
}
