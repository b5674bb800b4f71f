/** What is done to Docker for environments. What the Engine refuses throws EngineRefused; when it does not answer, any other error. */
import Docker from 'dockerode';
import { within } from './deadline.js';

export type EngineContainer = {
  readonly id: string;
  readonly labels: Readonly<Record<string, string>>;
  /** created, running, paused, restarting, removing, exited or dead. */
  readonly status: string;
  readonly exitCode: number;
  readonly isOutOfMemory: boolean;
  readonly restartPolicy: string;
  readonly env: Readonly<Record<string, string>>;
};

export type Labelled = { readonly id: string; readonly labels: Readonly<Record<string, string>> };

export type Engine = {
  /** By name or id. */
  container(name: string): Promise<EngineContainer | undefined>;
  /** Containers and volumes with this label, whatever its value, or with this value. */
  labelled(kind: 'container' | 'volume', label: string): Promise<Labelled[]>;
  hasImage(image: string): Promise<boolean>;
  /** `onProgress`: percent of what is known to be loaded. */
  pull(image: string, onProgress: (percent: number) => void, signal: AbortSignal): Promise<void>;
  /** Makes it unless it is there. */
  ensureVolume(name: string, labels: Readonly<Record<string, string>>): Promise<void>;
  create(options: Docker.ContainerCreateOptions): Promise<string>;
  start(id: string): Promise<void>;
  setRestart(id: string, policy: string): Promise<void>;
  /** Refused when it runs; its volumes stay. Absent is fine. */
  removeStopped(id: string): Promise<void>;
  /** With its anonymous volumes; absent is fine. */
  remove(kind: 'container' | 'volume', id: string): Promise<void>;
  /** Exit status of a command in the container. */
  exec(id: string, argv: readonly string[], env: Readonly<Record<string, string>>): Promise<number>;
};

/** `status`: HTTP status. */
export class EngineRefused extends Error {
  override readonly name = 'EngineRefused';

  constructor(readonly status: number, message: string) {
    super(message);
  }
}

const QUESTION_MS = 10_000;
/** Files of a large image may be copied, and a container has 10 s to end. */
const WORK_MS = 180_000;
const EXEC_MS = 60_000;

/** `questionMs`: of what changes nothing. */
export function dockerEngine(socketPath: string, questionMs = QUESTION_MS): Engine {
  const docker = new Docker({ socketPath, timeout: questionMs });
  const worker = new Docker({ socketPath, timeout: WORK_MS });
  const question = <T>(ask: () => Promise<T>) => (): Promise<T> => within(questionMs, ask);
  const work = <T>(act: () => Promise<T>) => (): Promise<T> => within(WORK_MS, act);
  return {
    container: name => unless(404, question(async () => inspected(await docker.getContainer(name).inspect())), undefined),
    labelled: (kind, label) => asked(question(() => (kind === 'container' ? containersWith(docker, label) : volumesWith(docker, label)))),
    hasImage: image => unless(404, question(async () => { await docker.getImage(image).inspect(); return true; }), false),
    pull: (image, onProgress, signal) => pull(new Docker({ socketPath }), { image, onProgress, signal }),
    ensureVolume: async (name, labels) => {
      const isThere = await unless(404, question(async () => { await docker.getVolume(name).inspect(); return true; }), false);
      if (!isThere) await asked(work(() => worker.createVolume({ Name: name, Labels: { ...labels } })));
    },
    create: options => asked(work(async () => (await worker.createContainer(options)).id)),
    start: id => unless(304, work(async () => { await worker.getContainer(id).start(); }), undefined),
    setRestart: (id, policy) => asked(work(async () => { await worker.getContainer(id).update({ RestartPolicy: { Name: policy } }); })),
    removeStopped: id => unless(404, question(async () => { await docker.getContainer(id).remove({ force: false, v: false }); }), undefined),
    remove: (kind, id) => unless(404, work(async () => {
      await (kind === 'container' ? worker.getContainer(id).remove({ force: true, v: true }) : worker.getVolume(id).remove());
    }), undefined),
    exec: (id, argv, env) => asked(() => within(EXEC_MS + 2 * questionMs, () => exec(new Docker({ socketPath }), { id, argv, env }))),
  };
}

async function containersWith(docker: Docker, label: string): Promise<Labelled[]> {
  const listed = await docker.listContainers({ all: true, filters: { label: [label] } });
  return listed.map(({ Id, Labels }) => ({ id: Id, labels: Labels }));
}

async function volumesWith(docker: Docker, label: string): Promise<Labelled[]> {
  const { Volumes } = await docker.listVolumes({ filters: { label: [label] } }) as { Volumes: { Name: string; Labels: Record<string, string> | null }[] | null };
  return (Volumes ?? []).map(({ Name, Labels }) => ({ id: Name, labels: Labels ?? {} }));
}

function inspected({ Id, Config, State, HostConfig }: Docker.ContainerInspectInfo): EngineContainer {
  const env = (Config.Env as string[] | null ?? []).map((line): [string, string] => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]);
  return {
    id: Id, labels: Config.Labels, status: State.Status, exitCode: State.ExitCode, isOutOfMemory: State.OOMKilled,
    restartPolicy: HostConfig.RestartPolicy?.Name || 'no', env: Object.fromEntries(env),
  };
}

async function pull(docker: Docker, { image, onProgress, signal }: { image: string; onProgress: (percent: number) => void; signal: AbortSignal }): Promise<void> {
  const name = image.includes('@') || /:[^/]+$/.test(image) ? image : `${image}:latest`;
  const stream = await asked(() => within(WORK_MS, () => docker.pull(name)) as Promise<NodeJS.ReadableStream & { destroy(): void }>);
  const layers = new Map<string, { current: number; total: number }>();
  const end = (): void => { stream.destroy(); };
  signal.addEventListener('abort', end, { once: true });
  try {
    await new Promise<void>((resolve, reject) => {
      stream.on('close', () => { reject(new Error('the Docker Engine broke the load off')); });
      docker.modem.followProgress(stream, error => {
        if (error === null) resolve();
        // Docker says it in the stream, after status 200.
        else reject(new EngineRefused(500, error.message));
      }, ({ id, progressDetail }: { id?: string; progressDetail?: { current?: number; total?: number } }) => {
        if (id === undefined || progressDetail?.total === undefined) return;
        layers.set(id, { current: progressDetail.current ?? 0, total: progressDetail.total });
        onProgress(percentOf([...layers.values()]));
      });
    });
  } finally {
    signal.removeEventListener('abort', end);
  }
}

function percentOf(layers: readonly { current: number; total: number }[]): number {
  const total = layers.reduce((sum, layer) => sum + layer.total, 0);
  const current = layers.reduce((sum, layer) => sum + layer.current, 0);
  return total === 0 ? 0 : Math.min(100, Math.floor((100 * current) / total));
}

/** What it prints is read and thrown away: it may have the variables in it. */
async function exec(docker: Docker, { id, argv, env }: { id: string; argv: readonly string[]; env: Readonly<Record<string, string>> }): Promise<number> {
  const command = await docker.getContainer(id).exec({
    Cmd: [...argv], Env: Object.entries(env).map(([name, value]) => `${name}=${value}`), AttachStdout: true, AttachStderr: true,
  });
  const stream = await command.start({ hijack: true, stdin: false });
  let deadline: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      deadline = setTimeout(() => { reject(new EngineRefused(504, `it did not end within ${EXEC_MS / 1_000} s`)); }, EXEC_MS);
      stream.on('end', resolve).on('close', resolve).on('error', reject).resume();
    });
  } finally {
    clearTimeout(deadline);
    stream.destroy();
  }
  const { ExitCode } = await command.inspect();
  return ExitCode ?? -1;
}

async function asked<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    const { statusCode, json, message } = error as { statusCode?: number; json?: { message?: string } | null; message: string };
    if (statusCode === undefined) throw error;
    throw new EngineRefused(statusCode, json?.message ?? message);
  }
}

/** `otherwise` where the Engine answers with this status. */
async function unless<T, U>(status: number, ask: () => Promise<T>, otherwise: U): Promise<T | U> {
  try {
    return await asked(ask);
  } catch (error) {
    if (error instanceof EngineRefused && error.status === status) return otherwise;
    throw error;
  }
}
