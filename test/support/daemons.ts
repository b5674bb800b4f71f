/** The daemons as they are shipped, with timings that suit tests. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Api } from './api.js';
import { COORDINATOR, GATEWAY_PUBLIC, hostAddress, type HostName } from './layout.js';
import { LoggedProcess } from './logged-process.js';
import type { Machine } from './machine.js';
import { inNamespace } from './netns.js';
import { ROOT } from './root.js';
import { eventually } from './wait.js';

export { ROOT };

/** H, D, J, T of the tests; the same in ms. */
export const TIMING = { heartbeat: '500ms', deadline: '300ms', suspect: '1500ms', lost: '3s' } as const;
export const SUSPECT_MS = 1_500;
export const LOST_MS = 3_000;

export const GATEWAY = 'edge';
export const QUARANTINE_MS = 1_000;
export const HOLD_MS = 5_000;

export type PoolSeed = { pool: string; ranges: string[]; protocol: 'tcp' | 'udp' | 'tcp+udp'; defaultInternalPort?: number; strategy?: string; serviceType?: string; quarantine?: string; hold?: string; idleLimit?: string; idleWarning?: string; idleAction?: string; tls?: string };

export const POOLS: PoolSeed[] = [
  { pool: 'ssh', serviceType: 'ssh', ranges: ['30000-30063'], protocol: 'tcp', defaultInternalPort: 22 },
  { pool: 'game', serviceType: 'game', ranges: ['31000-31063'], protocol: 'tcp+udp', defaultInternalPort: 7000 },
];

export const GRPC_PORT = 7410;

export type CoordinatorOptions = { namespace: string; directory: string; pools?: PoolSeed[]; scope?: 'shared' | 'host'; config?: Record<string, unknown> };

/** A coordinator on SQLite in a namespace of its own. It can be killed and started again on the same files. */
export class Coordinator {
  readonly socket: string;
  readonly database: string;
  api: Api;
  #process: LoggedProcess | undefined;
  readonly #options: CoordinatorOptions;

  constructor(options: CoordinatorOptions) {
    this.#options = options;
    this.socket = join(options.directory, 'api.sock');
    this.database = join(options.directory, 'coordinator.db');
    this.api = new Api(`unix:${this.socket}`);
    mkdirSync(options.directory, { recursive: true });
  }

  get process(): LoggedProcess {
    if (this.#process === undefined) throw new Error('the coordinator was not started');
    return this.#process;
  }

  /** Starts it and waits until it says that it serves. */
  async start(): Promise<void> {
    const argv = [process.execPath, join(ROOT, 'dist/coordinator/main.js'), '--config', this.#writeConfig()];
    const daemon = new LoggedProcess(inNamespace(this.#options.namespace, argv), { logFile: join(this.#options.directory, 'coordinator.log') });
    this.#process = daemon;
    this.api.close();
    this.api = new Api(`unix:${this.socket}`);
    await eventually('the coordinator to serve', () => {
      if (!daemon.isRunning) throw new Error('it ended');
      return this.api.isServing();
    }, { withinMs: 15_000, hint: () => daemon.tail() });
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.#process?.stop(signal);
  }

  async close(): Promise<void> {
    this.api.close();
    await this.stop('SIGKILL');
  }

  #writeConfig(): string {
    const { directory, pools = POOLS, scope = 'shared', config = {} } = this.#options;
    const timed = pools.map((pool) => ({ quarantine: `${QUARANTINE_MS}ms`, hold: `${HOLD_MS}ms`, ...pool }));
    const file = join(directory, 'coordinator.yaml');
    writeFileSync(file, JSON.stringify({
      listen: { grpc: `${COORDINATOR[4]}:${GRPC_PORT}`, unix: this.socket },
      database: { path: this.database },
      timing: TIMING,
      admit: 'any',
      insecure: true,
      log: { level: 'debug' },
      gateways: [{ gateway: GATEWAY, scope, ...(scope === 'shared' ? { publicHost: GATEWAY_PUBLIC[4] } : {}), pools: timed }],
      ...config,
    }, undefined, 2));
    return file;
  }
}

export type AgentOptions = { machine: Machine; host: string; roles: ('host' | 'gateway')[]; addresses: string[]; config?: Record<string, unknown> };

/** Of agents. */
export const AGENT_TIMING = { reconcileInterval: '500ms', reconnectMin: '50ms', reconnectMax: '500ms', connect: '1s' } as const;

/** An agent on a machine, started as its unit starts it: under the writer's lock. */
export class Agent {
  readonly host: string;
  readonly machine: Machine;
  readonly #options: AgentOptions;
  #process: LoggedProcess | undefined;

  constructor(options: AgentOptions) {
    this.#options = { ...options };
    this.host = options.host;
    this.machine = options.machine;
  }

  get process(): LoggedProcess {
    if (this.#process === undefined) throw new Error(`the agent ${this.host} was not started`);
    return this.#process;
  }

  /** Its accepted state: what a reboot keeps. */
  get stateDirectory(): string {
    return join(this.machine.directory, 'state');
  }

  /** Starts it; does not wait for the coordinator, which may be away. */
  start(): void {
    const lock = ['flock', '--no-fork', '--conflict-exit-code', '75', '--wait', '15', '/run/portlease/agent.lock'];
    const argv = [...lock, process.execPath, join(ROOT, 'dist/agent/main.js'), '--config', this.#writeConfig()];
    this.#process = this.machine.start('agent', argv);
  }

  /** Adds to the config with which it starts next. */
  configure(config: Record<string, unknown>): void {
    this.#options.config = { ...this.#options.config, ...config };
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.#process?.stop(signal);
  }

  async restart(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.stop(signal);
    this.start();
  }

  #writeConfig(): string {
    const { host, roles, addresses, config = {} } = this.#options;
    const file = join(this.machine.directory, 'agent.yaml');
    writeFileSync(file, JSON.stringify({
      host, gateway: GATEWAY, roles, addresses,
      coordinator: `${COORDINATOR[4]}:${GRPC_PORT}`,
      insecure: true,
      timing: AGENT_TIMING,
      paths: { state: this.stateDirectory },
      log: { level: 'debug' },
      ...config,
    }, undefined, 2));
    return file;
  }
}

export function hostAgent(machine: Machine, host: HostName, config: Record<string, unknown> = {}): Agent {
  return new Agent({ machine, host, roles: ['host'], addresses: [hostAddress(host), hostAddress(host, 6)], config });
}

export function gatewayAgent(machine: Machine, config: Record<string, unknown> = {}): Agent {
  return new Agent({ machine, host: 'gateway', roles: ['gateway'], addresses: [GATEWAY_PUBLIC[4], GATEWAY_PUBLIC[6]], config });
}
