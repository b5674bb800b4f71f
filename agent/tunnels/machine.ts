/**
 * One tunnel as a pure function: `step(state, event, now)` → next state and effects. worker.ts carries the effects out and feeds their
 * results back as events. It promises:
 * - a connection is started only after a look found no process of this tunnel and its local ports free: never two at a time;
 * - every wait has a bound;
 * - one order to restart makes one new connection, whatever state it finds;
 * - nothing is signalled but what bears the mark of this tunnel (the effect `signal` knows no other target).
 */
import { afterFailure, afterLoss, clear, enter, unchanged } from './phases.js';
import type { Event, Leader, Now, Phase, Probing, Settings, Sight, Step, TunnelMachine, Wanted } from './words.js';

const PROVE_AGAIN_MS = 1_000;
const TERM_LOOK_MS = 10;

export type Beginning = {
  readonly settings: Settings;
  readonly wanted: Wanted;
  readonly restart: number;
  readonly probeIntervalMs: number | undefined;
  readonly statistics: TunnelMachine['statistics'];
  /** Before that nothing is started: starts of many tunnels are spread. */
  readonly startAtMs: number;
};

export function begin({ startAtMs, ...rest }: Beginning, nowMs: number): TunnelMachine {
  return {
    ...rest, phase: { kind: 'waiting', untilMs: startAtMs }, phaseSinceMs: nowMs, turn: 0, failures: 0, downsMs: [], downSinceMs: undefined, probedAtMs: undefined, why: undefined,
  };
}

/** The connection of an earlier agent is taken over: nothing is started, and nothing ended unless it does not answer. */
export function adopt(state: TunnelMachine, leader: Leader, nowMs: number): Step {
  const turn = state.turn + 1;
  const next = enter({ ...state, turn }, { kind: 'connecting', leader, deadlineMs: nowMs + state.settings.retakeMs, from: 'adoption' }, nowMs);
  return { state: next, effects: [{ kind: 'watch', turn, leader }] };
}

/** When the next `tick` is due; Infinity: none is. */
export function nextWakeMs({ phase, probeIntervalMs }: TunnelMachine): number {
  switch (phase.kind) {
    case 'waiting':
    case 'backoff':
    case 'refused': return phase.untilMs;
    case 'clearing': return phase.isLooking ? Infinity : phase.nextLookMs;
    case 'connecting': return phase.deadlineMs;
    case 'proving':
    case 'up': return probeIntervalMs === undefined || phase.probing.inFlight ? Infinity : phase.probing.nextAtMs;
    case 'starting':
    case 'stopped':
    case 'gone': return Infinity;
    default: return phase satisfies never;
  }
}

export function step(state: TunnelMachine, event: Event, now: Now): Step {
  if (state.phase.kind === 'gone') return unchanged(state);
  if ('turn' in event && event.turn !== state.turn) return unchanged(state);
  switch (event.kind) {
    case 'tick': return onTick(state, now);
    case 'want': return onWant(state, event, now);
    case 'looked': return onLooked(state, event.sight, now);
    case 'started': return onStarted(state, event.leader, now);
    case 'refused': return { state: { ...enter(state, { kind: 'refused', untilMs: now.nowMs + state.settings.refusedMs }, now.nowMs), why: event.why }, effects: [] };
    case 'connected': return onConnected(state, event.sshPid, now);
    case 'disconnected': return afterLoss(state, event.why, { isEngineAlive: true }, now);
    case 'failed': return state.phase.kind === 'up' ? afterLoss(state, event.why, { isEngineAlive: false }, now) : afterFailure(state, event.why, now);
    case 'probed': return onProbed(state, event, now);
    default: return event satisfies never;
  }
}

function onTick(state: TunnelMachine, now: Now): Step {
  const { phase, turn } = state;
  if (now.nowMs < nextWakeMs(state)) return unchanged(state);
  switch (phase.kind) {
    case 'waiting':
    case 'backoff':
    case 'refused': return clear(state, { then: 'start', pauseMs: 0 }, now);
    case 'clearing': return { state: { ...state, phase: { ...phase, isLooking: true } }, effects: [{ kind: 'look', turn }] };
    case 'connecting': return afterFailure(state, { reason: 'CONNECT_TIMEOUT', message: 'the connection and its forwards did not stand in time' }, now);
    case 'proving':
    case 'up': return { state: { ...state, phase: { ...phase, probing: { ...phase.probing, inFlight: true } } }, effects: [{ kind: 'probe', turn }] };
    case 'starting':
    case 'stopped':
    case 'gone': return unchanged(state);
    default: return phase satisfies never;
  }
}

function onWant(before: TunnelMachine, { wanted, restart, isNew, probeIntervalMs }: Extract<Event, { kind: 'want' }>, now: Now): Step {
  const state = { ...before, wanted, restart, probeIntervalMs };
  if (wanted === before.wanted && restart === before.restart && !isNew) return unchanged(state);
  if (wanted !== 'up' && before.wanted === wanted) return { state, effects: [{ kind: 'record' }] };
  const isRestart = wanted === 'up' && before.wanted === 'up';
  const counted: TunnelMachine = {
    ...state, failures: 0, why: undefined,
    downSinceMs: !isRestart ? undefined : before.phase.kind === 'up' ? now.nowMs : state.downSinceMs,
    statistics: isRestart ? { ...state.statistics, restarts: state.statistics.restarts + 1 } : state.statistics,
  };
  return clear(counted, { then: 'start', pauseMs: 0 }, now);
}

function onLooked(state: TunnelMachine, sight: Sight, now: Now): Step {
  const { phase, settings } = state;
  if (phase.kind !== 'clearing') return unchanged(state);
  if (sight.alive > 0) return endThem(state, phase, now);
  if (sight.isBusy && state.wanted === 'up' && phase.then === 'start') {
    if (sight.holder !== undefined) return blocked(state, phase, sight.holder, now);
    if (now.nowMs - phase.beganMs < settings.patienceMs) return lookAgain(state, { ...phase, nextLookMs: now.nowMs + TERM_LOOK_MS });
    return blocked(state, phase, { reason: 'LOCAL_PORT_TAKEN', message: 'a port that it listens on is taken, by whom could not be found' }, now);
  }
  return cleared(state, phase, now);
}

type Clearing = Extract<Phase, { kind: 'clearing' }>;

function lookAgain(state: TunnelMachine, phase: Clearing): Step {
  return { state: { ...state, phase: { ...phase, isLooking: false } }, effects: [] };
}

function blocked(state: TunnelMachine, phase: Clearing, why: TunnelMachine['why'], { nowMs }: Now): Step {
  const next: Clearing = { ...phase, isBlocked: true, isLooking: false, nextLookMs: nowMs + state.settings.blockedMs };
  return { state: { ...(phase.isBlocked ? { ...state, phase: next } : enter(state, next, nowMs)), why }, effects: [] };
}

/** SIGTERM at first, SIGKILL later; what heeds neither is looked at ever again, and nothing is started meanwhile. */
function endThem(state: TunnelMachine, phase: Clearing, now: Now): Step {
  const { killAfterMs, patienceMs } = state.settings;
  const ageMs = now.nowMs - phase.beganMs;
  const soon = { ...phase, isLooking: false, nextLookMs: now.nowMs + TERM_LOOK_MS };
  if (phase.signalled === 'none') return { state: { ...state, phase: { ...soon, signalled: 'term' } }, effects: [{ kind: 'signal', signal: 'SIGTERM' }] };
  if (ageMs < killAfterMs) return lookAgain(state, soon);
  const stuck = ageMs < patienceMs ? undefined : blocked(state, phase, { reason: 'PROCESS_NOT_ENDED', message: 'a process of its former connection does not end' }, now).state;
  return { state: stuck ?? { ...state, phase: { ...soon, signalled: 'kill' } }, effects: [{ kind: 'signal', signal: 'SIGKILL' }] };
}

function cleared(state: TunnelMachine, phase: Clearing, { nowMs }: Now): Step {
  const { statistics, turn } = state;
  if (state.wanted === 'removed') return { state: enter(state, { kind: 'gone' }, nowMs), effects: [{ kind: 'forget' }] };
  if (state.wanted === 'stopped') return { state: enter({ ...state, why: undefined }, { kind: 'stopped' }, nowMs), effects: [{ kind: 'record' }] };
  if (phase.then === 'pause') return { state: enter(state, { kind: 'backoff', untilMs: nowMs + phase.pauseMs }, nowMs), effects: [{ kind: 'record' }] };
  const counted = { ...state, statistics: { ...statistics, attempts: statistics.attempts + 1 } };
  return { state: enter(counted, { kind: 'starting' }, nowMs), effects: [{ kind: 'start', turn }] };
}

function onStarted(state: TunnelMachine, leader: Leader, { nowMs }: Now): Step {
  if (state.phase.kind !== 'starting') return unchanged(state);
  const phase: Phase = { kind: 'connecting', leader, deadlineMs: nowMs + state.settings.connectMs, from: 'start' };
  return { state: enter(state, phase, nowMs), effects: [{ kind: 'watch', turn: state.turn, leader }] };
}

function onConnected(state: TunnelMachine, sshPid: number, now: Now): Step {
  const { phase, probeIntervalMs } = state;
  if (phase.kind !== 'connecting') return unchanged(state);
  const held = { leader: phase.leader, sshPid };
  if (phase.from === 'adoption') return { state: takenOver(state, held, now), effects: [] };
  if (probeIntervalMs === undefined) return up(state, held, now);
  const probing: Probing = { nextAtMs: Infinity, inFlight: true, failed: 0 };
  return { state: { ...state, phase: { kind: 'proving', ...held, probing } }, effects: [{ kind: 'probe', turn: state.turn }] };
}

/** It was up before; the first probe comes when the next one is due. */
function takenOver(state: TunnelMachine, held: { leader: Leader; sshPid: number }, { nowMs }: Now): TunnelMachine {
  return enter({ ...state, why: undefined }, { kind: 'up', ...held, probing: { nextAtMs: nowMs + (state.probeIntervalMs ?? Infinity), inFlight: false, failed: 0 } }, nowMs);
}

function up(state: TunnelMachine, held: { leader: Leader; sshPid: number }, { nowMs }: Now): Step {
  const { statistics, downSinceMs } = state;
  const restartTimeMs = downSinceMs === undefined ? statistics.restartTimeMs : nowMs - downSinceMs;
  const probing: Probing = { nextAtMs: nowMs + (state.probeIntervalMs ?? Infinity), inFlight: false, failed: 0 };
  const counted = { ...state, why: undefined, downSinceMs: undefined, statistics: { ...statistics, attempts: 0, connections: statistics.connections + 1, restartTimeMs } };
  return { state: enter(counted, { kind: 'up', leader: held.leader, sshPid: held.sshPid, probing }, nowMs), effects: [{ kind: 'record' }] };
}

function onProbed(state: TunnelMachine, { tookMs, problem }: Extract<Event, { kind: 'probed' }>, now: Now): Step {
  const { phase, statistics, settings } = state;
  if (phase.kind !== 'up' && phase.kind !== 'proving') return unchanged(state);
  const probes = statistics.probes + 1;
  if (problem === undefined) {
    const answered = { ...state, probedAtMs: now.nowMs, statistics: { ...statistics, probes, probeTimeMs: tookMs } };
    if (phase.kind === 'proving') return up(answered, phase, now);
    return { state: { ...answered, why: undefined, phase: { ...phase, probing: { nextAtMs: now.nowMs + (state.probeIntervalMs ?? Infinity), inFlight: false, failed: 0 } } }, effects: [] };
  }
  const failed = phase.probing.failed + 1;
  const why = { reason: 'PROBE_FAILED', message: `${failed} ${failed === 1 ? 'probe' : 'probes in a row'} through it failed: ${problem}` };
  const counted = { ...state, why, statistics: { ...statistics, probes, probesFailed: statistics.probesFailed + 1 } };
  if (failed >= settings.probeFailures) return phase.kind === 'up' ? afterLoss(counted, why, { isEngineAlive: false }, now) : afterFailure(counted, why, now);
  const pauseMs = phase.kind === 'up' ? state.probeIntervalMs ?? Infinity : Math.min(PROVE_AGAIN_MS, state.probeIntervalMs ?? Infinity);
  return { state: { ...counted, phase: { ...phase, probing: { nextAtMs: now.nowMs + pauseMs, inFlight: false, failed } } }, effects: [] };
}
