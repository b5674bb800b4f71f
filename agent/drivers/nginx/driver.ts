/**
 * Routes served by nginx. Promises:
 * - a port is let through the guard only while the nginx that runs leads it where it should, and nothing that led elsewhere is connected
 *   there or could accept a client;
 * - what runs, what is on disk and what is open agree, also after a config that nginx refused;
 * - a port that cannot be listened on is a problem of its route; the others are served;
 * - one reload an interval at most, but a range that is taken away does not wait; none when nothing has changed.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Clock } from '../../../shared/clock.js';
import type { ObjectProblem, RouteFigures } from '../../../shared/desired.js';
import type { Log } from '../../../shared/log.js';
import { rangeText, type Transport } from '../../../shared/ports.js';
import type { After } from '../../../shared/timers.js';
import { noPorts } from '../../persistent/ports.js';
import type { RunChild } from '../child.js';
import type { Cut } from '../connections/connections.js';
import type { Listener } from '../connections/listeners.js';
import type { Leased } from '../rules/spec.js';
import { adoptable } from './adoption.js';
import { Certificates, poolsWithTls } from './certificates.js';
import { clearedBy, closedIn, isObstructed } from './clearing.js';
import { isMisled, isUrgent, leadsOf, NO_DOORS, opened, openPorts, ready, run, want, type Doors } from './doors.js';
import type { Refusal } from './errors.js';
import { Figures } from './figures.js';
import { forgetOthers, highestSerial, makeFolders, writeConfig, type Config } from './files.js';
import { heldBy, type Held } from './held.js';
import { putAside } from './logs.js';
import { Master } from './master.js';
import { pathsIn, type NginxPaths } from './paths.js';
import { processOf } from './processes.js';
import type { ProxiedRoute } from './route.js';
import type { NginxSettings } from './settings.js';
import { closeRanges } from './sockets.js';
import { configOf, targetOf, type RoutesWanted, type Target } from './target.js';
import { Troubles } from './troubles.js';

export type NginxOptions = {
  settings: NginxSettings;
  run: RunChild;
  /** Lease addresses, in canonical form. */
  addresses: readonly string[];
  isLocal: (address: string) => boolean;
  clock: Clock;
  after: After;
  log: Log;
};

export type { RoutesWanted } from './target.js';

/** Configs that are tried in one round, each without what the one before could not be served with. */
const ATTEMPTS = 4;
const LOOKED_AT_MS = 500;
const HELD_LOOKS = 5;
const ERROR_LOG_BYTES = 4 * 1_048_576;
const HELD_PAUSE_MS = 20;

export class NginxRoutes {
  private readonly paths: NginxPaths;
  private readonly master: Master;
  private readonly certificates: Certificates;
  private readonly counted = new Figures();
  private readonly troubles = new Troubles();
  private doors: Doors = NO_DOORS;
  private wanted: RoutesWanted = { routes: new Map(), occupied: [], own: noPorts() };
  private target: { of: readonly unknown[]; is: Target } | undefined;
  /** What nginx runs. */
  private running: Config | undefined;
  /** The files on disk are those of `running`. */
  private isDiskKnown = false;
  private lookedAt = { atMs: -Infinity, pids: new Map<number, boolean>() };
  /** Logs were put aside: nginx opens others when it is reloaded. */
  private mustReopen = false;
  private proxied: readonly Leased[] = [];
  /** Ports that are ready to be opened, and whose connections were asked for. */
  private asked: ReadonlySet<string> = new Set();
  private lastReloadMs = -Infinity;
  private cancelLater: (() => void) | undefined;
  private onChange: () => void = () => undefined;

  private constructor(private readonly options: NginxOptions) {
    this.paths = pathsIn(options.settings.directory);
    this.certificates = new Certificates({ folder: options.settings.certificates, copies: this.paths.certificates, log: options.log });
    this.master = new Master({ program: options.settings.program, unit: options.settings.unit, paths: this.paths, run: options.run });
  }

  /** Takes over what an earlier agent left: nginx goes on, and what was open stays open. Throws when the folder cannot be used. */
  static async open(options: NginxOptions): Promise<NginxRoutes> {
    const driver = new NginxRoutes(options);
    makeFolders(driver.paths);
    await driver.adopt();
    return driver;
  }

  /** Called when a round could bring something about. */
  notify(onChange: () => void): void {
    this.onChange = onChange;
  }

  /** Ports that the guard may let through from now on: none that is to lead elsewhere. The same list as long as these are the same. */
  admit(wanted: RoutesWanted): readonly Leased[] {
    if (wanted.routes !== this.wanted.routes || wanted.occupied !== this.wanted.occupied || wanted.own !== this.wanted.own) {
      this.wanted = wanted;
      this.counted.want(wanted.routes, this.options.clock.nowMs());
      this.troubles.forgiveFiles();
    }
    this.troubles.expire(this.options.clock.nowMs());
    this.limitLogs();
    this.certificates.refresh(poolsWithTls(wanted.routes.values()));
    this.setDoors(want(this.doors, this.aim().leads));
    this.counted.look(route => this.isOpen(route), this.options.clock.nowMs());
    return this.proxied;
  }

  /** Brings nginx to what was wanted last. The rules stand already: what leads elsewhere until then is guarded. */
  async serve(): Promise<void> {
    const { clock, log } = this.options;
    if (!this.troubles.isKeeping && !this.isDue()) return;
    await this.spareHeld();
    if (!this.isDue()) return;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const refusal = await this.bring(this.aim());
      if (refusal === undefined) {
        if (this.troubles.succeed()) log.info('nginx serves the routes again');
        return;
      }
      if (this.troubles.blame(refusal, this.wanted.routes.values(), clock.nowMs())) {
        log.warn({ problem: refusal.problem }, 'nginx refused a config; trying again without what it does not like');
        this.setDoors(want(this.doors, this.aim().leads));
        continue;
      }
      if (this.troubles.fail(refusal.problem, this.wanted, clock.nowMs())) log.error({ problem: refusal.problem }, 'nginx does not serve the routes; trying again');
      return;
    }
  }

  /** Connections of ports that are ready to be opened, each asked for once. */
  cuts(): Cut[] {
    const fresh = ready(this.doors);
    const cuts = fresh.filter(one => !this.asked.has(keyOf(one))).map(({ transport, ports }) => ({ transport, ports, from: [], dropMs: 0 }));
    this.asked = new Set(fresh.map(keyOf));
    return cuts;
  }

  /** Wanted, and not let through the guard. */
  isClosed(transport: Transport, port: number): boolean {
    return this.doors.wanted[transport].get(port) !== undefined && this.doors.open[transport].get(port) === undefined;
  }

  /** A public port that ends, or may have ended, at nginx. */
  isProxied(transport: Transport, port: number): boolean {
    const { own, occupied } = this.wanted;
    return own[transport].get(port) === undefined && !occupied.some(each => each.transport === transport && each.port === port);
  }

  /** A listener of nginx. Where it is not known whose it is: one that nginx must have. */
  isOwn({ transport, address, port, holder }: Listener): boolean {
    if (holder !== undefined) return this.isNginx(holder.pid);
    return this.options.addresses.includes(address) && this.doors.running[transport].get(port) !== undefined;
  }

  /** Thousands of listeners are asked about at a time, and have few processes: each is looked at once a moment. */
  private isNginx(pid: number): boolean {
    const nowMs = this.options.clock.nowMs();
    if (nowMs - this.lookedAt.atMs > LOOKED_AT_MS) this.lookedAt = { atMs: nowMs, pids: new Map() };
    const known = this.lookedAt.pids.get(pid) ?? processOf(pid, this.options.settings.program, this.paths) !== undefined;
    this.lookedAt.pids.set(pid, known);
    return known;
  }

  /** Every route is served or has a problem. */
  isSettled(): boolean {
    return [...this.wanted.routes.values()].every(route => this.isOpen(route) || this.problemOf(route) !== undefined);
  }

  problems(): ObjectProblem[] {
    return [...this.wanted.routes.values()].flatMap(route => {
      const problem = this.problemOf(route);
      return problem === undefined ? [] : [{ key: route.key, ...problem }];
    });
  }

  figures(): RouteFigures {
    return this.counted.read();
  }

  /** What is ready now, to be told to `settle` when the connections that were there have ended. */
  readyNow(): readonly Leased[] {
    return ready(this.doors);
  }

  /**
   * The connections of these cuts have ended. Returns the cuts that clients could be led elsewhere by still; of the others, what was ready
   * before they were begun is opened.
   */
  async settle(cuts: readonly Cut[], before: readonly Leased[]): Promise<Cut[]> {
    const ours = cuts.filter(({ transport, ports }) => this.wanted.own[transport].get(ports.first) === undefined);
    if (ours.length === 0) return [];
    const carried = await closeRanges(this.options.run, this.options.addresses, closedIn(ours, this.doors, port => this.isProxied('tcp', port)));
    const obstacles = { carried, held: await this.heldByEarlier() };
    this.troubles.hold(obstacles.held);
    const doors = opened(this.doors, clearedBy(ours, before, obstacles));
    if (doors !== this.doors) {
      this.setDoors(doors);
      this.onChange();
    }
    const obstructed = new Set(before.filter(one => isObstructed(one, obstacles)).map(keyOf));
    // The next round asks again.
    this.asked = new Set([...this.asked].filter(key => !obstructed.has(key)));
    return ours.filter(cut => isObstructed(cut, obstacles) || isMisled(this.doors, cut.transport, cut.ports));
  }

  /** Nothing of nginx ends. */
  close(): void {
    this.cancelLater?.();
    this.onChange = () => undefined;
  }

  /** What earlier workers listen on, and nginx does not any more, could not be listened on: they close it in a moment, unless they are stopped. */
  private async spareHeld(): Promise<void> {
    for (let look = 0; look < HELD_LOOKS; look++) {
      if (look > 0) await pause(HELD_PAUSE_MS);
      const held = (await this.heldByEarlier()).filter(({ transport, port }) => this.doors.running[transport].get(port) === undefined);
      this.troubles.keep(held);
      if (held.length === 0) break;
    }
    this.setDoors(want(this.doors, this.aim().leads));
  }

  private async heldByEarlier(): Promise<Held[]> {
    return (await heldBy(this.master.earlier())).filter(({ address }) => this.options.addresses.includes(address));
  }

  private async adopt(): Promise<void> {
    const process = this.master.adopt();
    const left = process && await adoptable({ process, paths: this.paths, run: this.options.run, here: this.here() });
    if (process === undefined || left === undefined) return;
    this.setDoors(left.doors);
    this.running = left.running;
    this.certificates.adopt(left.running.routes);
    this.options.log.info({ pid: process.pid, routes: left.running.routes.length }, 'nginx runs already; its routes stay');
  }

  /** Something has to be done, and may be done now. */
  private isDue(): boolean {
    const { clock, settings: { reloadMs } } = this.options;
    const isAlive = this.master.isAlive();
    if (isAlive ? this.runsAlready() : this.wanted.routes.size === 0) return false;
    if (this.troubles.mustWait(this.wanted, clock.nowMs())) return false;
    const waitMs = this.lastReloadMs + reloadMs - clock.nowMs();
    if (!isAlive || waitMs <= 0 || isUrgent(this.doors) || this.hasFence()) return true;
    this.later(waitMs);
    return false;
  }

  /** A range that another host had waits to be served: its environment waits for that. */
  private hasFence(): boolean {
    return [...this.wanted.routes.values()].some(route => route.isFenced && !this.isOpen(route));
  }

  private limitLogs(): void {
    const { accessLogBytes } = this.options.settings;
    const isLong = [putAside(this.paths.errorLog, ERROR_LOG_BYTES), accessLogBytes > 0 && putAside(this.paths.accessLog, accessLogBytes)];
    this.mustReopen ||= isLong.includes(true);
  }

  private runsAlready(): boolean {
    const { running, paths, options: { settings } } = this;
    if (running === undefined || this.mustReopen) return false;
    const { main, files } = configOf(running.serial, this.aim(), { settings, paths });
    return running.main === main && running.files.size === files.size && [...files].every(([name, text]) => running.files.get(name) === text);
  }

  private here(): string[] {
    return this.options.addresses.filter(this.options.isLocal);
  }

  /** The same object for as long as it says the same. */
  private aim(): Target {
    const here = this.here();
    const of = [this.wanted, this.troubles.version, this.certificates.version, here.join()];
    if (this.target === undefined || of.some((part, i) => part !== this.target?.of[i])) this.target = { of, is: targetOf(this.wanted, { here, certificateOf: pool => this.certificates.fileOf(pool) }, this.troubles) };
    return this.target.is;
  }

  private async bring(target: Target): Promise<Refusal | undefined> {
    const { master, paths, running, options: { settings, log, clock } } = this;
    const config = configOf(highestSerial(paths) + 1, target, { settings, paths });
    const { serial } = config;
    const isAlive = master.isAlive();
    writeConfig(paths, config, this.isDiskKnown ? running?.files : undefined);
    this.isDiskKnown = false;
    const refusal = await master.test() ?? (isAlive ? await master.reload(serial) : await master.start(serial));
    this.lastReloadMs = clock.nowMs();
    if (refusal === undefined) this.counted.took();
    else this.counted.refused();
    if (refusal === undefined) {
      log.info({ routes: config.routes.length, serial, pid: master.running?.pid }, isAlive ? 'nginx was reloaded' : 'nginx was started');
      this.runs(config);
    } else if (!master.isAlive()) this.runs(undefined);
    else if (running !== undefined) writeConfig(paths, running, undefined);
    return refusal;
  }

  private runs(config: Config | undefined): void {
    this.running = config;
    this.isDiskKnown = config !== undefined;
    this.mustReopen = false;
    this.setDoors(run(this.doors, leadsOf(config?.routes ?? [])));
    this.certificates.forgetOthers(config?.routes ?? []);
    forgetOthers(this.paths, new Set([...config === undefined ? [] : [config.serial], ...this.master.find().map(({ serial }) => serial)]));
  }

  private problemOf(route: ProxiedRoute): Omit<ObjectProblem, 'key'> | undefined {
    const { pool = '', tls = 'none' } = route.connections ?? {};
    if (tls === 'terminate' && this.certificates.fileOf(pool) === undefined) return { reason: 'CERTIFICATE_UNUSABLE', message: this.certificates.problemOf(pool) };
    const missingAddresses = this.options.addresses.filter(address => !this.options.isLocal(address));
    return this.troubles.problemOf(route, { occupied: this.wanted.occupied, missingAddresses, isOpen: this.isOpen(route) });
  }

  private isOpen({ transports, ports }: ProxiedRoute): boolean {
    for (const transport of transports) {
      for (let port = ports.first; port <= ports.last; port++) if (this.doors.open[transport].get(port) === undefined) return false;
    }
    return true;
  }

  private setDoors(doors: Doors): void {
    const isSame = doors.open === this.doors.open;
    this.doors = doors;
    if (isSame) return;
    const proxied = openPorts(doors);
    if (proxied.map(keyOf).join() !== this.proxied.map(keyOf).join()) this.proxied = proxied;
  }

  private later(delayMs: number): void {
    this.cancelLater?.();
    this.cancelLater = this.options.after(delayMs, () => this.onChange());
  }
}

function keyOf({ transport, ports }: Leased): string {
  return `${transport} ${rangeText(ports)}`;
}
