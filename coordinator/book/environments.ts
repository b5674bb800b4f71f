/** CreateEnvironment, DeleteEnvironment and RotateCredentials. */
import { allocate } from './allocate.js';
import { giveUpAll } from './giving-up.js';
import { boundOf } from './release.js';
import type { State, Workload } from './state.js';
import type { Command, CreateEnvironmentCommand, EnvironmentView, Refusal, Reply } from './types.js';
import { viewOf } from './views.js';
import { workloadObject } from './objects.js';
import { put } from './outbox.js';
import { refuseUnderWay } from './under-way.js';
import { addWorkload, giveBack, passWorkloads, tell } from './workloads.js';

/** One decision: all its ports, and that its host is to run the container. */
export function createEnvironment(state: State, command: CreateEnvironmentCommand): Reply {
  const { environment, bodyHash } = command.allocation;
  const known = state.workloads.get(environment);
  if (known !== undefined) {
    const { bodyHash: before } = known.record;
    if (before !== '' && before !== bodyHash) return exists(environment, 'was created with another body');
    // One that is being undone is waited for: its cause is told.
    if (known.record.phase === 'deleting') return refuseUnderWay(state, environment) ?? exists(environment, 'is being deleted');
    return { kind: 'environment', view: viewOf(state, environment, []), replayed: true };
  }
  if (state.environments.has(environment)) return exists(environment, 'has ports already, and no container of portlease');
  // A decision makes at most one environment: its sequence names the request.
  const reply = allocate(state, { ...command.allocation, requestId: `environment:${environment}:${state.sequence}` });
  if (reply.kind !== 'allocated') return reply;
  const mappings = reply.mappings.flatMap(({ mappingId }) => state.mappings.get(mappingId) ?? []);
  addWorkload(state, command, mappings);
  return { kind: 'environment', view: viewOf(state, environment, []), replayed: false };
}

function exists(environment: string, why: string): Refusal {
  return { kind: 'refused', reason: 'ENVIRONMENT_EXISTS', message: `environment ${environment} ${why}`, field: 'environment', metadata: { environment } };
}

/** Absent is fine. */
export function deleteEnvironment(state: State, { environment: name, removesVolumes }: Extract<Command, { kind: 'deleteEnvironment' }>): Reply {
  const environment = state.environments.get(name);
  const workload = state.workloads.get(name);
  if (environment === undefined) return { kind: 'deleting', view: undefined, boundMs: undefined };
  const chosen = [...environment.mappings];
  if (workload === undefined) giveUpAll(state, chosen);
  else if (!isEnding(workload)) giveBack(state, workload, { phase: 'deleting', removesVolumes: removesVolumes || workload.record.phase === 'creating' });
  passWorkloads(state);
  const view: EnvironmentView | undefined = state.environments.has(name) ? viewOf(state, name, []) : undefined;
  return { kind: 'deleting', view, boundMs: boundOf(state, chosen) };
}

function isEnding({ record: { phase } }: Workload): boolean {
  return phase === 'undoing' || phase === 'deleting';
}

/** Its agent makes new ones, and tells them until they are given to the caller. */
export function rotateCredentials(state: State, { environment }: Extract<Command, { kind: 'rotateCredentials' }>): Reply {
  const workload = state.workloads.get(environment);
  const refusal = refuseRotation(state, environment, workload);
  if (refusal !== undefined || workload === undefined) return refusal ?? unknown(environment);
  const { record } = workload;
  record.rotation += 1;
  record.credentialsReturned = false;
  state.dirtyWorkload(workload);
  put(state, state.hosts.get(record.host), workloadObject(state, workload));
  tell(state, workload, 'CredentialsRotated', { rotation: record.rotation });
  return { kind: 'environment', view: viewOf(state, environment, []), replayed: false };
}

function refuseRotation(state: State, environment: string, workload: Workload | undefined): Refusal | undefined {
  const refuse = (reason: Refusal['reason'], message: string): Refusal => ({ kind: 'refused', reason, message, field: 'environment', metadata: { environment } });
  if (workload === undefined) return state.environments.has(environment) ? refuse('NOT_ROTATABLE', `environment ${environment} has ports only: portlease runs no container for it`) : unknown(environment);
  const { phase, credentials, container } = workload.record;
  if (phase !== 'ready') return refuse('ENVIRONMENT_NOT_READY', `environment ${environment} is ${phase}`);
  if (credentials.length === 0) return refuse('NOT_ROTATABLE', `nothing was generated for environment ${environment}`);
  if (container.rotateCommand.length === 0) return refuse('NOT_ROTATABLE', `environment ${environment} was created without a rotate_command`);
  return undefined;
}

function unknown(environment: string): Refusal {
  return { kind: 'refused', reason: 'ENVIRONMENT_UNKNOWN', message: `there is no environment ${environment}`, field: 'environment', metadata: { environment } };
}

export function noteCredentials(state: State, { environment, generation, rotation }: Extract<Command, { kind: 'noteCredentials' }>): Reply {
  const workload = state.workloads.get(environment);
  if (workload === undefined || isEnding(workload)) return { kind: 'done' };
  const { record } = workload;
  if (record.generation !== generation || record.rotation !== rotation || record.credentialsReturned) return { kind: 'done' };
  record.credentialsReturned = true;
  state.dirtyWorkload(workload);
  put(state, state.hosts.get(record.host), workloadObject(state, workload));
  return { kind: 'done' };
}
