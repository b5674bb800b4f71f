/**
 * Brings one environment's container about, or away. Looks at what Docker has, does one step, and looks again: an agent that is killed in
 * between goes on where Docker is. What Docker refuses is a failure, and stays one until the environment is removed; while Docker does not answer
 * it is tried again.
 */
import { realpath } from 'node:fs/promises';
import { nextDelayMs } from '../../shared/backoff.js';
import type { Clock } from '../../shared/clock.js';
import type { ContainerMount, Credential, EnvironmentReport } from '../../shared/container.js';
import type { Log } from '../../shared/log.js';
import type { After } from '../../shared/timers.js';
import { ENVIRONMENT_LABEL } from '../drivers/docker/containers.js';
import { EngineRefused, type Engine, type EngineContainer } from '../drivers/docker/engine.js';
import { credentialsIn, generate, withoutSecrets } from './credentials.js';
import { containerName, createOptions, labelsOf } from './options.js';
import { generationOf, nextStep, type EnvironmentObject, type Failure, type RemovalObject, type Step } from './plan.js';
import { isUnder, type EnvironmentRules } from './rules.js';

export type WorkerOptions = {
  engine: Engine;
  /** GATEWAY/HOST of this agent: label of what it makes. */
  host: string;
  rules: EnvironmentRules;
  clock: Clock;
  after: After;
  random: () => number;
  log: Log;
  /** Told each time something else is to be reported. */
  onReport(): void;
  /** Docker is not to be used here, and its socket is not there: nothing can have been made. */
  hasNoDocker: () => boolean;
};

/** A container that runs for so long did not end at once. */
const RUNS_MS = 1_000;
const LOOK_MS = 100;
const PROGRESS_MS = 1_000;
const RETRY_BASE_MS = 200;
const RETRY_MAX_MS = 5_000;

/** What was done for this object, or one that differs in flags only. */
type Made = { ranId: string | undefined; rotation: number; credentials: readonly Credential[] | undefined; failure: Failure | undefined; rotationFailure: Failure | undefined };
const NOTHING: Made = { ranId: undefined, rotation: 0, credentials: undefined, failure: undefined, rotationFailure: undefined };

export class Worker {
  report: EnvironmentReport | undefined;
  private made: Made = { ...NOTHING };
  private wantsWork = true;
  private wake: (() => void) | undefined;
  private isClosed = false;
  private attempt = 0;
  private lastProblem: string | undefined;
  private toldAtMs = -Infinity;
  private aborting = new AbortController();
  private readonly running: Promise<void>;

  constructor(private object: EnvironmentObject | RemovalObject, private readonly options: WorkerOptions) {
    this.running = this.run();
  }

  /** From now on this; a load that is under way for something else ends. */
  set(object: EnvironmentObject | RemovalObject): void {
    if (object === this.object) return;
    if (object.kind !== this.object.kind || object.generation !== this.object.generation) {
      this.made = { ...NOTHING };
      this.aborting.abort();
      this.aborting = new AbortController();
    }
    this.object = object;
    this.poke();
  }

  /** It was ready: what becomes of its container is its own business. */
  get isLeftAlone(): boolean {
    return this.object.kind === 'environment' && this.object.isReady;
  }

  /** Docker may have something else now. */
  poke(): void {
    this.wantsWork = true;
    this.wake?.();
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.aborting.abort();
    this.wake?.();
    await this.running;
  }

  private async run(): Promise<void> {
    while (!this.isClosed) {
      this.wantsWork = false;
      const { object } = this;
      try {
        const isDone = await (object.kind === 'removal' ? this.remove(object) : this.advance(object));
        this.recovered();
        if (isDone) await this.untilWoken(undefined);
      } catch (error) {
        if (object === this.object) await this.failed(object, error);
      }
    }
  }

  private async untilWoken(withinMs: number | undefined): Promise<void> {
    if (this.wantsWork || this.isClosed) return;
    let cancel: () => void = () => undefined;
    await new Promise<void>(resolve => {
      this.wake = resolve;
      if (withinMs !== undefined) cancel = this.options.after(withinMs, resolve);
    });
    cancel();
    this.wake = undefined;
  }

  private recovered(): void {
    if (this.attempt > 0) this.options.log.info({ environment: this.object.environment }, 'Docker answers about the environment again');
    this.attempt = 0;
    this.lastProblem = undefined;
  }

  private async failed(object: EnvironmentObject | RemovalObject, error: unknown): Promise<void> {
    const problem = error instanceof Error ? error.message : String(error);
    const { environment } = object;
    if (problem !== this.lastProblem) this.options.log.warn({ environment, problem }, 'nothing can be done about the environment now; trying again');
    this.lastProblem = problem;
    this.say(object, { state: 'working', step: this.report?.step ?? 'image', reason: 'DOCKER_UNAVAILABLE', message: `Docker does not do it: ${problem}` });
    await this.untilWoken(nextDelayMs({ attempt: this.attempt++, baseMs: RETRY_BASE_MS, maxMs: RETRY_MAX_MS, random: this.options.random }));
  }

  /** True when there is nothing to do until something changes. */
  private async advance(object: EnvironmentObject): Promise<boolean> {
    if (this.made.failure !== undefined && !object.isReady) return this.sayFailed(object, this.made.failure);
    const { engine, rules } = this.options;
    const container = rules.enabled ? await engine.container(containerName(object.environment)) : undefined;
    const hasImage = rules.enabled && container === undefined && !object.isReady && await engine.hasImage(object.container.image);
    if (object !== this.object) return false;
    const step = nextStep(object, { container, hasImage }, this.made, rules);
    return this.act(object, step, container);
  }

  private async act(object: EnvironmentObject, step: Step, container: EngineContainer | undefined): Promise<boolean> {
    const { engine } = this.options;
    switch (step.kind) {
      case 'fail': return this.fails(object, step.failure);
      case 'rest': return this.rest(object, step.containerId, container);
      case 'removeOlder': return this.tried(object, 'create', () => engine.remove('container', step.id));
      case 'pull': return this.pull(object);
      case 'create': return this.create(object);
      case 'start': return this.tried(object, 'start', () => engine.start(step.id));
      case 'watchStart': return this.watchStart(object, step.id);
      case 'setRestart': return this.tried(object, 'run', () => engine.setRestart(step.id, step.policy));
      case 'rotate': return this.rotate(object, step.id);
      default: return step satisfies never;
    }
  }

  /** Does it; what the Engine refuses is a failure of the environment. */
  private async tried(object: EnvironmentObject, step: string, action: () => Promise<unknown>): Promise<boolean> {
    this.say(object, { state: 'working', step });
    try {
      await action();
    } catch (error) {
      if (!(error instanceof EngineRefused)) throw error;
      return this.fails(object, { step, ...problemOf(step, error) });
    }
    return false;
  }

  private pull(object: EnvironmentObject): Promise<boolean> {
    const { engine, clock } = this.options;
    const onProgress = (percent: number): void => {
      if (object !== this.object || clock.nowMs() < this.toldAtMs + PROGRESS_MS) return;
      this.toldAtMs = clock.nowMs();
      this.say(object, { state: 'working', step: 'pull', percent });
    };
    return this.tried(object, 'pull', () => engine.pull(object.container.image, onProgress, this.aborting.signal));
  }

  private async create(object: EnvironmentObject): Promise<boolean> {
    const { engine, rules, host } = this.options;
    const mounts = await realMounts(object.container.mounts, rules);
    if ('reason' in mounts) return this.fails(object, { step: 'allow', ...mounts });
    const credentials = generate(object.credentials);
    return this.tried(object, 'create', async () => {
      for (const { source } of mounts) if (source.kind === 'volume') await engine.ensureVolume(source.name, labelsOf(object, host));
      await engine.create(createOptions(object, { container: { ...object.container, mounts }, credentials, rules, host }));
    });
  }

  /** Until it has run for a moment, or has ended. */
  private async watchStart(object: EnvironmentObject, id: string): Promise<boolean> {
    const { engine, clock, after } = this.options;
    this.say(object, { state: 'working', step: 'run', containerId: id });
    const untilMs = clock.nowMs() + RUNS_MS;
    while (clock.nowMs() < untilMs) {
      await new Promise<void>(resolve => { after(LOOK_MS, resolve); });
      if (object !== this.object || this.isClosed) return false;
      const now = await engine.container(id);
      if (now?.status !== 'running' && now?.status !== 'paused') break;
      if (clock.nowMs() >= untilMs) this.made.ranId = id;
    }
    return false;
  }

  private rest(object: EnvironmentObject, containerId: string, container: EngineContainer | undefined): boolean {
    this.made.ranId ??= containerId === '' ? undefined : containerId;
    if (object.tellCredentials && object.rotation === 0 && container !== undefined) this.made.credentials = credentialsIn(container.env, object.credentials);
    const { rotationFailure } = this.made;
    this.say(object, { state: 'started', ...(rotationFailure ?? { step: 'run' }), containerId });
    return true;
  }

  private async rotate(object: EnvironmentObject, id: string): Promise<boolean> {
    const credentials = generate(object.credentials);
    const env = Object.fromEntries(credentials.flatMap(({ variables, value }) => variables.map(variable => [variable, value])));
    const ended = await this.options.engine.exec(id, object.container.rotateCommand, env).catch((error: unknown) => {
      if (error instanceof EngineRefused) return error;
      throw error;
    });
    if (object.generation !== this.object.generation) return false;
    const message = ended === 0 ? undefined : typeof ended === 'number' ? `the rotate_command ended with status ${ended}` : clean(ended.message, object, credentials);
    const failure = message === undefined ? undefined : { step: 'rotate', reason: 'ROTATE_COMMAND_FAILED', message };
    this.made = { ...this.made, rotation: object.rotation, credentials: failure === undefined ? credentials : undefined, rotationFailure: failure };
    return false;
  }

  private fails(object: EnvironmentObject, { step, reason, message }: Failure): boolean {
    if (object !== this.object) return false;
    const failure = { step, reason, message: clean(message, object, this.made.credentials ?? []) };
    this.options.log.warn({ environment: object.environment, ...failure }, 'the environment cannot be made');
    this.made.failure = failure;
    return this.sayFailed(object, failure);
  }

  private sayFailed(object: EnvironmentObject, failure: Failure): boolean {
    this.say(object, { state: 'failed', ...failure });
    return true;
  }

  private async remove(object: RemovalObject): Promise<boolean> {
    const { engine, hasNoDocker, log } = this.options;
    const { environment, generation, volumes } = object;
    if (this.report?.state === 'removed') return true;
    if (!hasNoDocker()) {
      this.say(object, { state: 'working', step: 'remove' });
      for (const kind of volumes ? ['container', 'volume'] as const : ['container'] as const) {
        for (const { id, labels } of await engine.labelled(kind, `${ENVIRONMENT_LABEL}=${environment}`)) {
          const made = generationOf({ labels }, environment);
          if (made === undefined || made > generation) continue;
          await engine.remove(kind, id);
          log.info({ environment, [kind]: id }, `a ${kind} of the environment was removed`);
        }
      }
    }
    if (object !== this.object) return false;
    this.say(object, { state: 'removed', step: 'remove' });
    return true;
  }

  private say({ environment, generation, ...object }: EnvironmentObject | RemovalObject, word: Partial<EnvironmentReport> & Pick<EnvironmentReport, 'state' | 'step'>): void {
    const isTelling = object.kind === 'environment' && object.tellCredentials && word.state === 'started';
    const rotation = object.kind === 'environment' ? object.rotation : 0;
    const before = this.report;
    const containerId = word.containerId ?? (before?.generation === generation ? before.containerId : '');
    const report: EnvironmentReport = {
      environment, generation, reason: '', message: '', percent: 0, rotation, ...word, containerId,
      credentials: isTelling && (rotation === 0 || this.made.rotation === rotation) ? this.made.credentials ?? [] : [],
    };
    this.report = report;
    this.options.onReport();
  }
}

function clean(message: string, { container: { env } }: EnvironmentObject, credentials: readonly Credential[]): string {
  return withoutSecrets(message, [...credentials.map(({ value }) => value), ...Object.values(env)]);
}

function problemOf(step: string, { status, message }: EngineRefused): { reason: string; message: string } {
  if (step === 'create' && status === 409) return { reason: 'NAME_TAKEN', message };
  if (step === 'create' && status === 404) return { reason: 'IMAGE_MISSING', message };
  if (message.includes('could not select device driver')) return { reason: 'GPU_UNAVAILABLE', message: `this host has no GPU that Docker can give: ${message}` };
  return { reason: `${step.toUpperCase()}_REFUSED`, message };
}

/** Mounts with the real paths of the host, looked at once more: a link leads nowhere that is not allowed. */
async function realMounts(mounts: readonly ContainerMount[], { hostPaths }: EnvironmentRules): Promise<ContainerMount[] | { reason: string; message: string }> {
  const real: ContainerMount[] = [];
  const allowed = await Promise.all(hostPaths.map(async entry => ({ ...entry, path: await realpath(entry.path).catch(() => entry.path) })));
  for (const mount of mounts) {
    if (mount.source.kind === 'volume') {
      real.push(mount);
      continue;
    }
    const { name } = mount.source;
    const path = await realpath(name).catch(() => undefined);
    if (path === undefined) return { reason: 'HOST_PATH_MISSING', message: `host path ${name} is not there` };
    if (!isUnder(path, mount.readOnly, allowed)) return { reason: 'NOT_ALLOWED_ON_HOST', message: `host path ${name} leads out of what is allowed on this host` };
    real.push({ ...mount, source: { kind: 'host', name: path } });
  }
  return real;
}
