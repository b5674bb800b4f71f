/**
 * The tunnels of this host: those of its config, and those that the coordinator asks for. It promises:
 * - a tunnel's processes are its own by their mark, their start time and this network namespace; nothing else is ever ended;
 * - what an earlier agent started goes on untouched while it is still what is wanted, and is ended before anything takes its place otherwise;
 * - close() leaves the connections as they are.
 */
import { createHash } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../shared/clock.js';
import type { Log } from '../../shared/log.js';
import { parseCidr, type Cidr } from '../../shared/names.js';
import { every, systemTimers, type Timers } from '../../shared/timers.js';
import type { TunnelEngine, TunnelReport, TunnelSpec } from '../../shared/tunnel.js';
import { SEARCH_PATH } from '../drivers/child.js';
import { adoptionOf } from './adoption.js';
import { commandOf, digestOf, tunnelId, type Command } from './argv.js';
import { specsOf, type TunnelsConfig } from './config.js';
import { keyProblem, knownHostsPath, writeKnownHosts } from './keys.js';
import type { Launch } from './launch.js';
import { startedWith } from './live.js';
import { TunnelLog } from './logs.js';
import { refusalOf, type Policy } from './policy.js';
import type { FindHolders } from './ports.js';
import { processesOfTunnels } from './processes.js';
import { Records } from './records.js';
import type { TunnelProcess } from '../leaks/findings.js';
import { Worker, type Prepared, type Wish } from './worker.js';
import type { HeldForward, HeldSpec, Settings } from './words.js';

/** What the coordinator wants of a tunnel. `isOfConfig`: it is about the one of this name in the config of this host, and changes nothing else of it. */
export type TunnelWish = { readonly spec: HeldSpec; readonly restart: number; readonly isStopped: boolean; readonly isOfConfig?: boolean };

/** What carries ports of this host's leases: its forwards change without a new connection. */
export type LeaseWish = { readonly spec: HeldSpec };

export type TunnelsOptions = {
  readonly host: string;
  /** Where tunnels may listen, too. */
  readonly addresses: readonly string[];
  readonly config: TunnelsConfig;
  /** What is in it is made when it is needed. */
  readonly stateDir: string;
  /** For control sockets: a folder with a short path, made when it is needed. */
  readonly controlDir: string;
  readonly bootId: string;
  readonly uid: number;
  readonly launch: Launch;
  readonly find: FindHolders;
  readonly onChange: () => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly timers?: Timers;
  readonly settings?: Partial<Settings>;
  /** Between two looks at the logs. */
  readonly keepLogsMs?: number;
};

/** In the folder of the state: known hosts, and logs unless the config says otherwise. */
const FOLDER = 'tunnels';
const KEEP_LOGS_MS = 5_000;
const MAX_REPORTS = 256;
/** Statistics are told anew so often. */
const TELL_MS = 15_000;
const MAX_REPORTED_FORWARDS = 64;
/** Starts of tunnels that are new at one time are spread: each later than the one before by up to SPREAD_EACH_MS, none later than SPREAD_MS. */
const SPREAD_MS = 10_000;
const SPREAD_EACH_MS = 100;

const SETTINGS: Omit<Settings, 'backoff' | 'probeFailures' | 'flapping'> = {
  killAfterMs: 300, patienceMs: 5_000, blockedMs: 1_000, connectMs: 20_000, retakeMs: 15_000, stableMs: 10_000, refusedMs: 30_000,
};

export class Tunnels {
  readonly #options: Required<Omit<TunnelsOptions, 'settings'>>;
  readonly #settings: Settings;
  readonly #records: Records;
  readonly #left: Map<string, TunnelProcess[]>;
  readonly #workers = new Map<string, Worker>();
  readonly #ofConfig: ReadonlyMap<string, TunnelSpec>;
  readonly #policy: Policy;
  #endTimers: () => void = () => undefined;
  #keeping: Promise<unknown> = Promise.resolve();
  #isKeeping = false;
  /** Of those that are new at a time. */
  #started = 0;

  private constructor({ settings, ...options }: TunnelsOptions, records: Records, left: Map<string, TunnelProcess[]>) {
    this.#options = { timers: systemTimers, keepLogsMs: KEEP_LOGS_MS, ...options };
    const { config, host, addresses } = options;
    const { backoff, probeFailures, flapping } = config;
    this.#settings = {
      ...SETTINGS, backoff: { baseMs: backoff.min, maxMs: backoff.max }, probeFailures, flapping: { downs: flapping.downs, windowMs: flapping.window }, ...settings,
    };
    this.#records = records;
    this.#left = left;
    this.#ofConfig = new Map(specsOf(config, host).map(spec => [spec.tunnel, spec]));
    this.#policy = { servers: config.servers, options: config.options, minPort: config.forwards.minPort, to: config.forwards.to, listen: [...config.forwards.listen, ...addresses.flatMap(onlyThis)] };
  }

  /**
   * Starts what is wanted, or takes its connections over. `desired`: as for setDesired; undefined: not known yet, so tunnels of the config are begun, and what the
   * coordinator wanted last is left as it is. Throws when its files cannot be read or written.
   */
  static async open(options: TunnelsOptions, desired: readonly TunnelWish[] | undefined, leases: readonly LeaseWish[] = []): Promise<Tunnels> {
    const { stateDir, config, bootId } = options;
    await writeKnownHosts(join(stateDir, FOLDER), config.servers);
    const tunnels = new Tunnels(options, await Records.open(join(stateDir, 'tunnels.json'), bootId), await processesOfTunnels());
    tunnels.#begin(desired, leases);
    return tunnels;
  }

  /** Ids of the tunnels that there are, also while they are being ended: their processes are no leaks. */
  known(): ReadonlySet<string> {
    return new Set([...this.#workers.keys(), ...this.#records.names()].map(name => tunnelId(this.#options.host, name)));
  }

  /** In order of their names, as many as a report may have. */
  reports(): TunnelReport[] {
    return [...this.#workers].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, worker]) => (worker.isGone ? [] : [shortened(worker.report())])).slice(0, MAX_REPORTS);
  }

  /** All that the coordinator wants of this host; what it does not name is ended and forgotten, the tunnels of the config excepted. */
  setDesired(wishes: readonly TunnelWish[], leases: readonly LeaseWish[] = []): void {
    this.#started = 0;
    const wanted = this.#wantedByConfig();
    for (const { spec, restart, isStopped, isOfConfig } of wishes) {
      const own = this.#ofConfig.get(spec.tunnel);
      // A name that the config has goes first; an order for one that it has no more is about nothing.
      if ((own !== undefined) !== (isOfConfig === true)) continue;
      wanted.set(spec.tunnel, { spec: own ?? spec, restart, wanted: isStopped ? 'stopped' : 'up', isFromConfig: own !== undefined });
    }
    for (const { spec } of leases) wanted.set(spec.tunnel, { spec, restart: 0, wanted: 'up', isFromConfig: true, isLive: true });
    for (const [name, wish] of wanted) this.#want(name, wish);
    for (const [name, worker] of this.#workers) {
      const spec = worker.report().spec;
      if (!wanted.has(name)) worker.want({ spec, restart: worker.report().restart, wanted: 'removed', isFromConfig: false });
    }
    this.#endUnwanted(wanted);
  }

  /** Forwards of a connection that lead through at the moment. */
  standing(tunnel: string): readonly HeldForward[] {
    return this.#workers.get(tunnel)?.standing() ?? [];
  }

  /** What is wrong with it; '' when nothing is known. */
  whyDown(tunnel: string): string {
    const report = this.#workers.get(tunnel)?.report();
    if (report === undefined) return '';
    return report.reason === '' ? this.#workers.get(tunnel)?.refusal ?? '' : `${report.reason}: ${report.message}`;
  }

  /** Adds a forward to a connection that is up, without connecting anew. */
  async addForward(tunnel: string, forward: HeldForward): Promise<void> {
    await this.#worker(tunnel).addForward(forward);
  }

  async cancelForward(tunnel: string, forward: HeldForward): Promise<void> {
    await this.#worker(tunnel).cancelForward(forward);
  }

  async close(): Promise<void> {
    this.#endTimers();
    await this.#keeping;
    await Promise.all(Array.from(this.#workers.values(), worker => worker.close()));
    await this.#records.close();
  }

  #begin(desired: readonly TunnelWish[] | undefined, leases: readonly LeaseWish[]): void {
    if (desired !== undefined) this.setDesired(desired, leases);
    else for (const [name, wish] of this.#wantedByConfig()) this.#want(name, wish);
    const { timers, keepLogsMs, onChange } = this.#options;
    const keep = every(timers, keepLogsMs, () => {
      this.#keepLogs();
    });
    const tell = every(timers, TELL_MS, () => {
      if (this.#workers.size > 0) onChange();
    });
    this.#endTimers = () => {
      keep();
      tell();
    };
  }

  #keepLogs(): void {
    if (this.#isKeeping) return;
    this.#isKeeping = true;
    this.#keeping = Promise.all(Array.from(this.#workers.values(), worker => worker.keepLog())).finally(() => { this.#isKeeping = false; });
  }

  /** Without an order a connection stays that of the last one. */
  #wantedByConfig(): Map<string, Wish> {
    const restartOf = (name: string): number => this.#workers.get(name)?.report().restart ?? this.#records.get(name)?.restart ?? 0;
    return new Map(Array.from(this.#ofConfig, ([name, spec]): [string, Wish] => [name, { spec, restart: restartOf(name), wanted: 'up', isFromConfig: true }]));
  }

  #worker(name: string): Worker {
    const worker = this.#workers.get(name);
    if (worker === undefined) throw new Error(`there is no tunnel ${name}`);
    return worker;
  }

  #want(name: string, wish: Wish): void {
    const known = this.#workers.get(name);
    if (known !== undefined && !known.isGone) return known.want(wish);
    const { host, clock } = this.#options;
    const record = this.#records.get(name);
    const left = this.#left.get(tunnelId(host, name)) ?? [];
    const engine = this.#engineOf(wish.spec);
    const command = refusalOf(wish.spec, this.#policy, wish) === undefined ? this.#commandOf(startedWith(wish)) : undefined;
    const adoption = adoptionOf(record, left, { digest: command === undefined ? '' : digestOf(command), restart: wish.restart, engine, isWantedUp: wish.wanted === 'up' && command !== undefined });
    const worker = this.#newWorker(name, wish, { record, startAtMs: clock.nowMs() + (left.length > 0 ? 0 : this.#spreadMs()) });
    this.#workers.set(name, worker);
    this.#left.delete(tunnelId(host, name));
    if (adoption.kind === 'adopt') worker.adopt(adoption.leader);
    else worker.start();
  }

  /** The first one begins at once. */
  #spreadMs(): number {
    return Math.min(SPREAD_MS, this.#started++ * SPREAD_EACH_MS) * (0.5 + this.#options.random() / 2);
  }

  #newWorker(name: string, wish: Wish, from: ConstructorParameters<typeof Worker>[2]): Worker {
    const { host, config: { logs }, launch, find, onChange, clock, random, log, timers } = this.#options;
    const controlPath = this.#controlPath(name);
    const worker: Worker = new Worker({
      id: tunnelId(host, name), settings: this.#settings, controlPath, launch, find, onChange, clock, random, log, timers,
      tunnelLog: new TunnelLog(this.#logPath(name), { maxBytes: logs.maxKiB * 1_024, keep: logs.keep }),
      prepare: one => this.#prepare(one), makeRoom: () => this.#makeRoom(controlPath),
      record: record => this.#records.set(record),
      forget: () => this.#forget(name, worker),
    }, wish, from);
    return worker;
  }

  /** Its log stays, for who wants to know why. */
  #forget(name: string, worker: Worker): void {
    const { log, onChange } = this.#options;
    if (this.#workers.get(name) === worker) this.#workers.delete(name);
    this.#records.delete(name).catch((error: unknown) => { log.warn({ tunnel: name, problem: (error as Error).message }, 'a tunnel that was removed could not be forgotten on disk'); });
    onChange();
  }

  async #prepare(wish: Wish): Promise<Prepared> {
    const why = refusalOf(wish.spec, this.#policy, wish);
    if (why !== undefined) return { kind: 'refused', why };
    const problem = await keyProblem(this.#policy.servers[wish.spec.server]?.keyFile ?? '', this.#options.uid);
    if (problem !== undefined) return { kind: 'refused', why: { reason: 'KEY_UNREADABLE', message: problem } };
    return { kind: 'command', command: this.#commandOf(startedWith(wish)), engine: this.#engineOf(wish.spec) };
  }

  #engineOf({ engine }: HeldSpec): TunnelEngine {
    return engine ?? this.#options.config.engine;
  }

  /** Of a spec that is allowed. */
  #commandOf(spec: HeldSpec): Command {
    const { host, stateDir } = this.#options;
    const server = this.#policy.servers[spec.server];
    if (server === undefined) throw new Error(`there is no server ${spec.server}`);
    const places = { controlPath: this.#controlPath(spec.tunnel), knownHosts: knownHostsPath(join(stateDir, FOLDER), spec.server), log: this.#logPath(spec.tunnel) };
    return commandOf({ spec, server, engine: this.#engineOf(spec), id: tunnelId(host, spec.tunnel), places, path: SEARCH_PATH });
  }

  #logPath(name: string): string {
    const { config: { logs }, stateDir } = this.#options;
    return join(logs.dir ?? join(stateDir, FOLDER), `${name}.log`);
  }

  async #makeRoom(controlPath: string): Promise<void> {
    await mkdir(this.#options.controlDir, { recursive: true, mode: 0o700 });
    await rm(controlPath, { force: true });
  }

  /** ssh adds 17 characters while it makes the socket, and the kernel takes 107. */
  #controlPath(name: string): string {
    return join(this.#options.controlDir, createHash('sha256').update(name).digest('hex').slice(0, 12));
  }

  /** What an earlier agent recorded, and nobody wants any more. What bears a mark of this host without a record is a leak: agent/leaks tells of it. */
  #endUnwanted(wanted: ReadonlyMap<string, unknown>): void {
    const { host } = this.#options;
    for (const name of this.#records.names()) {
      if (wanted.has(name) || this.#workers.has(name)) continue;
      const spec: TunnelSpec = { tunnel: name, host, server: '', forwards: [], engine: undefined, probe: undefined, options: {} };
      this.#want(name, { spec, restart: 0, wanted: 'removed', isFromConfig: false });
    }
  }
}

function onlyThis(address: string): Cidr[] {
  const cidr = parseCidr(`${address}/${address.includes(':') ? 128 : 32}`);
  return cidr === undefined ? [] : [cidr];
}

/** A report has no more forwards than a tunnel that is asked for over RPC may have. */
function shortened(report: TunnelReport): TunnelReport {
  const { spec } = report;
  return spec.forwards.length <= MAX_REPORTED_FORWARDS ? report : { ...report, spec: { ...spec, forwards: spec.forwards.slice(0, MAX_REPORTED_FORWARDS) } };
}
