/** Requests of EnvironmentService, checked field by field. Each parser throws InvalidRequest with all that is wrong. */
import { hash } from 'node:crypto';
import type { ContainerSpec } from '../../shared/container.js';
import type { CreateEnvironmentRequest, DeleteEnvironmentRequest } from '../../shared/gen/portlease/v1/environments.js';
import { containerFromWire, durationToMs } from '../../shared/wire.js';
import type { Command, CreateEnvironmentCommand, Target } from '../book/types.js';
import { Checks } from './checks.js';
import { parseLabels, parseWait, parseWants } from './parse-ports.js';

const DEFAULT_START_MS = 300_000;
const MIN_START_MS = 1_000;
const MAX_START_MS = 7_200_000;

export function parseCreateEnvironment(request: CreateEnvironmentRequest, actor: string): { command: CreateEnvironmentCommand; waits: boolean } {
  const checks = new Checks();
  const waits = parseWait(request.wait, checks) !== 'recorded';
  const { environment, tenant, host } = request;
  checks.label(environment, 'environment');
  checks.label(tenant, 'tenant');
  checks.label(host, 'host');
  const container = checks.take<ContainerSpec | undefined>(() => containerFromWire(request.container, 'container'), undefined);
  const target: Target = { kind: 'container', container: '', network: container?.network ?? '', family: 0 };
  for (const [i, want] of request.wants.entries()) {
    if (want.target !== undefined) checks.add(`wants[${i}].target`, 'is not to be set: it is the container of the environment');
  }
  const wants = parseWants(request.wants, checks, target);
  const names = new Set(wants.map(({ name }) => name));
  for (const [i, { name }] of (container?.credentials ?? []).entries()) {
    if (!names.has(name)) checks.add(`container.credentials[${i}].name`, `${name} is not the name of a want`);
  }
  const labels = parseLabels(request.labels, checks);
  const startTimeoutMs = request.startTimeout === undefined ? DEFAULT_START_MS : checks.take(() => durationToMs(request.startTimeout ?? { seconds: 0, nanos: 0 }, 'start_timeout'), DEFAULT_START_MS);
  if (startTimeoutMs < MIN_START_MS || startTimeoutMs > MAX_START_MS) checks.add('start_timeout', `is ${startTimeoutMs} ms: at least 1 s, at most 2 h`);
  checks.done();
  if (container === undefined) throw new Error('a container that is not there was not refused');
  const bodyHash = hash('sha256', JSON.stringify([tenant, host, wants, labels, container, startTimeoutMs]), 'base64url');
  const allocation = { kind: 'allocate' as const, actor, requestId: '', bodyHash, tenant, environment, host, wants, labels, dryRun: false, verify: true };
  return { command: { kind: 'createEnvironment', actor, allocation, container, startTimeoutMs }, waits };
}

export function parseDeleteEnvironment(request: DeleteEnvironmentRequest, actor: string): { command: Extract<Command, { kind: 'deleteEnvironment' }>; waits: boolean } {
  const checks = new Checks();
  const waits = parseWait(request.wait, checks) !== 'recorded';
  const environment = checks.label(request.environment, 'environment');
  checks.done();
  return { command: { kind: 'deleteEnvironment', actor, environment, removesVolumes: request.removeVolumes }, waits };
}
