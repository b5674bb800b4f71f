/** What a scheduler may ask of this host's Docker: the operator decides it in the config of the agent. Pure. */
import type { ContainerMount, ContainerSpec } from '../../shared/container.js';
import type { AgentConfig } from '../config.js';

export type EnvironmentRules = AgentConfig['environments'];

export type Problem = { readonly reason: string; readonly message: string };

/** Would give a container the network of the host, or none that it can be reached through. */
const NEVER_NETWORKS = ['host', 'none', 'default'];

/** Why the spec is refused on this host; undefined: it is not. */
export function notAllowed(spec: ContainerSpec, rules: EnvironmentRules): Problem | undefined {
  if (!rules.enabled) return { reason: 'ENVIRONMENTS_OFF', message: 'environments.enabled is false in the config of this agent' };
  return imageProblem(spec, rules) ?? networkProblem(spec, rules) ?? spec.mounts.map(mount => mountProblem(mount, rules)).find(problem => problem !== undefined)
    ?? gpuProblem(spec, rules) ?? limitProblem(spec, rules);
}

function refused(what: string, key: string): Problem {
  return { reason: 'NOT_ALLOWED_ON_HOST', message: `${what} is not allowed on this host: see environments.${key} in the config of its agent` };
}

function imageProblem({ image }: ContainerSpec, { images }: EnvironmentRules): Problem | undefined {
  return images.some(pattern => fits(pattern, image)) ? undefined : refused(`image ${image}`, 'images');
}

function networkProblem({ network }: ContainerSpec, { networks }: EnvironmentRules): Problem | undefined {
  const name = networkOf(network);
  return networks.includes(name) && !NEVER_NETWORKS.includes(name) ? undefined : refused(`network ${name}`, 'networks');
}

export function networkOf(network: string): string {
  return network === '' ? 'bridge' : network;
}

function mountProblem({ source, readOnly }: ContainerMount, { volumes, hostPaths }: EnvironmentRules): Problem | undefined {
  if (source.kind === 'volume') return volumes.some(pattern => fits(pattern, source.name)) ? undefined : refused(`volume ${source.name}`, 'volumes');
  return isUnder(source.name, readOnly, hostPaths) ? undefined : refused(`host path ${source.name}${readOnly ? '' : ' for writing'}`, 'hostPaths');
}

/** True when the path is one of those that are allowed, or inside one. */
export function isUnder(path: string, readOnly: boolean, allowed: EnvironmentRules['hostPaths']): boolean {
  return allowed.some(entry => (readOnly || !entry.readOnly) && (path === entry.path || path.startsWith(`${entry.path}/`)));
}

function gpuProblem({ gpus }: ContainerSpec, rules: EnvironmentRules): Problem | undefined {
  return gpus.kind === 'none' || rules.gpus ? undefined : refused('a GPU', 'gpus');
}

function limitProblem({ memoryBytes, cpuMillis, maxProcesses, ulimits }: ContainerSpec, rules: EnvironmentRules): Problem | undefined {
  const limits = limitsOf(rules);
  if (limits.memoryBytes > 0 && memoryBytes > limits.memoryBytes) return refused(`memory of ${memoryBytes} bytes`, 'maxMemoryMiB');
  if (limits.cpuMillis > 0 && cpuMillis > limits.cpuMillis) return refused(`${cpuMillis / 1_000} processors`, 'maxCpus');
  if (maxProcesses > limits.maxProcesses) return refused(`${maxProcesses} processes`, 'maxProcesses');
  const ulimit = ulimits.find(({ name }) => !rules.ulimits.includes(name));
  return ulimit === undefined ? undefined : refused(`ulimit ${ulimit.name}`, 'ulimits');
}

/** 0: no limit. */
export function limitsOf({ maxMemoryMiB, maxCpus, maxProcesses }: EnvironmentRules): Pick<ContainerSpec, 'memoryBytes' | 'cpuMillis' | 'maxProcesses'> {
  return { memoryBytes: maxMemoryMiB * 1_048_576, cpuMillis: Math.round(maxCpus * 1_000), maxProcesses };
}

/** '*' in a pattern stands for any characters. */
function fits(pattern: string, text: string): boolean {
  const parts = pattern.split('*').map(part => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`).test(text);
}
