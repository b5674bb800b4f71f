/** A coordinator of its own for each test: real servers, real SQLite, short timings, nothing outside of its folder. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { loadCoordinatorConfig } from '../../../coordinator/config.js';
import { runCoordinator, type RunningCoordinator } from '../../../coordinator/run.js';
import { systemClock } from '../../../shared/clock.js';
import { createLogger } from '../../../shared/log.js';
import { Api } from '../../support/api.js';
import { FakeAgent, type FakeAgentOptions } from './fake-agent.js';

const TIMING = { 'timing.heartbeat': '200ms', 'timing.deadline': '200ms', 'timing.suspect': '1500ms', 'timing.lost': '3s' };

const SEED = `
admit: any
gateways:
  - gateway: gw
    scope: shared
    publicHost: 203.0.113.1
    pools:
      - {pool: ssh, serviceType: ssh, ranges: [30000-30099], protocol: tcp, defaultInternalPort: 22, quarantine: 1s}
      - {pool: rdp, serviceType: rdp, ranges: [31000-31009], protocol: tcp+udp, defaultInternalPort: 3389, quarantine: 1s}
      - {pool: tiny, serviceType: tiny, ranges: [32000-32001], protocol: tcp, defaultInternalPort: 80, quarantine: 1s}
  - gateway: edge
    scope: host
    pools:
      - {pool: ssh, serviceType: ssh, ranges: [30000-30009], protocol: tcp, defaultInternalPort: 22, quarantine: 1s}
`;

export class TestCoordinator {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'portlease-rpc-'));
  readonly socket = path.join(this.folder, 'run', 'c.sock');
  readonly log: string[] = [];
  readonly #agents: FakeAgent[] = [];
  #running: RunningCoordinator | undefined;
  #api: Api | undefined;

  static async start(flags: Record<string, string> = {}): Promise<TestCoordinator> {
    const coordinator = new TestCoordinator();
    writeFileSync(path.join(coordinator.folder, 'c.yaml'), SEED);
    await coordinator.boot(flags);
    return coordinator;
  }

  get api(): Api {
    if (this.#api === undefined) throw new Error('the coordinator is not running');
    return this.#api;
  }

  get address(): string {
    return `127.0.0.1:${this.#running?.port}`;
  }

  async boot(flags: Record<string, string> = {}): Promise<void> {
    const set = { 'listen.grpc': '127.0.0.1:0', 'listen.unix': this.socket, 'database.path': path.join(this.folder, 'c.db'), ...TIMING, ...flags };
    const config = loadCoordinatorConfig({ configPath: path.join(this.folder, 'c.yaml'), set }, {});
    const log = createLogger({ name: 'test', level: 'info', destination: { write: (line: string) => { this.log.push(line); } } });
    this.#running = await runCoordinator({ config, log, clock: systemClock(), random: Math.random, env: {} });
    this.#api = new Api(this.address, 10_000);
  }

  async shutdown(): Promise<void> {
    for (const agent of this.#agents.splice(0)) agent.close();
    this.#api?.close();
    await this.#running?.close();
    this.#running = undefined;
  }

  /** Stops the coordinator under its agents. */
  async stop(): Promise<void> {
    await this.#running?.close();
    this.#running = undefined;
  }

  /** An agent whose session is open. */
  async agent(options: Omit<FakeAgentOptions, 'address'>): Promise<FakeAgent> {
    const agent = new FakeAgent({ address: this.address, ...options });
    this.#agents.push(agent);
    await agent.open();
    return agent;
  }

  /** The newest agent of this host. */
  agentOf(host: string): FakeAgent {
    const agent = this.#agents.findLast((one) => one.host === host);
    if (agent === undefined) throw new Error(`there is no agent of ${host}`);
    return agent;
  }

  async close(): Promise<void> {
    await this.shutdown();
    rmSync(this.folder, { recursive: true });
  }
}
