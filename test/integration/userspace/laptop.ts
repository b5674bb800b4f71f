/**
 * A machine on which nobody is root: coordinator and agents as they are built, run by an ordinary user, in a network namespace of
 * their own. Services and clients are other processes there.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AskedProcess } from '../../support/asked-process.js';
import { Api } from '../../support/api.js';
import { LoggedProcess } from '../../support/logged-process.js';
import { inNamespace, removeNamespaces } from '../../support/netns.js';
import { Wait, want } from '../../support/requests.js';
import { ROOT } from '../../support/root.js';
import { run } from '../../support/run.js';
import type { AllocatePortsRequest, DeepPartial, Mapping, Want } from '../../../shared/gen/portlease/v1/ports.js';
import { eventually } from '../../support/wait.js';

/** nobody. */
const USER = 65_534;
export const LEASE = '10.99.1.1';
export const LEASE_V6 = 'fd99:1::1';
export const TARGET = '10.99.2.1';
export const TARGET_V6 = 'fd99:2::1';
/** Packets to this address get no answer. */
export const SILENT = '10.99.3.3';
export const QUARANTINE_MS = 500;

const COORDINATOR = '127.0.0.1:7410';
const PRIVILEGES = ['--inh-caps=-all', '--bounding-set=-all', '--no-new-privs'];
/** Where the project lies in a folder that only root may look into, this is all that the user may do beyond others. */
const READ_ONLY = ['--inh-caps=-all,+dac_read_search', '--ambient-caps=+dac_read_search', '--bounding-set=-all,+dac_read_search', '--no-new-privs'];

let laptops = 0;
let privileges: readonly string[] | undefined;

export type Program = LoggedProcess;

export class Laptop {
  readonly directory = mkdtempSync(join(tmpdir(), 'pluser-'));
  readonly api: Api;
  readonly #namespace = `pluser-${process.pid}-${++laptops}`;
  readonly #programs: LoggedProcess[] = [];
  #guest: Guest | undefined;

  private constructor() {
    chownSync(this.directory, USER, USER);
    this.api = new Api(`unix:${join(this.directory, 'c.sock')}`);
  }

  static async start({ scope = 'host' }: { scope?: 'host' | 'shared' } = {}): Promise<Laptop> {
    const laptop = new Laptop();
    try {
      await laptop.#network();
      privileges ??= await mayRead() ? PRIVILEGES : READ_ONLY;
      laptop.#coordinator(scope);
      await eventually('the coordinator to serve', () => laptop.api.isServing(), { withinMs: 20_000, hint: () => laptop.logs() });
      laptop.#guest = new Guest(laptop.#namespace);
      return laptop;
    } catch (error) {
      await laptop.close();
      throw error;
    }
  }

  get guest(): Guest {
    if (this.#guest === undefined) throw new Error('the laptop was not started');
    return this.#guest;
  }

  async stopCoordinator(): Promise<void> {
    await this.#programs[0]?.stop('SIGKILL');
  }

  /** Does not wait for its session. `files`: how many it may open. */
  agent(config: Record<string, unknown> = {}, { files, home = 'home' }: { files?: number; home?: string } = {}): LoggedProcess {
    const file = join(this.directory, `agent-${this.#programs.length}.yaml`);
    writeFileSync(file, JSON.stringify({
      host: 'laptop', gateway: 'home', driver: 'userspace', coordinator: COORDINATOR, addresses: [LEASE, LEASE_V6], targetNetworks: ['10.99.0.0/16', 'fd99::/16'],
      timing: { reconcileInterval: '200ms', reconnectMin: '50ms', reconnectMax: '200ms' }, log: { level: 'debug' }, ...config,
    }));
    const limit = files === undefined ? [] : ['prlimit', `--nofile=${files}`];
    return this.#start([...limit, process.execPath, join(ROOT, 'dist/agent/main.js'), '--config', file], { HOME: join(this.directory, home) });
  }

  /** An agent whose session is open. */
  async connected(...args: Parameters<Laptop['agent']>): Promise<LoggedProcess> {
    const agent = this.agent(...args);
    await agent.line(/"msg":"session with the coordinator"/, 20_000);
    return agent;
  }

  /** One environment of this name with these wants, live. */
  async allocate(environment: string, wants: DeepPartial<Want>[], over: DeepPartial<AllocatePortsRequest> = {}): Promise<Mapping[]> {
    return (await this.api.allocate({ tenant: 't', environment, host: 'laptop', wants, wait: Wait.WAIT_LIVE, ...over })).mappings;
  }

  /** An environment with one port that leads to this place. */
  async port(environment: string, internalPort: number, target = TARGET): Promise<number> {
    const [mapping] = await this.allocate(environment, [want('tcp', target, { internalPort })]);
    if (mapping === undefined) throw new Error('nothing was allocated');
    return mapping.publicPort;
  }

  /** As root, in the namespace. */
  async asRoot(...argv: string[]): Promise<string> {
    return (await run(inNamespace(this.#namespace, argv))).stdout;
  }

  logs(): string {
    return this.#programs.map(program => program.tail()).join('\n');
  }

  async close(): Promise<void> {
    this.api.close();
    await this.#guest?.close();
    await Promise.all(this.#programs.map(program => program.stop('SIGKILL')));
    removeNamespaces([this.#namespace]);
    rmSync(this.directory, { recursive: true });
  }

  async #network(): Promise<void> {
    await run(['ip', 'netns', 'add', this.#namespace]);
    for (const argv of [
      ['link', 'set', 'lo', 'up'],
      ...[LEASE, TARGET, SILENT].map(address => ['addr', 'add', `${address}/32`, 'dev', 'lo']),
      ...[LEASE_V6, TARGET_V6].map(address => ['addr', 'add', `${address}/128`, 'dev', 'lo', 'nodad']),
    ]) await run(['ip', '-n', this.#namespace, ...argv]);
    await this.asRoot('iptables', '-A', 'INPUT', '-d', SILENT, '-j', 'DROP');
  }

  #coordinator(scope: 'host' | 'shared'): void {
    const file = join(this.directory, 'coordinator.yaml');
    const pool = { serviceType: 'x', quarantine: `${QUARANTINE_MS}ms`, defaultInternalPort: 22 };
    writeFileSync(file, JSON.stringify({
      listen: { grpc: COORDINATOR, unix: join(this.directory, 'c.sock') }, database: { path: join(this.directory, 'c.db') },
      timing: { heartbeat: '500ms', deadline: '300ms', suspect: '1500ms', lost: '3s' }, admit: 'any',
      gateways: [{
        gateway: 'home', scope, ...(scope === 'shared' ? { publicHost: '203.0.113.1' } : {}),
        pools: [{ pool: 'tcp', ranges: ['20000-20099'], protocol: 'tcp', ...pool }, { pool: 'both', ranges: ['21000-21009'], protocol: 'tcp+udp', ...pool, serviceType: 'y' }],
      }],
    }));
    this.#start([process.execPath, join(ROOT, 'dist/coordinator/main.js'), '--config', file], {});
  }

  #start(argv: readonly string[], env: Record<string, string>): LoggedProcess {
    mkdirSync(join(this.directory, 'logs'), { recursive: true });
    const logFile = join(this.directory, 'logs', `${this.#programs.length}.log`);
    const program = new LoggedProcess(inNamespace(this.#namespace, asUser(privileges ?? PRIVILEGES, argv)), { logFile, env });
    this.#programs.push(program);
    return program;
  }
}

function asUser(how: readonly string[], argv: readonly string[]): string[] {
  return ['setpriv', `--reuid=${USER}`, `--regid=${USER}`, '--clear-groups', ...how, ...argv];
}

async function mayRead(): Promise<boolean> {
  const [file, ...argv] = asUser(PRIVILEGES, [process.execPath, join(ROOT, 'dist/agent/main.js'), '--version']);
  const child = spawn(file ?? '', argv, { stdio: 'ignore' });
  const [code] = await once(child, 'close') as [number | null];
  return code === 0;
}

type Place = { address: string; port: number };

/** See guest.mjs. */
export class Guest extends AskedProcess {
  constructor(namespace: string) {
    super(inNamespace(namespace, [process.execPath, join(import.meta.dirname, 'guest.mjs')]));
  }

  /** A service that answers "WHO QUESTION"; with `bytes`, one that answers digests and that much (see transfer). */
  listen(place: Place & { who?: string; bytes?: number }): Promise<unknown> {
    return this.tell({ command: 'listen', ...place });
  }

  stop(place: Place): Promise<unknown> {
    return this.tell({ command: 'stop', ...place });
  }

  /** Sends so many bytes, ends that direction, and compares what was received on either side with what was sent. */
  async transfer(place: Place & { bytes: number }): Promise<{ up: boolean; down: boolean; received: number }> {
    return await this.tell({ command: 'transfer', ...place }) as Awaited<ReturnType<Guest['transfer']>>;
  }

  /** The answer, or the code of the error, or "closed". The connection stays open under its name. */
  async ask(place: Place & { name?: string }): Promise<{ answer: string; afterMs: number }> {
    return await this.tell({ command: 'ask', ...place }) as Awaited<ReturnType<Guest['ask']>>;
  }

  async askMany(place: Place & { count: number }): Promise<{ own: number; open: number }> {
    return await this.tell({ command: 'askMany', ...place }) as Awaited<ReturnType<Guest['askMany']>>;
  }

  async isOpen(name: string): Promise<boolean> {
    return await this.tell({ command: 'isOpen', name }) as boolean;
  }

  async hangUp(name: string): Promise<void> {
    await this.tell({ command: 'hangUp', name });
  }
}
