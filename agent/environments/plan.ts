/** What is to be done next about the container of an environment, told from what Docker has. Pure: an agent that was killed goes on from there. */
import type { DesiredObject } from '../../shared/desired.js';
import { ENVIRONMENT_LABEL } from '../drivers/docker/containers.js';
import type { EngineContainer } from '../drivers/docker/engine.js';
import { containerName, GENERATION_LABEL } from './options.js';
import { notAllowed, type EnvironmentRules } from './rules.js';

export type EnvironmentObject = Extract<DesiredObject, { kind: 'environment' }>;
export type RemovalObject = Extract<DesiredObject, { kind: 'removal' }>;

export type Sight = {
  /** The one with the environment's name. */
  readonly container: EngineContainer | undefined;
  /** Asked only where there is no container. */
  readonly hasImage: boolean;
};

/** What this process has done itself. */
export type Memory = {
  /** Container that ran for a moment. */
  readonly ranId: string | undefined;
  /** Rotation that was carried out, or failed. */
  readonly rotation: number;
};

export type Failure = { readonly step: string; readonly reason: string; readonly message: string };

export type Step =
  | { readonly kind: 'fail'; readonly failure: Failure }
  | { readonly kind: 'pull' | 'create' }
  /** One of an earlier environment of this name. */
  | { readonly kind: 'removeOlder'; readonly id: string }
  | { readonly kind: 'start' | 'watchStart' | 'rotate'; readonly id: string }
  | { readonly kind: 'setRestart'; readonly id: string; readonly policy: string }
  /** There is nothing to do. */
  | { readonly kind: 'rest'; readonly containerId: string };

export function nextStep(object: EnvironmentObject, { container, hasImage }: Sight, memory: Memory, rules: EnvironmentRules): Step {
  const generation = container === undefined ? undefined : generationOf(container, object.environment);
  if (object.isReady) return ready(object, generation === object.generation ? container : undefined, memory);
  const problem = notAllowed(object.container, rules);
  if (problem !== undefined) return fail('allow', problem.reason, problem.message);
  if (container === undefined) {
    if (memory.ranId !== undefined) return fail('run', 'CONTAINER_GONE', 'the container was removed by somebody else');
    if (hasImage) return { kind: 'create' };
    return rules.pull ? { kind: 'pull' } : fail('image', 'IMAGE_MISSING', `image ${object.container.image} is not on this host, and environments.pull is false in the config of its agent`);
  }
  if (generation === undefined) return fail('create', 'NAME_TAKEN', `there is a container ${containerName(object.environment)} that portlease did not make`);
  if (generation < object.generation) return { kind: 'removeOlder', id: container.id };
  if (generation > object.generation) return fail('create', 'NAME_TAKEN', `there is a container of a later environment ${object.environment}`);
  return ours(container, memory);
}

function ours(container: EngineContainer, { ranId }: Memory): Step {
  const { id, status } = container;
  switch (status) {
    case 'created': return { kind: 'start', id };
    case 'running':
    case 'paused': return ranId === id ? { kind: 'rest', containerId: id } : { kind: 'watchStart', id };
    default: return fail('run', 'CONTAINER_EXITED', exitText(container));
  }
}

/** A container that was ready before is neither made nor started again: what it had is gone with it. */
function ready({ container: { restart }, tellCredentials, rotation }: EnvironmentObject, container: EngineContainer | undefined, memory: Memory): Step {
  if (container === undefined) return { kind: 'rest', containerId: '' };
  const policy = restart === 'never' ? 'no' : 'unless-stopped';
  if (container.restartPolicy !== policy) return { kind: 'setRestart', id: container.id, policy };
  if (tellCredentials && rotation > 0 && memory.rotation !== rotation) return { kind: 'rotate', id: container.id };
  return { kind: 'rest', containerId: container.id };
}

function exitText({ status, exitCode, isOutOfMemory }: EngineContainer): string {
  return isOutOfMemory ? 'the container ended: it was out of memory' : `the container ended with status ${exitCode} (${status}); docker logs on the host may say why`;
}

/** Undefined: portlease did not make it for this environment. */
export function generationOf({ labels }: Pick<EngineContainer, 'labels'>, environment: string): number | undefined {
  const text = labels[GENERATION_LABEL] ?? '';
  return labels[ENVIRONMENT_LABEL] === environment && /^[0-9]{1,16}$/.test(text) ? Number(text) : undefined;
}

function fail(step: string, reason: string, message: string): Step {
  return { kind: 'fail', failure: { step, reason, message } };
}
