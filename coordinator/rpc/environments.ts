/** EnvironmentService: environments as a whole. */
import type {
  CreateEnvironmentRequest, CreateEnvironmentResponse, DeleteEnvironmentRequest, DeleteEnvironmentResponse, EnvironmentServiceServer, RotateCredentialsRequest,
  RotateCredentialsResponse,
} from '../../shared/gen/portlease/v1/environments.js';
import type { Environment } from '../../shared/gen/portlease/v1/ports.js';
import { credentialsToWire, msToDuration } from '../../shared/wire.js';
import type { Credential } from '../../shared/container.js';
import type { Refusal, WorkloadView } from '../book/types.js';
import type { Keeper } from '../keeper/keeper.js';
import { Refused } from '../keeper/refused.js';
import { elsewhere } from './allocation.js';
import { mutating, orRefuse, type Call, type Services } from './calls.js';
import { waitOf } from './deadline.js';
import { waitForEnvironment, type EnvironmentOutcome } from './environment-waiting.js';
import { environmentToWire, namingOf } from './messages.js';
import { parseCreateEnvironment, parseDeleteEnvironment } from './parse-environments.js';
import { parseEnvironmentName } from './parse-ports.js';
import { unknownEnvironment, unknownHost } from './unknown.js';

export function environmentService(services: Services): EnvironmentServiceServer {
  return {
    createEnvironment: mutating(services, { right: 'schedule', attempt: ({ environment }: CreateEnvironmentRequest) => ({ action: 'CreateEnvironment', environment }) },
      (call, { actor }) => create(services, call, actor)),
    deleteEnvironment: mutating(services, { right: 'schedule', attempt: ({ environment }: DeleteEnvironmentRequest) => ({ action: 'DeleteEnvironment', environment }) },
      (call, { actor }) => remove(services, call, actor)),
    rotateCredentials: mutating(services, { right: 'schedule', attempt: ({ environment }: RotateCredentialsRequest) => ({ action: 'RotateCredentials', environment }) },
      (call, { actor }) => rotate(services, call, actor)),
  };
}

async function create({ gateways }: Services, call: Call<CreateEnvironmentRequest>, actor: string): Promise<CreateEnvironmentResponse> {
  const { command, waits } = parseCreateEnvironment(call.request, actor);
  const { host, environment } = command.allocation;
  const keeper = gateways.ofHost(host);
  if (keeper === undefined) throw unknownHost(host);
  const claim = gateways.claim(environment, keeper);
  if (typeof claim === 'object') throw elsewhere(environment, claim.elsewhere);
  const { replayed } = orRefuse(await keeper.submit(command, waitOf(call)).finally(claim), 'environment');
  if (!waits) return { environment: await environmentNow(keeper, environment), credentials: [], credentialsReturned: false, replayed };
  const outcome = await waitForEnvironment(keeper, { environment, goal: { kind: 'ready' }, forMs: waitOf(call), caller: call });
  if (outcome.kind !== 'ready') throw new Refused(refusalOf(environment, outcome));
  const credentials = await handOver(keeper, outcome.workload, outcome.credentials);
  return {
    environment: await environmentNow(keeper, environment), credentials: credentialsToWire(credentials ?? []),
    credentialsReturned: credentials === undefined && outcome.workload.credentials.length > 0, replayed,
  };
}

/** That they are on their way is durable before they leave: nobody gets them twice. */
async function handOver(keeper: Keeper, { environment, host, generation, rotation }: WorkloadView, credentials: readonly Credential[] | undefined): Promise<readonly Credential[] | undefined> {
  if (credentials === undefined) return undefined;
  const reply = await keeper.submit({ kind: 'noteCredentials', environment, generation, rotation });
  if (reply.kind === 'done') return credentials;
  keeper.vault.hear(host, [{ environment, generation, rotation, credentials, state: 'started', step: 'run', reason: '', message: '', percent: 0, containerId: '' }]);
  orRefuse(reply, 'done');
  return undefined;
}

function refusalOf(environment: string, outcome: Exclude<EnvironmentOutcome, { kind: 'ready' }>): Refusal {
  const late = (message: string): Refusal => ({ kind: 'refused', reason: 'ENVIRONMENT_NOT_READY_IN_TIME', message, metadata: { environment } });
  switch (outcome.kind) {
    case 'failed': {
      const { failure: { step, reason, message }, isUndone } = outcome;
      return {
        kind: 'refused', reason: 'ENVIRONMENT_FAILED', message: `environment ${environment} could not be made: ${step}: ${message === '' ? reason : message}`,
        metadata: { environment, step, host_reason: reason, undone: String(isUndone) },
      };
    }
    case 'notRotated': {
      const { reason = '', message = '' } = outcome.workload.word ?? {};
      return { kind: 'refused', reason: 'ROTATION_FAILED', message: `the credentials of environment ${environment} were not rotated: ${message}`, metadata: { environment, host_reason: reason } };
    }
    case 'gone': return { kind: 'refused', reason: 'ENVIRONMENT_UNKNOWN', message: `environment ${environment} was deleted meanwhile`, metadata: { environment } };
    case 'timeUp': return late(`environment ${environment} is not ready yet`);
    case 'lost': return outcome.refusal;
    default: return outcome satisfies never;
  }
}

async function remove({ gateways }: Services, call: Call<DeleteEnvironmentRequest>, actor: string): Promise<DeleteEnvironmentResponse> {
  const { command, waits } = parseDeleteEnvironment(call.request, actor);
  const keeper = gateways.ofEnvironment(command.environment);
  if (keeper === undefined) {
    await gateways.settled();
    return { environment: undefined, bound: undefined };
  }
  const { view, boundMs } = orRefuse(await keeper.submit(command), 'deleting');
  if (view !== undefined && waits) {
    const outcome = await waitForEnvironment(keeper, { environment: command.environment, goal: { kind: 'gone' }, forMs: waitOf(call), caller: call });
    if (outcome.kind === 'lost') throw new Refused(outcome.refusal);
  }
  const environment = view && await environmentNow(keeper, command.environment);
  return { environment, bound: environment === undefined || boundMs === undefined ? undefined : msToDuration(boundMs) };
}

async function rotate({ gateways }: Services, call: Call<RotateCredentialsRequest>, actor: string): Promise<RotateCredentialsResponse> {
  const environment = parseEnvironmentName(call.request);
  const keeper = gateways.ofEnvironment(environment);
  if (keeper === undefined) {
    await gateways.settled();
    throw unknownEnvironment(environment);
  }
  const { view } = orRefuse(await keeper.submit({ kind: 'rotateCredentials', actor, environment }), 'environment');
  const rotation = view.workload?.rotation ?? 0;
  const outcome = await waitForEnvironment(keeper, { environment, goal: { kind: 'rotated', rotation }, forMs: waitOf(call), caller: call });
  if (outcome.kind === 'notRotated') await keeper.submit({ kind: 'noteCredentials', environment, generation: outcome.workload.generation, rotation });
  if (outcome.kind !== 'ready') throw new Refused(refusalOf(environment, outcome));
  const credentials = await handOver(keeper, outcome.workload, outcome.credentials);
  if (credentials === undefined) throw new Refused({ kind: 'refused', reason: 'ROTATION_FAILED', message: `the credentials of environment ${environment} were rotated by another call meanwhile`, metadata: { environment, host_reason: 'ROTATED_MEANWHILE' } });
  return { environment: await environmentNow(keeper, environment), credentials: credentialsToWire(credentials) };
}

function environmentNow(keeper: Keeper, name: string): Promise<Environment | undefined> {
  return keeper.read((book) => {
    const view = book.environment(name);
    return view && environmentToWire(view, namingOf(book));
  });
}
