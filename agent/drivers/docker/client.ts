/** The few questions that are asked of the Docker Engine, each with a deadline. */
import { Readable } from 'node:stream';
import Docker from 'dockerode';
import { inspectedContainer, listedContainer, type Container, type InspectedContainer, type ListedContainer, type Network } from './containers.js';
import { within } from './deadline.js';
import { EventReader, type DockerEvent } from './events.js';

export type DockerClient = {
  /** All containers, also stopped ones. What has an event at this moment may be out of date. */
  containers(): Promise<Container[]>;
  /** By its whole id; undefined: it is gone. Waits for what Docker does to it: what its events told of is in it. */
  container(id: string): Promise<Container | undefined>;
  /** Id of its first process; undefined: it does not run. */
  pidOf(id: string): Promise<number | undefined>;
  /** By id. */
  networks(): Promise<ReadonlyMap<string, Network>>;
  /** Its containers are in a network of the user who runs it, which the host cannot reach. */
  isRootless(): Promise<boolean>;
  /** Resolves when the stream is open: from then on nothing is missed until `onEnd`, which is called once. */
  follow(listener: { onEvent(event: DockerEvent): void; onEnd(problem: string): void }): Promise<{ close(): void }>;
};

const DEADLINE_MS = 10_000;
/** Others (exec, attach, top, health checks, …) change nothing that mappings depend on. */
const ACTIONS = ['create', 'start', 'restart', 'die', 'stop', 'kill', 'pause', 'unpause', 'destroy', 'rename', 'update', 'connect', 'disconnect', 'remove'];

export function dockerClient(socketPath: string, deadlineMs = DEADLINE_MS): DockerClient {
  const docker = new Docker({ socketPath, timeout: deadlineMs });
  const ask = <T>(question: (abortSignal: AbortSignal) => Promise<T>): Promise<T> => within(deadlineMs, question);
  return {
    containers: async () => (await ask(abortSignal => docker.listContainers({ all: true, abortSignal })) as ListedContainer[]).map(listedContainer),
    container: async id => {
      try {
        return inspectedContainer(await ask(abortSignal => docker.getContainer(id).inspect({ abortSignal })) as InspectedContainer);
      } catch (error) {
        if ((error as { statusCode?: number }).statusCode === 404) return undefined;
        throw error;
      }
    },
    pidOf: async id => {
      const { State: { Pid } } = await ask(abortSignal => docker.getContainer(id).inspect({ abortSignal }));
      return Pid > 0 ? Pid : undefined;
    },
    networks: async () => {
      const listed = await ask(abortSignal => docker.listNetworks({ abortSignal }));
      return new Map(listed.map(({ Id, Driver, Internal }) => [Id, { driver: Driver, isInternal: Internal }]));
    },
    isRootless: async () => {
      const { SecurityOptions } = await ask(() => docker.info()) as { SecurityOptions?: string[] | null };
      return (SecurityOptions ?? []).some(option => option.split(',').includes('name=rootless'));
    },
    follow: listener => follow(new Docker({ socketPath }), listener, deadlineMs),
  };
}

async function follow(docker: Docker, listener: Parameters<DockerClient['follow']>[0], deadlineMs: number): Promise<{ close(): void }> {
  const stream = asReadable(await within(deadlineMs, abortSignal => docker.getEvents({ filters: { type: ['container', 'network'], event: ACTIONS }, abortSignal })));
  let hasEnded = false;
  const end = (problem: string): void => {
    if (hasEnded) return;
    hasEnded = true;
    stream.destroy();
    listener.onEnd(problem);
  };
  const reader = new EventReader();
  stream.setEncoding('utf8');
  stream.on('data', (text: string) => {
    const { events, problem } = reader.push(text);
    for (const event of events) if (!hasEnded) listener.onEvent(event);
    if (problem !== undefined) end(problem);
  });
  stream.on('error', error => end(error.message));
  stream.on('close', () => end('the Docker Engine closed the event stream'));
  return { close: () => { hasEnded = true; stream.destroy(); } };
}

function asReadable(stream: NodeJS.ReadableStream): Readable {
  if (stream instanceof Readable) return stream;
  throw new Error('the Docker Engine answered without a stream');
}
