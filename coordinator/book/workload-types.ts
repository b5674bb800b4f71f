/** Words about containers that portlease runs for environments: what the book keeps of one, and what it is asked. */
import type { ContainerSpec, CredentialSpec, EnvironmentWord } from '../../shared/container.js';
import type { Actor, AllocateCommand } from './types.js';

/** creating: not every service has answered yet. undoing: a step failed. Both of the last end when the host has removed the container
 *  and all ports are given back. */
export type WorkloadPhase = 'creating' | 'ready' | 'undoing' | 'deleting';

/** Why an environment did not come to be: `step` as in EnvironmentWord, or map, verify or wait. */
export type WorkloadFailure = { step: string; reason: string; message: string };

/** The container that portlease runs for an environment. */
export type WorkloadRecord = {
  environment: string;
  tenant: string;
  host: string;
  container: ContainerSpec;
  /** All that is generated. */
  credentials: CredentialSpec[];
  /** Hash of what it was asked for with; '': not known any more. */
  bodyHash: string;
  phase: WorkloadPhase;
  /** Of the container. */
  generation: number;
  /** How often its credentials were rotated. */
  rotation: number;
  /** Those of this rotation were given to a caller. */
  credentialsReturned: boolean;
  startTimeoutMs: number;
  /** deleting: volumes that were made for it go, too. undoing: always true. */
  removesVolumes: boolean;
  failure: WorkloadFailure | undefined;
  containerId: string;
};

/** How far a workload is; `word`: what its host said last, undefined when it has said nothing in this run. */
export type WorkloadView = WorkloadRecord & { word: EnvironmentWord | undefined };

/** `allocation`: its ports, which lead to the container with the environment's label. */
export type CreateEnvironmentCommand = {
  kind: 'createEnvironment';
  actor: Actor;
  allocation: AllocateCommand;
  container: ContainerSpec;
  startTimeoutMs: number;
};

export type EnvironmentCommand =
  | CreateEnvironmentCommand
  | { kind: 'deleteEnvironment'; actor: Actor; environment: string; removesVolumes: boolean }
  | { kind: 'rotateCredentials'; actor: Actor; environment: string }
  /** The credentials of this rotation were taken to be given to a caller, or cannot be had. */
  | { kind: 'noteCredentials'; environment: string; generation: number; rotation: number };
