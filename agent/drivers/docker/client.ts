/** The few questions that are asked of the Docker Engine, each with a deadline. */
import { Readable } from 'node:stream';
import Docker from 'dockerode';
import { inspectedContainer, listedContainer, type Container, type InspectedContainer, type ListedContainer, type Network } from './containers.js';

/** Of the event stream; what else an event says is looked up. */
export type DockerEvent = { kind: 'container'; action: string; id: string } | { kind: 'network'; action: string; container: string | undefined };

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
/** Of one event as text: an exec of a long command line is longer, and of no interest. */
const MAX_LINE = 1_048_576;
/** Others (exec, attach, top, health checks, …) change nothing that mappings depend on. */
const ACTIONS = ['create', 'start', 'restart', 'die', 'stop', 'kill', 'pause', 'unpause', 'destroy', 'rename', 'update', 'connect', 'disconnect', 'remove'];

export function dockerClient(socketPath: string): DockerClient {
  const docker = new Docker({ socketPath, timeout: DEADLINE_MS });
  return {
    containers: async () => (await docker.listContainers({ all: true }) as ListedContainer[]).map(listedContainer),
    container: async id => {
      try {
        return inspectedContainer(await docker.getContainer(id).inspect() as InspectedContainer);
      } catch (error) {
        if ((error as { statusCode?: number }).statusCode === 404) return undefined;
        throw error;
      }
    },
    pidOf: async id => {
      const { State: { Pid } } = await docker.getContainer(id).inspect();
      return Pid > 0 ? Pid : undefined;
    },
    networks: async () => {
      const listed = await docker.listNetworks();
      return new Map(listed.map(({ Id, Driver, Internal }) => [Id, { driver: Driver, isInternal: Internal }]));
    },
    isRootless: async () => {
      const { SecurityOptions } = await docker.info() as { SecurityOptions?: string[] | null };
      return (SecurityOptions ?? []).some(option => option.split(',').includes('name=rootless'));
    },
    follow: listener => follow(new Docker({ socketPath }), listener),
  };
}

async function follow(docker: Docker, listener: Parameters<DockerClient['follow']>[0]): Promise<{ close(): void }> {
  const stream = await inTime(docker.getEvents({ filters: { type: ['container', 'network'], event: ACTIONS } }));
  let hasEnded = false;
  const end = (problem: string): void => {
    if (hasEnded) return;
    hasEnded = true;
    stream.destroy();
    listener.onEnd(problem);
  };
  let partial = '';
  stream.setEncoding('utf8');
  stream.on('data', (text: string) => {
    const lines = (partial + text).split('\n');
    partial = lines.pop() ?? '';
    if (partial.length > MAX_LINE) return end('an event of the Docker Engine is too long');
    for (const line of lines) {
      const event = eventOf(line);
      if (event !== undefined && !hasEnded) listener.onEvent(event);
    }
  });
  stream.on('error', error => end(error.message));
  stream.on('close', () => end('the Docker Engine closed the event stream'));
  return { close: () => { hasEnded = true; stream.destroy(); } };
}

/** A deadline of the connection would end a stream that is only quiet. */
async function inTime(opening: Promise<NodeJS.ReadableStream>): Promise<Readable> {
  let deadline: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    deadline = setTimeout(() => {
      reject(new Error(`no event stream within ${DEADLINE_MS} ms`));
      opening.then(stream => asReadable(stream).destroy(), () => undefined);
    }, DEADLINE_MS);
  });
  try {
    return asReadable(await Promise.race([opening, late]));
  } finally {
    clearTimeout(deadline);
  }
}

function asReadable(stream: NodeJS.ReadableStream): Readable {
  if (stream instanceof Readable) return stream;
  throw new Error('the Docker Engine answered without a stream');
}

function eventOf(line: string): DockerEvent | undefined {
  if (line.trim() === '') return undefined;
  const { Type, Action, Actor } = JSON.parse(line) as { Type?: string; Action?: string; Actor?: { ID?: string; Attributes?: Record<string, string> } };
  if (Action === undefined || Actor?.ID === undefined) return undefined;
  if (Type === 'container') return { kind: 'container', action: Action, id: Actor.ID };
  return Type === 'network' ? { kind: 'network', action: Action, container: Actor.Attributes?.['container'] } : undefined;
}
