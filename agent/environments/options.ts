/** A container as the Engine API is asked for it. Pure. */
import type Docker from 'dockerode';
import type { ContainerMount, ContainerSpec, Credential, Gpus } from '../../shared/container.js';
import { ENVIRONMENT_LABEL } from '../drivers/docker/containers.js';
import { limitsOf, networkOf, type EnvironmentRules } from './rules.js';
import type { EnvironmentObject } from './plan.js';

/** Sequence at which the environment was created: the container of a later one of that name has another. */
export const GENERATION_LABEL = 'portlease.generation';
const TENANT_LABEL = 'portlease.tenant';
/** GATEWAY/HOST whose agent made it: several agents may share one Docker. */
export const HOST_LABEL = 'portlease.host';

export function containerName(environment: string): string {
  return `portlease-${environment}`;
}

export function labelsOf({ environment, tenant, generation }: Pick<EnvironmentObject, 'environment' | 'tenant' | 'generation'>, host: string): Record<string, string> {
  return { [ENVIRONMENT_LABEL]: environment, [GENERATION_LABEL]: String(generation), [TENANT_LABEL]: tenant, [HOST_LABEL]: host };
}

/** `container` was found allowed; host paths in it are real ones. `host`: see HOST_LABEL. */
export type Making = { container: ContainerSpec; credentials: readonly Credential[]; rules: EnvironmentRules; host: string };

/** Until the environment is ready Docker does not start the container again. */
export function createOptions(object: EnvironmentObject, { container: spec, credentials, rules, host }: Making): Docker.ContainerCreateOptions {
  const limits = limitsOf(rules);
  const memory = spec.memoryBytes || limits.memoryBytes;
  const generated = Object.fromEntries(credentials.flatMap(({ variables, value }) => variables.map(variable => [variable, value])));
  return {
    name: containerName(object.environment),
    Image: spec.image,
    ...(spec.entrypoint.length === 0 ? {} : { Entrypoint: [...spec.entrypoint] }),
    ...(spec.command.length === 0 ? {} : { Cmd: [...spec.command] }),
    Env: Object.entries({ ...spec.env, ...generated }).map(([name, value]) => `${name}=${value}`),
    ...(spec.workingDir === '' ? {} : { WorkingDir: spec.workingDir }),
    ...(spec.user === '' ? {} : { User: spec.user }),
    Hostname: object.environment,
    Labels: labelsOf(object, host),
    HostConfig: {
      NetworkMode: networkOf(spec.network),
      Mounts: spec.mounts.map(mountOf),
      Privileged: false,
      RestartPolicy: { Name: 'no' },
      PidsLimit: spec.maxProcesses || limits.maxProcesses,
      Ulimits: spec.ulimits.map(({ name, soft, hard }) => ({ Name: name, Soft: soft, Hard: hard })),
      ...(rules.noNewPrivileges ? { SecurityOpt: ['no-new-privileges'] } : {}),
      ...(memory === 0 ? {} : { Memory: memory, MemorySwap: memory }),
      ...((spec.cpuMillis || limits.cpuMillis) === 0 ? {} : { NanoCpus: (spec.cpuMillis || limits.cpuMillis) * 1_000_000 }),
      ...(spec.shmBytes === 0 ? {} : { ShmSize: spec.shmBytes }),
      ...(spec.gpus.kind === 'none' ? {} : { DeviceRequests: [deviceRequest(spec.gpus)] }),
    },
  };
}

function mountOf({ source, path, readOnly }: ContainerMount): Docker.MountSettings {
  return { Type: source.kind === 'volume' ? 'volume' : 'bind', Source: source.name, Target: path, ReadOnly: readOnly };
}

/** As `docker run --gpus` makes it. */
function deviceRequest(gpus: Exclude<Gpus, { kind: 'none' }>): Docker.DeviceRequest {
  const of = { Driver: 'nvidia', Capabilities: [['gpu']] };
  switch (gpus.kind) {
    case 'all': return { ...of, Count: -1 };
    case 'count': return { ...of, Count: gpus.count };
    case 'ids': return { ...of, DeviceIDs: [...gpus.ids] };
    default: return gpus satisfies never;
  }
}
