/** The agent as a whole: opens what it owns in order, and closes it in reverse. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../shared/clock.js';
import { endpointAddress } from '../shared/grpc.js';
import type { Log } from '../shared/log.js';
import type { StateVersion } from '../shared/desired.js';
import { clientCredentials, loadTls } from '../shared/tls.js';
import { followsDocker, type AgentConfig } from './config.js';
import { dockerClient } from './drivers/docker/client.js';
import { HostPortsWatch, NO_HOST_PORTS } from './drivers/docker/host-ports.js';
import { PublishedListeners } from './drivers/docker/published.js';
import { dockerEngine } from './drivers/docker/engine.js';
import { DockerWatch, type DockerView } from './drivers/docker/watch.js';
import { readBootId } from './drivers/settings/boot.js';
import { Environments } from './environments/environments.js';
import { EXIT, StartRefused } from './exit.js';
import { openForwarder } from './forwarder.js';
import { openKernel } from './kernel.js';
import { nextPlaced, type Placed } from './reconcile/places.js';
import type { Listener, Wanted } from './drivers/connections/listeners.js';
import { IdleWatch } from './idle/watch.js';
import type { Accepted } from './leaks/containers.js';
import type { TunnelProcess } from './leaks/findings.js';
import { tunnelProcesses } from './leaks/tunnels.js';
import { LeakWatch } from './leaks/watch.js';
import { ReconcileLoop, type RoundOutcome } from './reconcile/loop.js';
import type { Serving } from './serving.js';
import { SessionLink } from './session/link.js';
import { grpcTransport } from './session/transport.js';
import type { Owner } from './state/accepted.js';
import { StateStore, StateUnusable } from './state/store.js';
import { systemTimers } from '../shared/timers.js';
import { isOfHost } from './tunnels/argv.js';
import { HostTunnels } from './tunnels/host.js';
import { tunnelKeyOf } from './tunnels/keys.js';

export type AgentOptions = {
  config: AgentConfig;
  /** Of this program. */
  version: string;
  clock: Clock;
  random: () => number;
  log: Log;
  /** Command line of this process, for the remedy when the lock is missing. */
  command: readonly string[];
  /** Under systemd: what is to outlive this process needs a scope of its own. */
  isUnderSystemd: boolean;
};

/** What a start waits for Docker at most: without its word a mapping to a container leads nowhere. */
const DOCKER_READY_MS = 5_000;
/** Before they are opened. */
const NO_TUNNELS: ReadonlySet<string> = new Set();
const NO_DOCKER: DockerView = { kind: 'unknown', problem: 'docker.enabled is false in the config of this agent' };

/** An unchanged report is sent again after this. */
const REPEAT_REPORT_MS = 30_000;

type Parts = { serving: Serving; store: StateStore; bootId: string };

export class Agent {
  readonly #serving: Serving;
  readonly #store: StateStore;
  readonly #link: SessionLink;
  readonly #loop: ReconcileLoop;
  readonly #watch: { close(): Promise<void> };
  readonly #docker: DockerWatch | undefined;
  readonly #environments: Environments;
  readonly #leaks: LeakWatch;
  readonly #addresses: readonly string[];
  readonly #hostPortsWatch: HostPortsWatch | undefined;
  #hostPorts = NO_HOST_PORTS;
  #placed: Placed | undefined;
  #served: StateVersion | undefined;
  /** Before that nothing is served: where containers are is not known. */
  #isReady = false;
  #idle: IdleWatch | undefined;
  #tunnels: HostTunnels | undefined;
  #outcome: RoundOutcome | undefined;
  /** Resolves when the coordinator has said that this config is none for its gateway. */
  readonly refused: Promise<StartRefused>;
  #refuse: (refusal: StartRefused) => void = () => undefined;

  private constructor(options: AgentOptions, parts: Parts) {
    const { config, version, clock, random, log } = options;
    const { host, gateway, roles, addresses, driver, targetNetworks, snat, routes, timing } = config;
    this.refused = new Promise(resolve => { this.#refuse = resolve; });
    this.#serving = parts.serving;
    this.#store = parts.store;
    this.#addresses = addresses;
    this.#link = new SessionLink({
      identity: { host, gateway, bootId: parts.bootId, agentVersion: version, roles, addresses, driver, hidesClients: (snat || routes === 'nginx') && roles.includes('gateway'), ...tunnelKeyOf(config) },
      transport: grpcTransport({ address: endpointAddress(config.coordinator), credentials: () => credentialsOf(config) }),
      store: parts.store,
      settings: {
        reconnect: { baseMs: timing.reconnectMin, maxMs: timing.reconnectMax }, refusedRetryMs: timing.reconnectMax,
        connectMs: timing.connect, repeatReportMs: REPEAT_REPORT_MS,
      },
      clock, random, log, onAccepted: () => this.#serve(), onResolveLeaks: ids => this.#leaks.resolve(ids),
      onRefused: ({ reason }) => { if (reason === 'DRIVER_NOT_ADMITTED') this.#refuse(driverNotAdmitted(gateway)); },
    });
    this.#docker = followsDocker(config) ? new DockerWatch({
      client: dockerClient(config.docker.socket), log, after: systemTimers.after, random, onChange: () => {
        this.#serve();
        this.#environments.poke();
      },
    }) : undefined;
    this.#hostPortsWatch = this.#docker === undefined ? undefined : new HostPortsWatch({
      find: wanted => parts.serving.holders.find({ topic: 'hostPorts', netDir: '/proc/self/net', addresses, wanted }), timers: systemTimers,
      onChange: ports => {
        this.#hostPorts = ports;
        this.#serve();
      },
    });
    this.#leaks = this.#leakWatch(options, parts);
    const listeners = withPublished(wanted => parts.serving.drivers.listeners(wanted), () => this.#dockerView);
    this.#loop = new ReconcileLoop({
      drivers: { ...parts.serving.drivers, listeners }, facts: { addresses, roles, targetNetworks, snat, routes, markBit: config.docker.markBit }, intervalMs: timing.reconcileInterval, clock, random, log,
      onOutcome: outcome => {
        this.#outcome = outcome;
        this.#report();
      },
    });
    this.#environments = new Environments({
      engine: dockerEngine(config.docker.socket), host: makerOf(config), rules: config.environments, clock, after: systemTimers.after, random, log,
      onReport: () => this.#report(), hasNoDocker: () => !config.docker.enabled && !existsSync(config.docker.socket),
    });
    this.#watch = parts.serving.watch({ poke: () => this.#loop.poke(), roundTookMs: () => this.#loop.lastFullRoundMs });
  }

  /**
   * Serves what was accepted before at once, and then looks for the coordinator (S13). Throws StartRefused, with nothing of
   * this host changed, when something that it needs is missing.
   */
  static async start(options: AgentOptions): Promise<Agent> {
    const { config } = options;
    const bootId = readable('paths.bootId', () => readBootId(config.paths.bootId));
    readable('tls', () => credentialsOf(config));
    readable('tunnels.gateway', () => tunnelKeyOf(config));
    const serving = await openServing(options, bootId);
    try {
      return await Agent.#open(options, serving, bootId);
    } catch (error) {
      await serving.close();
      throw error;
    }
  }

  static async #open(options: AgentOptions, serving: Serving, bootId: string): Promise<Agent> {
    const { paths, host, gateway, driver } = options.config;
    const store = await openState(paths.state, { host, gateway, driver });
    try {
      const agent = new Agent(options, { serving, store, bootId });
      await agent.#docker?.ready(DOCKER_READY_MS);
      agent.#isReady = true;
      await agent.#watchTraffic(options, { serving, store, bootId });
      agent.#tunnels = await agent.#openTunnels(options, bootId);
      agent.#serve();
      agent.#link.start();
      agent.#leaks.start();
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

  /** Waits for what runs. Rules in the kernel stay; what this process itself forwards ends. */
  async close(): Promise<void> {
    await this.#leaks.close();
    await this.#tunnels?.close();
    await this.#link.close();
    await this.#environments.close();
    await this.#docker?.close();
    await this.#hostPortsWatch?.close();
    await this.#idle?.close();
    await this.#watch.close();
    await this.#loop.close();
    await this.#store.close();
    await this.#serving.close();
  }

  get #dockerView(): DockerView {
    return this.#docker?.view ?? NO_DOCKER;
  }

  #leakWatch({ config, log }: AgentOptions, { serving, store }: Parts): LeakWatch {
    const { leaks, timing, addresses } = config;
    return new LeakWatch({
      policy: leaks, containers: { host: makerOf(config), accepted: acceptedSince(store), remove: id => dockerEngine(config.docker.socket).removeStopped(id) }, intervalMs: timing.leakInterval, log, addresses, placed: () => this.#placed, docker: () => this.#dockerView, tunnels: () => this.#tunnels?.known() ?? NO_TUNNELS, processes: () => this.#tunnelProcesses(config.host),
      conflicts: () => this.#outcome?.conflicts, foreignRules: served => serving.foreignRules(served), onChange: () => this.#report(),
    });
  }

  async #watchTraffic({ config: { paths, timing }, log }: AgentOptions, { serving: { traffic }, store, bootId }: Parts): Promise<void> {
    this.#idle = await IdleWatch.open({
      path: join(paths.state, 'idle.json'), bootId, traffic, standing: this.#loop, objects: () => store.current().objects, lives: key => this.#lives(key),
      intervalMs: timing.idleInterval, log, onChange: () => this.#report(),
    });
    this.#idle.start();
  }

  /** Ports are served without tunnels, too. */
  async #openTunnels({ config, clock, random, log, isUnderSystemd }: AgentOptions, bootId: string): Promise<HostTunnels | undefined> {
    const { version, objects } = this.#store.current();
    const options = { config, bootId, uid: process.getuid?.() ?? 0, usesScopes: isUnderSystemd, holders: this.#serving.holders, clock, random, log, onChange: () => this.#report() };
    return HostTunnels.open(options, version === undefined ? undefined : objects).catch((error: unknown) => {
      // Nobody would be led to a host behind NAT.
      if (config.tunnels.gateway !== undefined) throw new StartRefused(EXIT.config, `tunnels: ${(error as Error).message}`, { cause: error });
      log.error({ problem: (error as Error).message }, 'no tunnels: their files cannot be used; put that right and restart the agent. What an earlier agent started goes on');
      return undefined;
    });
  }

  /** Rejects while it is not known which tunnels there are. */
  async #tunnelProcesses(host: string): Promise<TunnelProcess[]> {
    if (this.#tunnels === undefined) throw new Error('the tunnels of this host could not be opened');
    return (await tunnelProcesses()).filter(({ tunnelId }) => isOfHost(tunnelId, host));
  }

  /** Says what the last round came to, which mappings are idle, how far environments and tunnels are, and what leaks. */
  #report(): void {
    const idle = this.#idle?.idle() ?? [];
    const leaks = this.#leaks.reports();
    const tunnels = this.#tunnels?.reports() ?? [];
    if (this.#outcome === undefined) return;
    const known = new Set(this.#outcome.problems.map(({ key }) => key));
    const problems = [...this.#outcome.problems, ...(this.#tunnels?.problems() ?? []).filter(({ key }) => !known.has(key))];
    this.#link.roundOutcome({ ...this.#outcome, problems, ...(idle.length === 0 ? {} : { idle }), environments: this.#environments.reports(), ...(tunnels.length === 0 ? {} : { tunnels }), ...(leaks.length === 0 ? {} : { leaks }) });
  }

  /** A container that runs lives; of an address nobody knows. */
  #lives(key: string): boolean | undefined {
    const object = this.#placed?.objects.get(key);
    return object?.kind === 'mapping' && ['at', 'self', 'publishedAt'].includes(object.target.kind) ? true : undefined;
  }

  #serve(): void {
    const { version, objects } = this.#store.current();
    if (version === undefined || !this.#isReady) return;
    const before = this.#placed?.objects;
    this.#placed = nextPlaced(this.#placed, objects, this.#dockerView, { addresses: this.#addresses, hostPorts: this.#hostPorts });
    this.#hostPortsWatch?.want(this.#placed.hostPorts);
    if (this.#placed.objects !== before || version !== this.#served) this.#loop.setDesired(version, this.#placed.objects);
    this.#served = version;
    this.#environments.setDesired(objects);
    this.#tunnels?.setDesired(objects);
    this.#serving.gate?.setDesired(objects);
  }
}

/** As containers are labelled that this agent makes. */
function makerOf({ gateway, host }: AgentConfig): string {
  return `${gateway}/${host}`;
}

/** What was accepted in the newest session, once there was one since now. */
function acceptedSince(store: StateStore): () => Accepted | undefined {
  const before = store.current().session;
  return () => {
    const { session, version, objects } = store.current();
    return version === undefined || session === before || version.session !== session ? undefined : { revision: version.revision, objects };
  };
}

/** What Docker publishes counts as listened on. */
function withPublished(find: (wanted: Wanted) => Promise<Listener[]>, view: () => DockerView): (wanted: Wanted) => Promise<Listener[]> {
  const published = new PublishedListeners();
  return async wanted => published.among(await find(wanted), view());
}

function openServing(options: AgentOptions, bootId: string): Promise<Serving> {
  const { driver } = options.config;
  switch (driver) {
    case 'iptables': return openKernel(options, bootId);
    case 'userspace': return openForwarder(options);
    default: return driver satisfies never;
  }
}

function driverNotAdmitted(gateway: string): StartRefused {
  return new StartRefused(EXIT.config, `driver: userspace is for gateways with scope host, and gateway ${gateway} has scope shared: it leads clients to this machine only ` +
    'while the kernel keeps them away from ports without a mapping. Set driver: iptables and start the agent as root, or name a gateway with scope host.');
}

function credentialsOf({ tls }: AgentConfig): ReturnType<typeof clientCredentials> {
  return clientCredentials(tls === undefined ? undefined : loadTls(tls));
}

async function openState(dir: string, owner: Owner): Promise<StateStore> {
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
