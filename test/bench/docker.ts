/** Containers: how soon a mapping follows one, how soon a new port of one answers, and what `docker run -p` takes for as much. */
import { setTimeout as pause } from 'node:timers/promises';
import { parseTargetText } from '../../shared/target.js';
import { targetToWire } from '../../shared/wire.js';
import { Dockerd, IMAGE } from '../support/docker.js';
import { GATEWAY_PUBLIC, type HostName } from '../support/layout.js';
import { Wait } from '../support/requests.js';
import { medianOf, quantile, type Row, type Size } from './rows.js';
import { placeOf, SERVICE_PORT, World } from './world.js';

const HOST: HostName = 'host-a';
const NAME = 'bench';
const WARM_UP = 5;
const PAUSE_MS = 60;
/** Says who it is to whoever connects. */
const SERVICE = ['nc', '-ll', '-p', String(SERVICE_PORT), '-e', 'echo', `who=${NAME} .`];

/** From the end of `docker start` until a client that begins a connection every 4 ms is answered. */
export function benchRemap({ runs, samples }: Size): Promise<Row[]> {
  return withDocker(async (world, docker) => {
    await docker.container(NAME, [], SERVICE);
    const { mappings: [mapping] } = await world.bench.api.allocate({ ...allocation(world), wait: Wait.WAIT_VERIFIED });
    const argv = ['docker', '--host', `unix://${world.bench.agent(HOST).machine.outside('/run/docker.sock')}`, 'start', NAME];
    return medianOf(await several(runs, async () => {
      const tookMs = await several(samples, async () => {
        await docker.run(['kill', NAME]);
        return (await world.ask({ job: 'heal', argv, place: placeOf(mapping), who: NAME })).totalMs;
      });
      return quantiles('docker.remap', tookMs);
    }));
  });
}

/** As firstbyte.m1000, to a container. */
export function benchDockerFirstByte({ runs, samples }: Size): Promise<Row[]> {
  return withDocker(async (world, docker) => {
    await world.serve(HOST);
    await world.fill(HOST, 1_000);
    await docker.container(NAME, [], SERVICE);
    const sample = async () => {
      await pause(Math.random() * PAUSE_MS);
      return (await world.ask({ job: 'firstByte', allocate: allocation(world), address: GATEWAY_PUBLIC[4] })).totalMs;
    };
    await several(WARM_UP, sample);
    return medianOf(await several(runs, async () => quantiles('firstbyte.docker', await several(samples, sample))));
  });
}

/** What three published ports add to `docker run`. */
export function benchDockerRun({ runs, samples }: Size): Promise<Row[]> {
  return withDocker(async (_, docker) => {
    const publish = [20_001, 20_002, 20_003].flatMap((port) => ['--publish', `${port}:${SERVICE_PORT}`]);
    const run = async (flags: readonly string[]): Promise<number> => {
      const startMs = performance.now();
      await docker.container(NAME, flags, SERVICE);
      const tookMs = performance.now() - startMs;
      await docker.run(['rm', '--force', NAME]);
      return tookMs;
    };
    await run(publish);
    return medianOf(await several(runs, async () => {
      const plain: number[] = [];
      const published: number[] = [];
      // In turns: what the machine does meanwhile meets both.
      await several(samples, async () => {
        plain.push(await run([]));
        published.push(await run(publish));
      });
      const [without, all] = [quantile(plain, 0.5), quantile(published, 0.5)];
      return [{ name: 'dockerrun.publish3', value: all - without, unit: 'ms' }, { name: 'dockerrun.plain', value: without, unit: 'ms' }];
    }));
  });
}

/** What CreateEnvironment takes until it is ready, beyond `docker run` of the same container until it accepts a connection. */
export function benchCreate({ runs, samples }: Size): Promise<Row[]> {
  return withDocker(async (world, docker) => {
    const { machine } = world.bench.agent(HOST);
    const container = { image: IMAGE, command: SERVICE };
    const create = async (environment: string): Promise<number> => {
      const { wants: [want] = [] } = world.allocation(HOST);
      const startMs = performance.now();
      await world.bench.api.createEnvironment({ environment, tenant: 'bench', host: HOST, container, wants: [{ ...want, target: undefined }] });
      const tookMs = performance.now() - startMs;
      await world.bench.api.deleteEnvironment({ environment });
      return tookMs;
    };
    const run = async (): Promise<number> => {
      const startMs = performance.now();
      await docker.container(NAME, [], SERVICE);
      const address = await docker.addressOf(NAME);
      await machine.run(['bash', '-c', 'until (exec 3<>/dev/tcp/$0/$1) 2>/dev/null; do sleep 0.005; done', address, String(SERVICE_PORT)]);
      const tookMs = performance.now() - startMs;
      await docker.run(['rm', '--force', NAME]);
      return tookMs;
    };
    await create('warm-up');
    let made = 0;
    return medianOf(await several(runs, async () => {
      const created: number[] = [];
      const plain: number[] = [];
      await several(samples, async () => {
        created.push(await create(`made-${++made}`));
        plain.push(await run());
      });
      const [all, docked] = [quantile(created, 0.5), quantile(plain, 0.5)];
      return [{ name: 'environment.create.overhead', value: all - docked, unit: 'ms' }, { name: 'environment.create.p50', value: all, unit: 'ms' }];
    }));
  }, { environments: { enabled: true, images: ['*'], networks: ['bridge'] } });
}

function withDocker<T>(work: (world: World, docker: Dockerd) => Promise<T>, agent: Record<string, unknown> = {}): Promise<T> {
  return World.with(async (world) => {
    const docker = await Dockerd.upFor(world.bench.agent(HOST));
    try {
      return await work(world, docker);
    } finally {
      await docker.close();
    }
  }, { agent: { log: { level: 'info' }, ...agent } });
}

function allocation(world: World) {
  const { wants: [want] = [], ...request } = world.allocation(HOST);
  return { ...request, wants: [{ ...want, target: targetToWire(parseTargetText(`container:${NAME}`, 'target')) }] };
}

/** One after the other. */
async function several<T>(count: number, take: () => Promise<T>): Promise<T[]> {
  const all: T[] = [];
  for (let i = 0; i < count; i++) all.push(await take());
  return all;
}

function quantiles(name: string, values: readonly number[]): Row[] {
  return [{ name: `${name}.p50`, value: quantile(values, 0.5), unit: 'ms' }, { name: `${name}.p99`, value: quantile(values, 0.99), unit: 'ms' }];
}
