/** Containers that agents run for environments: what they are made of, and what is generated for them. Plain data. */

export type ContainerMount = {
  readonly source: { readonly kind: 'volume' | 'host'; readonly name: string };
  /** In the container. */
  readonly path: string;
  readonly readOnly: boolean;
};

export type Gpus = { readonly kind: 'none' } | { readonly kind: 'count'; readonly count: number } | { readonly kind: 'all' } | { readonly kind: 'ids'; readonly ids: readonly string[] };

export type Ulimit = { readonly name: string; readonly soft: number; readonly hard: number };

/** Variables of the container that get one generated value, for the port of this name. */
export type CredentialSpec = { readonly name: string; readonly variables: readonly string[] };

/** The value is a secret: it is neither stored nor logged. */
export type Credential = CredentialSpec & { readonly value: string };

/** '', 0 and empty lists: as the image, Docker or the agent's config says. */
export type ContainerSpec = {
  readonly image: string;
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  readonly user: string;
  readonly mounts: readonly ContainerMount[];
  readonly gpus: Gpus;
  readonly network: string;
  readonly memoryBytes: number;
  readonly cpuMillis: number;
  readonly maxProcesses: number;
  readonly shmBytes: number;
  readonly ulimits: readonly Ulimit[];
  /** Once the environment is ready. */
  readonly restart: 'unlessStopped' | 'never';
  readonly credentials: readonly CredentialSpec[];
  readonly rotateCommand: readonly string[];
};

/** How far an environment is on its host; `failed` stays so until it is removed. */
export type EnvironmentState = 'working' | 'started' | 'failed' | 'removed';

/** What an agent says of the container of an environment. */
export type EnvironmentWord = {
  readonly environment: string;
  readonly generation: number;
  readonly state: EnvironmentState;
  /** allow, image, pull, create, start, run, rotate or remove. */
  readonly step: string;
  /** '' unless something is wrong. */
  readonly reason: string;
  /** For people. */
  readonly message: string;
  readonly percent: number;
  readonly containerId: string;
  /** Rotation that the credentials, or a reason of the step rotate, are of. */
  readonly rotation: number;
};

export type EnvironmentReport = EnvironmentWord & { readonly credentials: readonly Credential[] };

/** By service type. */
const USUAL: Readonly<Record<string, readonly string[]>> = {
  ssh: ['SSH_PASSWORD'], 'ssh-linux': ['SSH_PASSWORD'], 'ssh-windows': ['SSH_PASSWORD'],
  jupyter: ['JUPYTER_TOKEN'], jupyterlab: ['JUPYTER_TOKEN'],
  code: ['PASSWORD'], 'code-server': ['PASSWORD'],
  rdp: ['RDP_PASSWORD'], vnc: ['VNC_PASSWORD'],
};

/** Variables in which images of these service types take their password; empty when none is usual. */
export function usualVariables(serviceTypes: readonly string[]): readonly string[] {
  return serviceTypes.map(type => USUAL[type]).find(variables => variables !== undefined) ?? [];
}
