/** The agent as a whole: opens what it owns in order, and closes it in reverse. */
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../shared/clock.js';
import { endpointAddress } from '../shared/grpc.js';
import type { Log } from '../shared/log.js';
import { canonicalAddress } from '../shared/names.js';
import { clientCredentials, loadTls } from '../shared/tls.js';
import type { AgentConfig } from './config.js';
import type { ChildRunner } from './drivers/child.js';
import { ConnectionsDriver } from './drivers/connections/connections.js';
import { readListeners } from './drivers/connections/listeners.js';
import { RulesDriver } from './drivers/rules/driver.js';
import { readBootId } from './drivers/settings/boot.js';
import { ReservedPorts } from './drivers/settings/reserved.js';
import { openSpawner } from './drivers/spawner/client.js';
import { OwnWrites } from './drivers/watch/generations.js';
import { noting, RulesWatch } from './drivers/watch/watch.js';
import { EXIT, StartRefused } from './exit.js';
import { requireLock, requireTools } from './preflight.js';
import { ReconcileLoop, type ReconcileDrivers } from './reconcile/loop.js';
import { SessionLink } from './session/link.js';
import { grpcTransport } from './session/transport.js';
import { StateStore, StateUnusable } from './state/store.js';

export type AgentOptions = {
  config: AgentConfig;
  /** Of this program. */
  version: string;
  clock: Clock;
  random: () => number;
  log: Log;
  /** Command line of this process, for the remedy when the lock is missing. */
  command: readonly string[];
};

/** What a change of the rules waits for. */
const KEEP_READY = ['iptables-restore', 'ip6tables-restore'].map(file => ({ file, argv: ['--noflush', '--wait'] }));
/** An unchanged report is sent again after this. */
const REPEAT_REPORT_MS = 30_000;

export class Agent {
  readonly #run: ChildRunner;
  readonly #store: StateStore;
  readonly #link: SessionLink;
  readonly #loop: ReconcileLoop;
  readonly #watch: RulesWatch;

  private constructor(options: AgentOptions, parts: { run: ChildRunner; store: StateStore; bootId: string; drivers: ReconcileDrivers; own: OwnWrites }) {
    const { config, version, clock, random, log } = options;
    const { host, gateway, roles, addresses, targetNetworks, snat, timing } = config;
    this.#run = parts.run;
    this.#store = parts.store;
    this.#link = new SessionLink({
      identity: { host, gateway, bootId: parts.bootId, agentVersion: version, roles, addresses },
      transport: grpcTransport({ address: endpointAddress(config.coordinator), credentials: () => credentialsOf(config) }),
      store: parts.store,
      settings: {
        reconnect: { baseMs: timing.reconnectMin, maxMs: timing.reconnectMax }, refusedRetryMs: timing.reconnectMax,
        connectMs: timing.connect, repeatReportMs: REPEAT_REPORT_MS,
      },
      clock, random, log, onAccepted: () => this.#serve(),
    });
    this.#loop = new ReconcileLoop({
      drivers: parts.drivers, facts: { addresses, roles, targetNetworks, snat }, intervalMs: timing.reconcileInterval, clock, random, log,
      onOutcome: outcome => this.#link.roundOutcome(outcome),
    });
    this.#watch = new RulesWatch({
      own: parts.own, clock, random, log, onChange: () => this.#loop.poke(), roundTookMs: () => this.#loop.lastFullRoundMs,
    });
  }

  /**
   * Serves what was accepted before at once, and then looks for the coordinator (S13). Throws StartRefused, with nothing of
   * this host changed, when something that it needs is missing.
   */
  static async start(options: AgentOptions): Promise<Agent> {
    const { config, log, command } = options;
    const { paths, addresses } = config;
    const bootId = readable('paths.bootId', () => readBootId(paths.bootId));
    readable('tls', () => credentialsOf(config));
    const run = openSpawner({ lockFd: requireLock(paths.lock, command), keepReady: KEEP_READY });
    try {
      for (const { name, loses, problem } of await requireTools(run, addresses)) log.warn({ tool: name, problem, loses }, 'a tool is missing');
      return await Agent.#open(options, run, bootId);
    } catch (error) {
      await run.close();
      throw error;
    }
  }

  static async #open(options: AgentOptions, run: ChildRunner, bootId: string): Promise<Agent> {
    const { paths, host, gateway } = options.config;
    const store = await openState(paths.state, { host, gateway });
    try {
      const own = new OwnWrites();
      const drivers = await openDrivers(options, { run, bootId, own });
      const agent = new Agent(options, { run, store, bootId, drivers, own });
      agent.#serve();
      agent.#link.start();
      return agent;
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  /** False: no desired state was accepted yet. */
  get hasState(): boolean {
    return this.#store.current().version !== undefined;
  }

  /** When the last round of the reconcile loop ended. */
  get lastRoundAtMs(): number {
    return this.#loop.lastRoundAtMs;
  }

  /** Waits for what runs; the rules stay. */
  async close(): Promise<void> {
    await this.#link.close();
    await this.#watch.close();
    await this.#loop.close();
    await this.#store.close();
    await this.#run.close();
  }

  #serve(): void {
    const { version, objects } = this.#store.current();
    if (version !== undefined) this.#loop.setDesired(version, objects);
  }
}

type DriverParts = { run: ChildRunner; bootId: string; own: OwnWrites };

async function openDrivers({ config, clock, log }: AgentOptions, { run, bootId, own }: DriverParts): Promise<ReconcileDrivers> {
  return {
    rules: new RulesDriver({ run: noting(run, { own, clock }) }),
    connections: new ConnectionsDriver({ run, addresses: config.addresses, isLocal: isAddressOfThisHost, log }),
    reservedPorts: await ReservedPorts.open({ statePath: join(config.paths.state, 'reserved-ports.json'), bootId }),
    listeners: () => readListeners('/proc/self/net'),
  };
}

function isAddressOfThisHost(address: string): boolean {
  return Object.values(networkInterfaces()).some(all => all?.some(one => canonicalAddress(one.address) === address));
}

function credentialsOf({ tls }: AgentConfig): ReturnType<typeof clientCredentials> {
  return clientCredentials(tls === undefined ? undefined : loadTls(tls));
}

async function openState(dir: string, owner: { host: string; gateway: string }): Promise<StateStore> {
  try {
    return await StateStore.open(dir, owner);
  } catch (error) {
    if (error instanceof StateUnusable) throw new StartRefused(EXIT.state, error.message, { cause: error });
    throw new StartRefused(EXIT.config, `paths.state: ${(error as Error).message}`, { cause: error });
  }
}

function readable<T>(key: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new StartRefused(EXIT.config, `${key}: ${(error as Error).message}`, { cause: error });
  }
}
