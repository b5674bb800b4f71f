/** Coordinator, gateway, hosts and a client in namespaces, with the timings that are shipped, and as many mappings as a figure wants. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { MappingState } from '../../shared/gen/portlease/v1/common.js';
import type { AllocatePortsRequest, DeepPartial, Mapping, Want } from '../../shared/gen/portlease/v1/ports.js';
import { Bench } from '../support/bench.js';
import { GRPC_PORT, ROOT } from '../support/daemons.js';
import { COORDINATOR, GATEWAY_PUBLIC, vmAddress, type HostName, type Node } from '../support/layout.js';
import { inNamespace } from '../support/netns.js';
import { Wait, want } from '../support/requests.js';
import { eventually } from '../support/wait.js';
import type { FirstByte, Job, Place, Took } from './client.js';
import { LineProcess } from './lines.js';

/** What the service behind each host listens on. */
export const SERVICE_PORT = 7_000;
const POOL = 'all';
const RANGES = ['8000-32767'];
/** Of one request. */
const MAX_PORTS = 1_000;
const MAX_COUNT = 250;
const UNUSED_PORT = 20_000;

const SHIPPED = { timing: { heartbeat: '5s', deadline: '3s', suspect: '15s', lost: '120s' }, log: { level: 'warn' } };
const AGENT = { log: { level: 'warn' }, timing: { reconcileInterval: '2s', reconnectMin: '100ms', reconnectMax: '1s', connect: '2s' } };

/** Added to the configs. */
export type WorldOptions = { coordinator?: Record<string, unknown>; agent?: Record<string, unknown>; gateway?: Record<string, unknown> };

export class World {
  readonly bench: Bench;
  readonly #children: LineProcess[] = [];
  readonly #client: LineProcess;
  #requests = 0;

  private constructor(bench: Bench) {
    this.bench = bench;
    this.#client = this.start('client', [process.execPath, join(ROOT, 'dist/test/bench/client.js'), `${COORDINATOR[4]}:${GRPC_PORT}`]);
  }

  static async up(options: WorldOptions = {}): Promise<World> {
    const bench = await Bench.up({ pools: [{ pool: POOL, ranges: RANGES, protocol: 'tcp' }], coordinator: { ...SHIPPED, ...options.coordinator }, agent: { ...AGENT, ...options.agent }, ...(options.gateway === undefined ? {} : { gateway: options.gateway }) });
    process.once('exit', () => { rmSync(bench.directory, { recursive: true, force: true }); });
    const world = new World(bench);
    await world.#client.next();
    return world;
  }

  /** Runs `work` in a world that is removed afterwards. */
  static async with<T>(work: (world: World) => Promise<T>, options: WorldOptions = {}): Promise<T> {
    const world = await World.up(options);
    let failed = true;
    try {
      const result = await work(world);
      failed = false;
      return result;
    } finally {
      for (const child of world.#children) await child.close();
      await world.bench.close({ failed });
    }
  }

  start(node: Node, argv: readonly string[]): LineProcess {
    const child = new LineProcess(inNamespace(this.bench.topology.namespace(node), argv));
    this.#children.push(child);
    return child;
  }

  /** A service behind each of these hosts that says the host's name. */
  async serve(...hosts: HostName[]): Promise<void> {
    for (const host of hosts) await this.bench.serve(host, [{ transport: 'tcp', port: SERVICE_PORT }]);
  }

  async ask(job: Extract<Job, { job: 'firstByte' }>): Promise<FirstByte>;
  async ask(job: Job): Promise<Took>;
  async ask(job: Job): Promise<FirstByte | Took> {
    const answer = JSON.parse(await this.#client.ask(JSON.stringify(job))) as { result?: FirstByte; error?: string };
    if (answer.result === undefined) throw new Error(`the client failed: ${answer.error}`);
    return answer.result;
  }

  /** One port that leads to the service behind the host. */
  allocation(host: HostName): DeepPartial<AllocatePortsRequest> {
    return { tenant: 'bench', host, environment: `env-${++this.#requests}`, wants: [serviceWant(host)] };
  }

  /** Gives the host this many mappings and waits until all are live. Those that lead to its service, one of each 1,000, are returned. */
  async fill(host: HostName, count: number): Promise<Mapping[]> {
    const services: Mapping[] = [];
    for (let left = count; left > 0; left -= MAX_PORTS) {
      const wants = [serviceWant(host), ...fillers(host, Math.min(left, MAX_PORTS) - 1)];
      const { mappings } = await this.bench.api.allocate({ ...this.allocation(host), wants, wait: Wait.WAIT_RECORDED }, 30_000);
      services.push(...mappings.slice(0, 1));
    }
    await eventually(`${count} mappings of ${host} to be live`, async () => {
      const pending = await this.bench.api.mappings({ host, state: MappingState.MAPPING_STATE_PENDING, pageSize: 1 });
      return pending.length === 0;
    }, { withinMs: 120_000, everyMs: 200, hint: () => this.bench.logs() });
    return services;
  }
}

export function placeOf(mapping: Mapping | undefined): Place {
  return { address: GATEWAY_PUBLIC[4], port: mapping?.publicPort ?? 0 };
}

function serviceWant(host: HostName): DeepPartial<Want> {
  return want(POOL, vmAddress(host), { name: 'service', internalPort: SERVICE_PORT });
}

function fillers(host: HostName, count: number): DeepPartial<Want>[] {
  const sizes = Array.from({ length: Math.ceil(count / MAX_COUNT) }, (_, i) => Math.min(MAX_COUNT, count - i * MAX_COUNT));
  return sizes.map((size, i) => want(POOL, vmAddress(host, 1), { name: `unused-${i}`, count: size, internalPort: UNUSED_PORT + i * MAX_COUNT }));
}
