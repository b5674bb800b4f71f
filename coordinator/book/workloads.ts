/**
 * Containers of environments. creating → ready when the container runs and every mapping is live and has answered; creating → undoing when
 * a step fails; either → deleting. The last two end, and the environment is gone, when its host has removed the container and all its ports are
 * given back.
 */
import { usualVariables, type CredentialSpec, type EnvironmentWord } from '../../shared/container.js';
import { removeEnvironment } from './mappings.js';
import { workloadObject } from './objects.js';
import { drop, put } from './outbox.js';
import { giveUpAll } from './giving-up.js';
import { problemIn } from './problem.js';
import { isInForce } from './states.js';
import type { Environment, Host, Mapping, State, Workload } from './state.js';
import type { CreateEnvironmentCommand, WorkloadFailure, WorkloadPhase, WorkloadRecord } from './types.js';

/** Of one environment, at most so often an event. */
const PROGRESS_MS = 2_000;
/** Why a mapping may be blocked while its container comes up. */
const TRANSIENT = ['CONTAINER_NOT_FOUND', 'CONTAINER_STOPPED', 'CONTAINER_ADDRESS_UNSETTLED', 'DOCKER_UNAVAILABLE', 'TUNNEL_DOWN'];

export function makeWorkload(state: State, record: WorkloadRecord): Workload {
  const workload: Workload = { record, deadlineMs: state.nowMs + record.startTimeoutMs, word: undefined, toldAtMs: -Infinity };
  state.workloads.set(record.environment, workload);
  state.hosts.get(record.host)?.workloads.add(workload);
  if (record.phase !== 'ready') state.underWay.add(workload);
  return workload;
}

/** Its ports are allocated in the same decision. */
export function addWorkload(state: State, { allocation, container, startTimeoutMs }: CreateEnvironmentCommand, mappings: readonly Mapping[]): Workload {
  const { environment, tenant, host, bodyHash } = allocation;
  const credentials = credentialsOf(state, container, mappings);
  const workload = makeWorkload(state, {
    environment, tenant, host, container, credentials, bodyHash, phase: 'creating', generation: state.sequence, rotation: 0,
    credentialsReturned: credentials.length === 0, startTimeoutMs, removesVolumes: false, failure: undefined, containerId: '',
  });
  state.dirtyWorkload(workload);
  put(state, state.hosts.get(host), workloadObject(state, workload));
  tell(state, workload, 'EnvironmentCreating', { image: container.image });
  return workload;
}

/** What the spec says, completed by what is usual. A variable has one value: the one that the spec sets, or that of the first port that has it. */
function credentialsOf(state: State, { credentials, env }: CreateEnvironmentCommand['container'], mappings: readonly Mapping[]): CredentialSpec[] {
  const poolOf = new Map(mappings.map(({ record: { name, pool } }) => [name, state.pools.get(pool)?.spec]));
  const taken = new Set([...Object.keys(env), ...credentials.flatMap(({ variables }) => variables)]);
  return [...poolOf].flatMap(([name, pool]): CredentialSpec[] => {
    const said = credentials.find((one) => one.name === name)?.variables.filter((variable) => env[variable] === undefined);
    const variables = said ?? (pool === undefined ? [] : usualVariables([pool.serviceType, ...pool.aliases]).filter((variable) => !taken.has(variable)));
    for (const variable of variables) taken.add(variable);
    return variables.length === 0 ? [] : [{ name, variables }];
  });
}

/** What a host says of one of its containers. */
export function hear(state: State, host: Host, word: EnvironmentWord): void {
  const workload = state.workloads.get(word.environment);
  if (workload?.record.host !== host.record.host || word.generation !== workload.record.generation) return;
  const before = workload.word;
  if (before !== undefined && isSame(before, word)) return;
  workload.word = word;
  state.dirtyWorkload(workload, true);
  const { record } = workload;
  if (word.containerId !== '' && record.containerId !== word.containerId) {
    record.containerId = word.containerId;
    state.dirtyWorkload(workload);
  }
  if (record.phase === 'creating' && word.state === 'failed') fail(state, workload, word);
  else if (record.phase === 'creating') tellProgress(state, workload, before);
}

function isSame(a: EnvironmentWord, b: EnvironmentWord): boolean {
  return a.state === b.state && a.step === b.step && a.reason === b.reason && a.message === b.message && a.percent === b.percent && a.containerId === b.containerId && a.rotation === b.rotation;
}

function tellProgress(state: State, workload: Workload, before: EnvironmentWord | undefined): void {
  const { word } = workload;
  if (word === undefined) return;
  const isNewStep = before?.step !== word.step || before.state !== word.state || before.reason !== word.reason;
  if (!isNewStep && state.nowMs < workload.toldAtMs + PROGRESS_MS) return;
  const { step, percent, reason, message } = word;
  tell(state, workload, 'EnvironmentProgress', { step: word.state === 'started' ? 'verify' : step, ...(percent > 0 ? { percent } : {}), ...(reason === '' ? {} : { reason }), ...(message === '' ? {} : { message }) });
}

/** After a decision: those whose time has come go on. */
export function passWorkloads(state: State): void {
  for (const workload of [...state.underWay]) {
    if (workload.record.phase === 'creating') settle(state, workload);
    if (workload.record.phase !== 'creating') finish(state, workload);
  }
}

function settle(state: State, workload: Workload): void {
  const { record, word } = workload;
  const mappings = state.environments.get(record.environment)?.mappings ?? [];
  const released = mappings.find((mapping) => !isInForce(mapping.record.state));
  if (released !== undefined || mappings.length === 0) return fail(state, workload, { step: 'map', reason: 'PORTS_RELEASED', message: 'a port of it was released before it was ready' });
  if (word?.state === 'started') {
    const blocked = mappings.find(isBlockedForGood);
    if (blocked !== undefined) return fail(state, workload, failureOf(blocked));
    if (mappings.every((mapping) => mapping.record.state === 'live' && mapping.verified)) return becomeReady(state, workload);
  }
  if (state.nowMs >= workload.deadlineMs) fail(state, workload, timeUp(state, workload, mappings));
}

function isBlockedForGood({ record: { state, reason } }: Mapping): boolean {
  return state === 'blocked' && !TRANSIENT.includes(problemIn(reason).reason);
}

function failureOf({ record: { port, reason: text } }: Mapping): WorkloadFailure {
  const { reason, message } = problemIn(text);
  return { step: 'map', reason, message: `port ${port}: ${message}` };
}

function timeUp(state: State, { record, word }: Workload, mappings: readonly Mapping[]): WorkloadFailure {
  const seconds = record.startTimeoutMs / 1_000;
  const late = (step: string, why: string): WorkloadFailure => ({ step, reason: 'START_TIMEOUT', message: `not ready within ${seconds} s: ${why}` });
  const host = state.hosts.get(record.host);
  if (word === undefined) return late('wait', `host ${record.host} has said nothing of it (${host?.state ?? 'unknown'})`);
  if (word.state !== 'started') return late(word.step, word.message === '' ? `it was at the step ${word.step}` : word.message);
  const open = mappings.filter((mapping) => mapping.record.state !== 'live');
  if (open.length > 0) return late('map', open.map(({ record: { name, port, state: is, reason } }) => `port ${port} (${name}) is ${is}${reason === '' ? '' : `: ${reason}`}`).join('; '));
  const silent = mappings.filter(({ verified }) => !verified).map(({ record: { name, internalPort } }) => `${name} on port ${internalPort} of the container`);
  return late('verify', `nothing answers ${silent.join(', ')}`);
}

function becomeReady(state: State, workload: Workload): void {
  workload.record.phase = 'ready';
  state.underWay.delete(workload);
  state.dirtyWorkload(workload);
  put(state, state.hosts.get(workload.record.host), workloadObject(state, workload));
  tell(state, workload, 'EnvironmentReady', { image: workload.record.container.image });
}

function fail(state: State, workload: Workload, { step, reason, message }: WorkloadFailure): void {
  workload.record.failure = { step, reason, message };
  tell(state, workload, 'EnvironmentFailed', { step, reason, message });
  giveBack(state, workload, { phase: 'undoing', removesVolumes: true });
}

/** From now on all of it goes: its ports, and its container as soon as its host answers. */
export function giveBack(state: State, workload: Workload, as: { phase: WorkloadPhase; removesVolumes: boolean }): void {
  const { record } = workload;
  const host = state.hosts.get(record.host);
  record.phase = as.phase;
  record.removesVolumes = as.removesVolumes;
  record.credentialsReturned = true;
  workload.word = undefined;
  state.underWay.add(workload);
  state.dirtyWorkload(workload);
  drop(state, host, `environment/${record.environment}`);
  put(state, host, workloadObject(state, workload));
  giveUpAll(state, state.environments.get(record.environment)?.mappings ?? []);
}

function finish(state: State, workload: Workload): void {
  const { record, word } = workload;
  const environment: Environment | undefined = state.environments.get(record.environment);
  // A host that was forgotten has nothing any more, or an operator answers for it.
  const host = state.hosts.get(record.host);
  const isRemoved = host === undefined || word?.state === 'removed';
  if (!isRemoved || (environment !== undefined && environment.mappings.length > 0)) return;
  drop(state, host, `removal/${record.environment}`);
  host?.workloads.delete(workload);
  state.workloads.delete(record.environment);
  state.underWay.delete(workload);
  tell(state, workload, 'EnvironmentDeleted', {});
  state.dirtyWorkload(workload, true);
  state.dirty.workloads.delete(workload);
  state.dirty.removedWorkloads.push(record.environment);
  if (environment !== undefined) removeEnvironment(state, environment);
}

type Told = 'EnvironmentCreating' | 'EnvironmentProgress' | 'EnvironmentReady' | 'EnvironmentFailed' | 'EnvironmentDeleted' | 'CredentialsRotated';

export function tell(state: State, workload: Workload, kind: Told, detail: Record<string, string | number>): void {
  const { host, environment, tenant } = workload.record;
  workload.toldAtMs = state.nowMs;
  state.event(kind, { host, environment, detail: JSON.stringify({ tenant, ...detail }) });
}
