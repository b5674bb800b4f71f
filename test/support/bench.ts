/** Everything together: network, coordinator, agents, services, a client. One bench a test, removed with the test. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HostState } from '../../shared/gen/portlease/v1/operations.js';
import type { Api } from './api.js';
import { Coordinator, gatewayAgent, hostAgent, type Agent, type PoolSeed } from './daemons.js';
import { GATEWAY_PUBLIC, vmOf, type HostName, type Node } from './layout.js';
import type { LoggedProcess } from './logged-process.js';
import { Machine } from './machine.js';
import { Topology } from './topology.js';
import { eventually } from './wait.js';
import { Probe, startService, type Listener, type Watched } from './traffic.js';

export type BenchOptions = {
  hosts?: number;
  pools?: PoolSeed[];
  scope?: 'shared' | 'host';
  coordinator?: Record<string, unknown>;
  /** Added to the config of every agent, and to that of the gateway's. */
  agent?: Record<string, unknown>;
  gateway?: Record<string, unknown>;
};

export class Bench {
  readonly topology: Topology;
  /** Configs, state and logs. */
  readonly directory: string;
  readonly coordinator: Coordinator;
  readonly #agents = new Map<string, Agent>();
  readonly #services: LoggedProcess[] = [];
  readonly #probes: Probe[] = [];

  private constructor(topology: Topology, options: BenchOptions) {
    this.topology = topology;
    this.directory = mkdtempSync(join(tmpdir(), 'plbench-'));
    const { pools, scope, coordinator: config } = options;
    this.coordinator = new Coordinator({
      namespace: topology.namespace('coordinator'), directory: join(this.directory, 'coordinator'),
      ...(pools ? { pools } : {}), ...(scope ? { scope } : {}), ...(config ? { config } : {}),
    });
  }

  /** The network and the machines; no daemon runs yet. */
  static async bare(options: BenchOptions = {}): Promise<Bench> {
    const bench = new Bench(await Topology.up(options.hosts), options);
    try {
      const { agent: config } = options;
      const { hosts } = bench.topology;
      const [gateway, ...machines] = await Promise.all((['gateway', ...hosts] as const).map((node) => bench.#machine(node)));
      if (options.scope !== 'host' && gateway) bench.#agents.set('gateway', gatewayAgent(gateway, { ...config, ...options.gateway }));
      hosts.forEach((host, i) => machines[i] && bench.#agents.set(host, hostAgent(machines[i], host, config)));
      return bench;
    } catch (error) {
      await bench.close();
      throw error;
    }
  }

  /** The same with all daemons running, every host alive. */
  static async up(options: BenchOptions = {}): Promise<Bench> {
    const bench = await Bench.bare(options);
    try {
      await bench.startAll();
      return bench;
    } catch (error) {
      await bench.close({ failed: true });
      throw error;
    }
  }

  /** Of one that was made bare: resolves when every host is alive. */
  async startAll(): Promise<void> {
    for (const agent of this.#agents.values()) agent.start();
    await this.coordinator.start();
    await this.untilAlive(...this.#agents.keys());
  }

  /** Adds to the config with which an agent starts next. */
  configure(host: HostName | 'gateway', config: Record<string, unknown>): void {
    this.agent(host).configure(config);
  }

  get api(): Api {
    return this.coordinator.api;
  }

  agent(host: HostName | 'gateway'): Agent {
    const agent = this.#agents.get(host);
    if (agent === undefined) throw new Error(`no agent on ${host}`);
    return agent;
  }

  async untilAlive(...hosts: string[]): Promise<void> {
    await Promise.all(hosts.map((host) => this.#until(host, HostState.HOST_STATE_ALIVE)));
  }

  async untilLost(host: string): Promise<void> {
    await this.#until(host, HostState.HOST_STATE_LOST);
  }

  /** Runs `what` and waits until the host has opened a new session since. */
  async untilNewSession(host: string, what: () => void | Promise<void>): Promise<void> {
    const before = (await this.api.host(host))?.session ?? 0;
    await what();
    await eventually(`a new session of ${host}`, async () => ((await this.api.host(host))?.session ?? 0) > before, { withinMs: 20_000, hint: () => this.logs() });
  }

  /** The rules of a machine, without counters and dates; of one table or of all. */
  async rules(node: Node, table?: 'nat' | 'mangle' | 'filter', family: 4 | 6 = 4): Promise<string[]> {
    const tool = family === 4 ? 'iptables-save' : 'ip6tables-save';
    const { stdout } = await this.topology.run(node, [tool, ...(table ? ['-t', table] : [])]);
    return stdout.split('\n').filter((line) => line !== '' && !line.startsWith('#')).map((line) => line.replace(/ \[\d+:\d+\]$/, ''));
  }

  /** Rules of a machine that lead this public port somewhere. */
  async leadsOf(node: Node, port: number): Promise<string[]> {
    const rules = await this.rules(node, 'nat');
    return rules.filter((rule) => rule.includes('-j DNAT') && portsIn(rule).some(({ first, last }) => first <= port && port <= last));
  }

  /** A service in the machine behind a host (or on another machine). WHO begins with the host's name. */
  async serve(who: string, listen: Listener[], options: { node?: Node; pushEveryMs?: number } = {}): Promise<LoggedProcess> {
    const host = who.split('/')[0] as HostName;
    const namespace = this.topology.namespace(options.node ?? vmOf(host));
    const spec = { who, listen, ...(options.pushEveryMs ? { pushEveryMs: options.pushEveryMs } : {}) };
    const service = await startService(namespace, spec, join(this.directory, `${who.replaceAll('/', '-')}.log`));
    this.#services.push(service);
    return service;
  }

  /** A client outside that keeps asking these ports of the gateway's public address. */
  async probe(...ports: Omit<Watched, 'address'>[]): Promise<Probe> {
    const probe = await Probe.start(this.topology.namespace('client'));
    this.#probes.push(probe);
    probe.watch(...ports.map((port) => ({ address: GATEWAY_PUBLIC[4], ...port })));
    return probe;
  }

  /** The last lines of all logs. */
  logs(lines = 30): string {
    const daemons = [attempt(() => this.coordinator.process), ...[...this.#agents.values()].map((agent) => attempt(() => agent.process))];
    return daemons.filter((daemon) => daemon !== undefined).map((daemon) => daemon.tail(lines)).join('\n');
  }

  /** Ends everything. After a failure the files stay, and the ends of the logs are printed. */
  async close({ failed = false } = {}): Promise<void> {
    if (failed) process.stderr.write(`${this.logs()}\n(files: ${this.directory})\n`);
    for (const probe of this.#probes) await probe.close();
    await Promise.all(this.#services.map((service) => service.stop('SIGKILL')));
    await Promise.all([...this.#agents.values()].map((agent) => agent.stop('SIGKILL')));
    await this.coordinator.close();
    for (const agent of this.#agents.values()) agent.machine.close();
    this.topology.down();
    if (!failed) rmSync(this.directory, { recursive: true, force: true });
  }

  async #until(host: string, state: HostState): Promise<void> {
    await this.api.untilHost(host, state, { hint: () => this.logs() });
  }

  #machine(node: Node): Promise<Machine> {
    return Machine.start(this.topology, node, join(this.directory, node));
  }
}

function portsIn(rule: string): { first: number; last: number }[] {
  return [...rule.matchAll(/--dport (\d+)(?::(\d+))?/g)].map(([, first, last]) => ({ first: Number(first), last: Number(last ?? first) }));
}

function attempt<T>(get: () => T): T | undefined {
  try {
    return get();
  } catch {
    return undefined;
  }
}
