/** The coordinator as it is shipped, as a process of its own on a unix socket: to be killed and started again on the same files. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Connection, type Value } from '../../../coordinator/journal/sqlite/connection.js';
import type { HeldGrant } from '../../../shared/desired.js';
import { Api } from '../../support/api.js';
import { LoggedProcess } from '../../support/logged-process.js';
import { FakeAgent, type FakeAgentOptions } from '../rpc/fake-agent.js';

const MAIN = path.resolve(import.meta.dirname, '../../../dist/coordinator/main.js');
const START_MS = 60_000;

export type PoolSeed = { pool: string; ranges: string[]; protocol: string; defaultInternalPort: number; quarantine: string };

export type DaemonOptions = {
  pools: PoolSeed[];
  timing: { heartbeat: string; deadline: string; suspect: string; lost: string };
  /** Where the database is, when not beside the rest. */
  databaseFolder?: string;
  /** Each write of a commit comes up to so many µs later. */
  slowWalUs?: number;
};

export const GATEWAY = 'gw';

export class Daemon {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'portlease-daemon-'));
  readonly socket = path.join(this.folder, 'c.sock');
  readonly database: string;
  /** When the process that runs was asked for: it cannot have started earlier. */
  startedAtMs = 0;
  readonly #config = path.join(this.folder, 'c.yaml');
  readonly #apis: Api[] = [];
  readonly #env: Record<string, string> = {};
  #process: LoggedProcess | undefined;

  constructor({ pools, timing, databaseFolder = this.folder, slowWalUs }: DaemonOptions) {
    if (slowWalUs !== undefined) this.#env = slowWal(this.folder, slowWalUs);
    this.database = path.join(databaseFolder, 'coordinator.db');
    mkdirSync(databaseFolder, { recursive: true });
    writeFileSync(this.#config, JSON.stringify({
      listen: { grpc: '127.0.0.1:0', unix: this.socket }, database: { path: this.database }, timing, admit: 'any',
      gateways: [{ gateway: GATEWAY, scope: 'shared', publicHost: '203.0.113.1', pools }],
    }));
  }

  get address(): string {
    return `unix:${this.socket}`;
  }

  get process(): LoggedProcess {
    if (this.#process === undefined) throw new Error('the coordinator was not started');
    return this.#process;
  }

  /** Resolves when it says that it serves. */
  async start(): Promise<void> {
    this.startedAtMs = Date.now();
    this.#process = new LoggedProcess([process.execPath, MAIN, '--config', this.#config], { logFile: path.join(this.folder, 'coordinator.log'), env: this.#env });
    await this.#process.line(/"msg":"serving"/, START_MS);
  }

  /** A connection of its own. */
  api(deadlineMs = 30_000): Api {
    const api = new Api(this.address, deadlineMs);
    this.#apis.push(api);
    return api;
  }

  /** An agent whose session is open. `before`: its last life, whose state it has kept. */
  async agent(options: Omit<FakeAgentOptions, 'address'>, before?: FakeAgent): Promise<FakeAgent> {
    const agent = new FakeAgent({ address: this.address, lastSession: before?.session ?? 0, ...options });
    try {
      await agent.open(before === undefined ? {} : keptBy(before));
    } catch (error) {
      agent.close();
      throw error;
    }
    return agent;
  }

  /** SIGKILL, and everything that was connected to it closed. */
  async kill(): Promise<void> {
    await this.process.stop('SIGKILL');
    for (const api of this.#apis.splice(0)) api.close();
  }

  /** As an operator's shell would. */
  async select<Row>(sql: string, ...values: Value[]): Promise<Row[]> {
    const reader = await Connection.open(this.database, 'readOnly');
    try {
      return await reader.all<Row>(sql, ...values);
    } finally {
      await reader.close();
    }
  }

  async close(): Promise<void> {
    for (const api of this.#apis.splice(0)) api.close();
    await this.#process?.stop('SIGKILL');
    rmSync(this.folder, { recursive: true });
  }
}

function slowWal(folder: string, longestUs: number): Record<string, string> {
  const library = path.join(folder, 'slow-wal.so');
  execFileSync('cc', ['-shared', '-fPIC', '-o', library, path.join(import.meta.dirname, 'slow-wal.c'), '-ldl']);
  return { LD_PRELOAD: library, SLOW_WAL_US: String(longestUs) };
}

/** What an agent would have on its disk. */
function keptBy(agent: FakeAgent) {
  const leases: HeldGrant[] = [];
  const routes: HeldGrant[] = [];
  for (const object of agent.objects.values()) {
    if (object.kind === 'lease') leases.push({ ...object, host: '' });
    else if (object.kind === 'route') routes.push(object);
  }
  return { accepted: agent.version, leases, routes };
}
