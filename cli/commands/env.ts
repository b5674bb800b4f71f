/** `portlease env create|delete|rotate ENV`: environments as a whole. */
import type { Command } from 'commander';
import { ContainerSpec, type Credential, type GpuRequest } from '../../shared/gen/portlease/v1/containers.js';
import {
  CreateEnvironmentResponse, DeleteEnvironmentResponse, EnvironmentServiceService, RotateCredentialsResponse, type CreateEnvironmentRequest,
} from '../../shared/gen/portlease/v1/environments.js';
import { Wait } from '../../shared/gen/portlease/v1/common.js';
import type { Environment } from '../../shared/gen/portlease/v1/ports.js';
import { choice, dnsLabel, duration, keyAndValue, labels, refuse, wholeNumber } from '../fields.js';
import { collect, isSet, needed, optional, text, texts } from '../flags.js';
import type { Act, Flags, Job, Result } from '../job.js';
import { jsonOf } from '../json.js';
import { table } from '../table.js';
import { UsageError } from '../usage.js';
import { parseWants } from '../wants.js';
import { durationText } from '../words.js';
import { readYaml } from '../yaml-file.js';
import { withProgress } from './env-progress.js';
import { environmentHints, environmentText } from './environments.js';

const READY = { recorded: Wait.WAIT_RECORDED, ready: Wait.WAIT_VERIFIED } as const;
const GONE = { recorded: Wait.WAIT_RECORDED, gone: Wait.WAIT_VERIFIED } as const;
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;
const FILE_REMEDY = 'Name a YAML or JSON file with fields of ContainerSpec: image, command, env, mounts, gpus, memoryBytes, rotateCommand, …';

export function addEnv(program: Command, act: Act): void {
  const env = program.command('env').description('environments as a whole: ports and the container behind them');
  env.command('create')
    .description('allocate all ports, start the container, wait until every service answers: all of that, or nothing')
    .argument('<env>', 'environment')
    .option('--host <name>', 'host that runs it')
    .option('--tenant <name>', 'who pays')
    .option('--image <name>', 'image of the container')
    .option('--want <parts>', 'what it needs (repeatable): name=ssh,pool=ssh[,internal-port=22][,protocol=…][,count=2][,contiguous][,port=30022|prefer=30022]; service=TYPE instead of pool=', collect)
    .option('--env <key=value>', 'variable of the container (repeatable)', collect)
    .option('--gpus <which>', 'all, or how many')
    .option('--file <path>', 'YAML or JSON with everything else about the container; flags go before it')
    .option('--label <key=value>', 'label of the environment (repeatable)', collect)
    .option('--start-timeout <time>', 'how long it may take until it is ready, else it is undone (default: 5m)')
    .option('--wait <until>', `how far to wait: ${Object.keys(READY).join(', ')} (default: ready)`)
    .action(act(prepareCreate));
  env.command('delete')
    .description('remove the container and give all ports back')
    .argument('<env>', 'environment')
    .option('--volumes', 'also the volumes that were made for it')
    .option('--wait <until>', `how far to wait: ${Object.keys(GONE).join(', ')} (default: gone)`)
    .action(act(prepareDelete));
  env.command('rotate')
    .description('give it new credentials, shown once')
    .argument('<env>', 'environment')
    .action(act(prepareRotate));
}

function prepareCreate([name = '']: readonly string[], flags: Flags): Job {
  const environment = dnsLabel('ENV', name);
  const request: CreateEnvironmentRequest = {
    environment,
    tenant: needed(flags, 'tenant', dnsLabel, 'Say whose environment it is: --tenant NAME'),
    host: needed(flags, 'host', dnsLabel, 'Say where it runs: --host NAME; `portlease hosts` lists them.'),
    wants: parseWants(texts(flags, 'want'), 'container'),
    container: containerOf(flags),
    labels: labels('--label', texts(flags, 'label')),
    wait: optional(flags, 'wait', (flag, value) => choice(flag, value, READY)) ?? Wait.WAIT_UNSPECIFIED,
    startTimeout: optional(flags, 'startTimeout', duration),
  };
  return {
    what: `create ${environment}`,
    run: (coordinator, show) => withProgress(coordinator, show, { environment, host: request.host }, async () => created(await coordinator.call(EnvironmentServiceService.createEnvironment, request))),
    resume: 'run the same command again: it goes on waiting',
  };
}

/** Flags go before the file. */
function containerOf(flags: Flags): ContainerSpec {
  const file = text(flags, 'file');
  const spec = file === undefined ? ContainerSpec.fromPartial({}) : readContainer(file);
  const image = optional(flags, 'image', imageName) ?? spec.image;
  if (image === '') throw new UsageError('--image is missing', 'Say what it runs: --image NAME, or image in --file.');
  const gpus = optional(flags, 'gpus', gpusOf) ?? spec.gpus;
  return { ...spec, image, gpus, env: { ...spec.env, ...Object.fromEntries(texts(flags, 'env').map(variable)) } };
}

function readContainer(path: string): ContainerSpec {
  const read = readYaml('--file', path, FILE_REMEDY);
  if (typeof read !== 'object' || read === null || Array.isArray(read)) throw refuse('--file', path, 'holds no container', FILE_REMEDY);
  const unknown = Object.keys(read).find((key) => !(key in ContainerSpec.fromPartial({})));
  if (unknown !== undefined) throw refuse('--file', unknown, 'is no field of a container', FILE_REMEDY);
  try {
    return ContainerSpec.fromJSON(read);
  } catch (error) {
    throw refuse('--file', path, `cannot be read: ${(error as Error).message}`, FILE_REMEDY);
  }
}

/** Which names there are is for Docker to say. */
function imageName(flag: string, value: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._:@/-]{0,254}$/.test(value)) return value;
  throw refuse(flag, value, 'is not the name of an image', 'Write [REGISTRY/]NAME[:TAG], at most 255 characters.');
}

function variable(value: string): [string, string] {
  const [key, of] = keyAndValue('--env', value);
  if (VARIABLE.test(key) && of.length <= 8_192 && !of.includes('\0')) return [key, of];
  throw refuse('--env', value, 'is no variable', 'Write NAME=VALUE: a name of A-Z a-z 0-9 _, a value of at most 8,192 characters.');
}

function gpusOf(flag: string, value: string): GpuRequest {
  return { which: value === 'all' ? { $case: 'all', value: true } : { $case: 'count', value: wholeNumber(flag, value, { min: 1, max: 64 }) } };
}

function created(response: CreateEnvironmentResponse): Result {
  const { environment, credentials, credentialsReturned } = response;
  if (environment === undefined) throw new Error('the coordinator answered without an environment');
  const name = environment.environment;
  return {
    json: jsonOf(CreateEnvironmentResponse, response), text: `${environmentText(environment)}${credentialsText(credentials)}`,
    next: [
      ...environmentHints(environment), ...(credentials.length > 0 ? ['keep the credentials: they are shown once'] : []),
      ...(credentialsReturned ? [`its credentials were shown before; new ones: portlease env rotate ${name}`] : []), `delete it: portlease env delete ${name}`,
    ],
  };
}

function credentialsText(credentials: readonly Credential[]): string {
  if (credentials.length === 0) return '';
  return `\n${table<Credential>([
    { header: 'CREDENTIAL', cell: ({ name }) => name }, { header: 'VARIABLES', cell: ({ variables }) => variables.join(',') }, { header: 'VALUE', cell: ({ value }) => value },
  ], credentials)}`;
}

function prepareDelete([name = '']: readonly string[], flags: Flags): Job {
  const request = {
    environment: dnsLabel('ENV', name), removeVolumes: isSet(flags, 'volumes'),
    wait: optional(flags, 'wait', (flag, value) => choice(flag, value, GONE)) ?? Wait.WAIT_UNSPECIFIED,
  };
  return {
    what: `delete ${request.environment}`,
    run: async (coordinator) => deleted(request.environment, await coordinator.call(EnvironmentServiceService.deleteEnvironment, request)),
    resume: 'run the same command again to go on waiting: deleting twice is safe',
  };
}

function deleted(name: string, response: DeleteEnvironmentResponse): Result {
  const { environment, bound } = response;
  const json = jsonOf(DeleteEnvironmentResponse, response);
  if (environment === undefined) return { json, text: `${name} is gone\n` };
  return { json, text: environmentText(environment), next: [leftText(environment, bound === undefined ? '' : durationText(bound))] };
}

function leftText({ environment, host }: Environment, bound: string): string {
  return `its ports are given back${bound === '' ? '' : ` within ${bound}`}, its container goes when host ${host} answers: portlease show ${environment}`;
}

function prepareRotate([name = '']: readonly string[]): Job {
  const environment = dnsLabel('ENV', name);
  return {
    what: `rotate the credentials of ${environment}`,
    run: async (coordinator) => {
      const response = await coordinator.call(EnvironmentServiceService.rotateCredentials, { environment });
      return { json: jsonOf(RotateCredentialsResponse, response), text: credentialsText(response.credentials).trimStart(), next: ['keep the credentials: they are shown once'] };
    },
    resume: 'run the same command again: it gives new ones',
  };
}
