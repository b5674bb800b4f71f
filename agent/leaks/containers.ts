/**
 * Containers that portlease made here for an environment that is not to run here any more, and nobody is told to remove. So it comes about: its host was
 * forgotten and is back, or Docker ended a creation after the removal was confirmed. Promises of the removal:
 * - only what carries the labels of an environment, its generation and this host is removed, and only if it does not run: Docker itself refuses else;
 * - only when the desired state was accepted in a session since the start of this agent, and is newer than what would be removed.
 */
import type { DesiredObject } from '../../shared/desired.js';
import { hasProcesses, ENVIRONMENT_LABEL, type Container } from '../drivers/docker/containers.js';
import type { DockerView } from '../drivers/docker/watch.js';
import { GENERATION_LABEL, HOST_LABEL } from '../environments/options.js';
import { generationOf } from '../environments/plan.js';
import type { Finding } from './findings.js';

/** Desired state of the newest session. */
export type Accepted = { readonly revision: number; readonly objects: ReadonlyMap<string, DesiredObject> };

export type ContainerFinding = Extract<Finding, { kind: 'containerWithoutEnvironment' }>;

/** `host`: as HOST_LABEL has it. Undefined: Docker does not say now what there is, or nothing is known of what is wanted. */
export function containerFindings(accepted: Accepted | undefined, view: DockerView, host: string): ContainerFinding[] | undefined {
  if (accepted === undefined || view.kind !== 'known' || view.problem !== undefined) return undefined;
  return Array.from(view.containers.all, container => containerFinding(accepted, container, host)).filter(finding => finding !== undefined);
}

function containerFinding(accepted: Accepted, container: Container, host: string): ContainerFinding | undefined {
  const { id: containerId, name, labels } = container;
  const environment = labels[ENVIRONMENT_LABEL] ?? '';
  const generation = generationOf(container, environment);
  const maker = labels[HOST_LABEL];
  if (generation === undefined || (maker !== undefined && maker !== host) || isSeenTo(accepted, environment, generation)) return undefined;
  return {
    kind: 'containerWithoutEnvironment', id: `containerWithoutEnvironment/${containerId}`, containerId, environment, generation,
    kept: whyKept(container, { accepted, generation, isOurs: maker === host }),
    text: `container ${name} (${containerId.slice(0, 12)}, ${container.state}) was made for environment ${environment}, which this host is not to run (${GENERATION_LABEL}=${generation})`,
  };
}

/** It is wanted, or about to be removed. */
export function isSeenTo({ objects }: Accepted, environment: string, generation: number): boolean {
  const wanted = objects.get(`environment/${environment}`);
  const removal = objects.get(`removal/${environment}`);
  return (wanted?.kind === 'environment' && wanted.generation === generation) || (removal?.kind === 'removal' && removal.generation >= generation);
}

function whyKept(container: Container, { accepted, generation, isOurs }: { accepted: Accepted; generation: number; isOurs: boolean }): string {
  if (!isOurs) return `it does not say that this host made it (${HOST_LABEL})`;
  if (generation > accepted.revision) return 'it is newer than what this host was told';
  return hasProcesses(container) || container.state === 'restarting' ? 'it runs: docker stop ends it' : '';
}
