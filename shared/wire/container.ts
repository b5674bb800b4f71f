/** Containers of environments, to and from messages of the contract. */
import * as wire from '../gen/portlease/v1/containers.js';
import type { ContainerMount, ContainerSpec, Credential, CredentialSpec, Gpus, Ulimit } from '../container.js';
import { atMost, count, dnsLabel, matching, required, shown } from '../fields.js';
import { InvalidField } from '../invalid.js';
import { isDockerName } from '../target.js';

const IMAGE = /^(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?\/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$/;
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;
const USER = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,31})?$/;
const GPU = /^(?:[0-9]{1,3}|GPU-[0-9a-fA-F-]{1,64}|MIG-[A-Za-z0-9/-]{1,96})$/;
const PATH = /^(?:\/(?!\.{1,2}(?:\/|$))[^/\p{Cc}]+)+$/u;
const SECRET = /^[A-Za-z0-9_-]{16,128}$/;
const ULIMITS = ['core', 'cpu', 'data', 'fsize', 'locks', 'memlock', 'msgqueue', 'nice', 'nofile', 'nproc', 'rss', 'rtprio', 'rttime', 'sigpending', 'stack'];

const MAX_IMAGE = 255;
const MAX_WORDS = 256;
const MAX_WORD = 8_192;
const MAX_VARIABLES = 256;
const MAX_MOUNTS = 32;
const MAX_PATH = 1_024;
const MAX_GPUS = 64;
const MAX_ULIMITS = 16;
const MAX_CREDENTIALS = 64;
const MAX_VARIABLES_OF_ONE = 8;
const MAX_PORT_NAME = 32;

export function containerToWire(spec: ContainerSpec): wire.ContainerSpec {
  const { entrypoint, command, env, mounts, gpus, ulimits, restart, credentials, rotateCommand, ...same } = spec;
  return {
    ...same, entrypoint: [...entrypoint], command: [...command], env: { ...env }, rotateCommand: [...rotateCommand],
    mounts: mounts.map(({ source, path, readOnly }) => ({ source: { $case: source.kind === 'volume' ? 'volume' : 'hostPath', value: source.name }, path, readOnly })),
    gpus: gpusToWire(gpus),
    ulimits: ulimits.map(ulimit => ({ ...ulimit })),
    restart: restart === 'never' ? wire.RestartPolicy.RESTART_POLICY_NEVER : wire.RestartPolicy.RESTART_POLICY_UNLESS_STOPPED,
    credentials: credentialSpecsToWire(credentials),
  };
}

export function containerFromWire(value: wire.ContainerSpec | undefined, field: string): ContainerSpec {
  const spec = required(value, field);
  return {
    image: imageFromWire(spec.image, `${field}.image`),
    entrypoint: wordsFromWire(spec.entrypoint, `${field}.entrypoint`),
    command: wordsFromWire(spec.command, `${field}.command`),
    env: envFromWire(spec.env, `${field}.env`),
    workingDir: spec.workingDir === '' || spec.workingDir === '/' ? spec.workingDir : absolutePath(spec.workingDir, `${field}.working_dir`),
    user: spec.user === '' ? '' : matching(spec.user, USER, { field: `${field}.user`, wanted: 'USER or USER:GROUP: names or numbers of A-Z a-z 0-9 _ . -' }),
    mounts: mountsFromWire(spec.mounts, `${field}.mounts`),
    gpus: spec.gpus === undefined ? { kind: 'none' } : gpusFromWire(spec.gpus, `${field}.gpus`),
    network: spec.network === '' ? '' : networkFromWire(spec.network, `${field}.network`),
    memoryBytes: count(spec.memoryBytes, `${field}.memory_bytes`),
    cpuMillis: spec.cpuMillis,
    maxProcesses: spec.maxProcesses,
    shmBytes: count(spec.shmBytes, `${field}.shm_bytes`),
    ulimits: atMost(spec.ulimits, MAX_ULIMITS, `${field}.ulimits`).map((ulimit, i) => ulimitFromWire(ulimit, `${field}.ulimits[${i}]`)),
    restart: restartFromWire(spec.restart, `${field}.restart`),
    credentials: credentialSpecsFromWire(spec.credentials, `${field}.credentials`),
    rotateCommand: wordsFromWire(spec.rotateCommand, `${field}.rotate_command`),
  };
}

function imageFromWire(image: string, field: string): string {
  if (image === '') throw new InvalidField(field, 'is missing');
  if (image.length <= MAX_IMAGE && IMAGE.test(image)) return image;
  throw new InvalidField(field, `${shown(image)} is not the name of an image: [REGISTRY/]NAME[:TAG][@sha256:DIGEST], at most ${MAX_IMAGE} characters`);
}

/** Of a command, or a value of a variable: they reach the container as they are, past every shell. */
function word(text: string, field: string): string {
  if (text.length <= MAX_WORD && !text.includes('\0')) return text;
  throw new InvalidField(field, `is longer than ${MAX_WORD} characters, or has a NUL in it`);
}

function wordsFromWire(words: readonly string[], field: string): string[] {
  return atMost(words, MAX_WORDS, field).map((text, i) => word(text, `${field}[${i}]`));
}

function envFromWire(env: Readonly<Record<string, string>>, field: string): Record<string, string> {
  const names = Object.keys(env);
  atMost(names, MAX_VARIABLES, field);
  return Object.fromEntries(names.sort().map(name => [variable(name, field), word(env[name] ?? '', `${field}[${name}]`)]));
}

function variable(name: string, field: string): string {
  return matching(name, VARIABLE, { field, wanted: 'the name of a variable: 1-128 characters of A-Z a-z 0-9 _, not a digit at the begin' });
}

function absolutePath(path: string, field: string): string {
  if (path.length <= MAX_PATH && PATH.test(path)) return path;
  throw new InvalidField(field, `${shown(path)} is not an absolute path without "." and "..": at most ${MAX_PATH} characters, no control characters`);
}

function mountsFromWire(mounts: readonly wire.ContainerMount[], field: string): ContainerMount[] {
  const parsed = atMost(mounts, MAX_MOUNTS, field).map(({ source, path, readOnly }, i): ContainerMount => ({
    source: sourceFromWire(source, `${field}[${i}]`), path: absolutePath(path, `${field}[${i}].path`), readOnly,
  }));
  const twice = parsed.findIndex(({ path }, i) => parsed.findIndex(other => other.path === path) !== i);
  if (twice >= 0) throw new InvalidField(`${field}[${twice}].path`, 'is the path of another mount');
  return parsed;
}

function sourceFromWire(source: wire.ContainerMount['source'], field: string): ContainerMount['source'] {
  switch (source?.$case) {
    case 'volume':
      if (!isDockerName(source.value)) throw new InvalidField(`${field}.volume`, `${shown(source.value)} is not the name of a volume: 1-128 characters of A-Z a-z 0-9 _ . -, the first one a letter or digit`);
      return { kind: 'volume', name: source.value };
    case 'hostPath': return { kind: 'host', name: absolutePath(source.value, `${field}.host_path`) };
    default: throw new InvalidField(`${field}.volume`, 'is missing: name a volume or a host_path');
  }
}

function networkFromWire(network: string, field: string): string {
  if (isDockerName(network)) return network;
  throw new InvalidField(field, `${shown(network)} is not the name of a network: 1-128 characters of A-Z a-z 0-9 _ . -, the first one a letter or digit`);
}

function gpusToWire(gpus: Gpus): wire.GpuRequest | undefined {
  switch (gpus.kind) {
    case 'none': return undefined;
    case 'count': return { which: { $case: 'count', value: gpus.count } };
    case 'all': return { which: { $case: 'all', value: true } };
    case 'ids': return { which: { $case: 'ids', value: { ids: [...gpus.ids] } } };
    default: return gpus satisfies never;
  }
}

function gpusFromWire({ which }: wire.GpuRequest, field: string): Gpus {
  switch (which?.$case) {
    case 'count':
      if (which.value < 1 || which.value > MAX_GPUS) throw new InvalidField(`${field}.count`, `${which.value} is not 1-${MAX_GPUS}`);
      return { kind: 'count', count: which.value };
    case 'all':
      if (!which.value) throw new InvalidField(`${field}.all`, 'is false: leave gpus out for none');
      return { kind: 'all' };
    case 'ids': {
      const { ids } = which.value;
      if (ids.length === 0 || ids.length > MAX_GPUS || new Set(ids).size < ids.length) throw new InvalidField(`${field}.ids`, `has ${ids.length} elements: 1-${MAX_GPUS} different ones`);
      return { kind: 'ids', ids: ids.map((id, i) => matching(id, GPU, { field: `${field}.ids.ids[${i}]`, wanted: 'the index or UUID of a GPU, as nvidia-smi shows it' })) };
    }
    default: throw new InvalidField(field, 'is empty: count, all or ids');
  }
}

function ulimitFromWire({ name, soft, hard }: wire.Ulimit, field: string): Ulimit {
  if (!ULIMITS.includes(name)) throw new InvalidField(`${field}.name`, `${shown(name)} is not one of ${ULIMITS.join(', ')}`);
  const limit = (value: number, at: string): number => {
    if (!Number.isSafeInteger(value) || value < -1) throw new InvalidField(`${field}.${at}`, `${value} is not a whole number from 0, or -1 for unlimited`);
    return value === -1 ? Infinity : value;
  };
  if (limit(soft, 'soft') > limit(hard, 'hard')) throw new InvalidField(`${field}.soft`, `${soft} is more than the hard limit ${hard}`);
  return { name, soft, hard };
}

function restartFromWire(restart: wire.RestartPolicy, field: string): ContainerSpec['restart'] {
  switch (restart) {
    case wire.RestartPolicy.RESTART_POLICY_UNSPECIFIED:
    case wire.RestartPolicy.RESTART_POLICY_UNLESS_STOPPED: return 'unlessStopped';
    case wire.RestartPolicy.RESTART_POLICY_NEVER: return 'never';
    default: throw new InvalidField(field, `${String(restart)} is not a value of RestartPolicy`);
  }
}

export function credentialSpecsToWire(specs: readonly CredentialSpec[]): wire.CredentialSpec[] {
  return specs.map(({ name, variables }) => ({ name, variables: [...variables] }));
}

export function credentialSpecsFromWire(specs: readonly wire.CredentialSpec[], field: string): CredentialSpec[] {
  const parsed = atMost(specs, MAX_CREDENTIALS, field).map(({ name, variables }, i) => ({
    name: dnsLabel(name, `${field}[${i}].name`, MAX_PORT_NAME),
    variables: atMost(variables, MAX_VARIABLES_OF_ONE, `${field}[${i}].variables`).map((one, at) => variable(one, `${field}[${i}].variables[${at}]`)),
  }));
  const twice = parsed.findIndex(({ name }, i) => parsed.findIndex(other => other.name === name) !== i);
  if (twice >= 0) throw new InvalidField(`${field}[${twice}].name`, 'comes twice');
  const all = parsed.flatMap(({ variables }) => variables);
  const shared = all.find((one, i) => all.indexOf(one) !== i);
  if (shared !== undefined) throw new InvalidField(field, `the variable ${shared} is named twice: each has one value`);
  return parsed;
}

export function credentialsToWire(credentials: readonly Credential[]): wire.Credential[] {
  return credentials.map(({ name, variables, value }) => ({ name, variables: [...variables], value }));
}

/** The error never shows a value. */
export function credentialsFromWire(credentials: readonly wire.Credential[], field: string): Credential[] {
  const specs = credentialSpecsFromWire(credentials, field);
  return specs.map((spec, i) => {
    const { value } = credentials[i] as wire.Credential;
    if (!SECRET.test(value)) throw new InvalidField(`${field}[${i}].value`, 'is not 16-128 characters of A-Z a-z 0-9 _ -');
    return { ...spec, value };
  });
}
