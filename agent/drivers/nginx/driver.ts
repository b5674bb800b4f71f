/**
 * Routes served by nginx. Promises:
 * - a port is let through the guard only while the nginx that runs leads it where it should, and nothing that led elsewhere is connected
 *   there or could accept a client;
 * - what runs, what is on disk and what is open agree, also after a config that nginx refused;
 * - a port that cannot be listened on is a problem of its route; the others are served;
 * - one reload an interval at most, but a range that is taken away does not wait; none when nothing has changed.
 */
import type { Clock } from '../../../shared/clock.js';
import type { ObjectProblem } from '../../../shared/desired.js';
import type { Log } from '../../../shared/log.js';
import { rangeText, type Transport } from '../../../shared/ports.js';
import type { After } from '../../../shared/timers.js';
import type { Ports } from '../../persistent/ports.js';
import type { RunChild } from '../child.js';
import type { Cut } from '../connections/connections.js';
import type { Listener } from '../connections/listeners.js';
import { PROXIED_SET } from '../rules/layout.js';
import { parseSets } from '../rules/sets.js';
import type { Leased } from '../rules/spec.js';
import { isMisled, isUrgent, leadsOf, NO_DOORS, opened, openPorts, ready, run, want, type Doors } from './doors.js';
import { portsOfBinds, type Refusal } from './errors.js';
import { forgetOthers, highestSerial, makeFolders, readRoutes, writeConfig, type Config } from './files.js';
import { heldBy, type Held } from './held.js';
import { Master } from './master.js';
import { pathsIn, type NginxPaths } from './paths.js';
import { processOf } from './processes.js';
import { listenersOf, renderMain, renderRoutes, routeFileName, type ServedRoute } from './render.js';
import type { ProxiedRoute } from './route.js';
import type { NginxSettings } from './settings.js';

export type NginxOptions = {
  settings: NginxSettings;
  run: RunChild;
  /** Lease addresses, in canonical form. */
  addresses: readonly string[];
  isLocal(address: string): boolean;
  clock: Clock;
  after: After;
  log: Log;
};

/** What a round wants. `occupied`: ports that foreign processes have. `own`: ports of this host's own leases. */
export type RoutesWanted = {
  readonly routes: ReadonlyMap<string, ProxiedRoute>;
  readonly occupied: readonly { readonly transport: Transport; readonly port: number }[];
  readonly own: Ports<true>;
};

const TRANSPORTS: readonly Transport[] = ['tcp', 'udp'];
const NOTHING: RoutesWanted = { routes: new Map(), occupied: [], own: NO_DOORS.open as unknown as Ports<true> };
/** Configs that are tried in one round, each without what the one before could not be served with. */
const ATTEMPTS = 4;
const RETRY_MS = 5_000;
/** How long a port that nginx could not listen on is left alone. */
const TAKEN_MS = 30_000;

type Taken = { readonly transport: Transport; readonly port: number; readonly problem: string; readonly untilMs: number };
type Counts = { reloads: number; starts: number; failures: number };

export class NginxRoutes {
  readonly counts: Counts = { reloads: 0, starts: 0, failures: 0 };
  private readonly paths: NginxPaths;
  private readonly master: Master;
  private doors: Doors = NO_DOORS;
  private wanted: RoutesWanted = NOTHING;
  /** What nginx runs; its main text is undefined when it is not known to be that on disk. */
  private running: Config | undefined;
  private isDiskKnown = false;
  private proxied: readonly Leased[] = [];
  private readonly taken = new Map<string, Taken>();
  /** Routes that nginx refuses, by the name of the file. */
  private readonly refused = new Map<string, string>();
  private failure: { problem: string; untilMs: number; of: RoutesWanted } | undefined;
  /** Why closed ports are not opened, by transport and port. */
  private stuck: readonly Held[] = [];
  private asked = new Set<string>();
  private lastReloadMs = -Infinity;
  private cancelLater: (() => void) | undefined;
  private onChange: () => void = () => undefined;

  private constructor(private readonly options: NginxOptions) {
    this.paths = pathsIn(options.settings.directory);
    this.master = new Master({ program: options.settings.program, paths: this.paths, run: options.run });
  }

  /** Takes over what an earlier agent left: nginx goes on, and what was open stays open. Throws when the folder cannot be used. */
  static async open(options: NginxOptions): Promise<NginxRoutes> {
    const driver = new NginxRoutes(options);
    makeFolders(driver.paths);
    await driver.adopt();
    return driver;
  }

  /** Ends an nginx that is not wanted any more. */
  static retire(options: Pick<NginxOptions, 'settings' | 'run'>): void {
    new Master({ program: options.settings.program, paths: pathsIn(options.settings.directory), run: options.run }).stop();
  }

  /** Called when a round could bring something about. */
  notify(onChange: () => void): void {
    this.onChange = onChange;
  }

  /** Ports that the guard may let through from now on: none that is to lead elsewhere. The same list as long as these are the same. */
  admit(wanted: RoutesWanted): readonly Leased[] {
    if (wanted.routes !== this.wanted.routes || wanted.occupied !== this.wanted.occupied) this.wanted = wanted;
    if (this.running !== undefined && !this.master.isAlive()) this.isDiskKnown = false;
    this.setDoors(want(this.doors, leadsOf(this.served())));
    return this.proxied;
  }

  /** Brings nginx to what was wanted last. The rules stand already: what leads elsewhere until then is guarded. */
  async serve(): Promise<void> {
    const { clock, log } = this.options;
    if (!this.isDue()) return;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const config = this.config();
      const refusal = await this.bring(config);
      if (refusal === undefined) {
        if (this.failure !== undefined) log.info('nginx serves the routes again');
        this.failure = undefined;
        return;
      }
      this.counts.failures++;
      if (this.note(refusal)) continue;
      if (this.failure?.problem !== refusal.problem) log.error({ problem: refusal.problem }, 'nginx does not serve the routes; trying again');
      this.failure = { problem: refusal.problem, untilMs: clock.nowMs() + RETRY_MS, of: this.wanted };
      this.later(RETRY_MS);
      return;
    }
  }

  /** Connections of ports that are ready to be opened, each asked for once. */
  cuts(): Cut[] {
    const fresh = ready(this.doors);
    const keys = new Set(fresh.map(keyOf));
    const cuts = fresh.filter(one => !this.asked.has(keyOf(one))).map(({ transport, ports }) => ({ transport, ports, from: [], dropMs: 0 }));
    this.asked = keys;
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

  isOwn({ transport, address, port, holder }: Listener): boolean {
    if (holder !== undefined) return processOf(holder.pid, this.options.settings.program, this.paths) !== undefined;
    return this.options.addresses.includes(address) && this.doors.running[transport].get(port) !== undefined;
  }

  /** Every route is served or has a problem. */
  isSettled(): boolean {
    const { wanted, open } = this.doors;
    if (TRANSPORTS.every(transport => wanted[transport] === open[transport])) return true;
    const problems = new Set(this.problems().map(({ key }) => key));
    return [...this.wanted.routes.values()].every(route => problems.has(route.key) || this.isOpen(route));
  }

  problems(): ObjectProblem[] {
    return [...this.wanted.routes.values()].flatMap(route => {
      const problem = this.problemOf(route);
      return problem === undefined ? [] : [{ key: route.key, ...problem }];
    });
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
    const held = (await heldBy(this.master.earlier())).filter(({ address }) => this.options.addresses.includes(address));
    const isHeld = ({ transport, ports }: Leased): boolean => held.some(each => each.transport === transport && ports.first <= each.port && each.port <= ports.last);
    const cleared = before.filter(one => !isHeld(one) && ours.some(({ transport, ports }) => transport === one.transport && ports.first <= one.ports.first && one.ports.last <= ports.last));
    this.stuck = held;
    const doors = opened(this.doors, cleared);
    if (doors !== this.doors) {
      this.setDoors(doors);
      this.onChange();
    }
    // Asked again by the next round.
    for (const one of before) if (isHeld(one)) this.asked.delete(keyOf(one));
    if (held.length > 0) this.later(RETRY_MS);
    return ours.filter(cut => isHeld(cut) || isMisled(this.doors, cut.transport, cut.ports));
  }

  /** Nothing of nginx ends. */
  close(): void {
    this.cancelLater?.();
    this.onChange = () => undefined;
  }

  private async adopt(): Promise<void> {
    const { run: runChild, addresses, log } = this.options;
    const found = this.master.adopt();
    const routes = found === undefined ? undefined : readRoutes(this.paths, found.serial);
    if (found === undefined || routes === undefined) return;
    const sets = await Promise.all(TRANSPORTS.map(async transport => {
      const text = await runChild('ipset', ['save', PROXIED_SET[transport]]).then(({ stdout }) => stdout, () => '');
      const set = parseSets(text).get(PROXIED_SET[transport]);
      return set?.members.kind === 'ports' ? set.members.ports.map(ports => ({ transport, ports })) : [];
    }));
    const running = leadsOf(routes);
    // What the kernel let through was proven to be led there by nobody else.
    this.doors = opened({ wanted: running, running, open: NO_DOORS.open }, sets.flat());
    this.running = { serial: found.serial, main: '', files: renderRoutes(routes, addresses), routes };
    log.info({ pid: found.pid, routes: routes.length }, 'nginx runs already; its routes stay');
  }

  /** Something has to be done, and may be done now. */
  private isDue(): boolean {
    const { clock, settings: { reloadMs } } = this.options;
    const nowMs = clock.nowMs();
    for (const [key, { untilMs }] of this.taken) if (nowMs >= untilMs) this.taken.delete(key);
    const isAlive = this.master.isAlive();
    if (!isAlive && this.wanted.routes.size === 0) return false;
    if (isAlive && this.running !== undefined && this.isRunning()) return false;
    if (this.failure !== undefined && this.failure.of === this.wanted && nowMs < this.failure.untilMs) return false;
    if (isAlive && !isUrgent(this.doors) && nowMs < this.lastReloadMs + reloadMs) {
      this.later(this.lastReloadMs + reloadMs - nowMs);
      return false;
    }
    return true;
  }

  private isRunning(): boolean {
    const { files } = this.config();
    const before = this.running?.files;
    return before?.size === files.size && [...files].every(([name, text]) => before.get(name) === text);
  }

  private served(): ServedRoute[] {
    const { routes, occupied } = this.wanted;
    return [...routes.values()].filter(({ id }) => !this.refused.has(routeFileName(id))).map(({ id, ports, transports, hosts }) => {
      const isIn = ({ port }: { port: number }): boolean => ports.first <= port && port <= ports.last;
      const without = [...occupied.filter(isIn), ...[...this.taken.values()].filter(isIn)].map(({ transport, port }) => ({ transport, port }));
      return { id, ports, transports, hosts, without };
    });
  }

  private config(): Config {
    const { settings, addresses, isLocal } = this.options;
    const routes = this.served();
    const here = addresses.filter(isLocal);
    const serial = highestSerial(this.paths) + 1;
    const main = renderMain({ serial, settings, paths: this.paths, listeners: listenersOf(routes, here) });
    return { serial, main, files: renderRoutes(routes, here), routes };
  }

  private async bring(config: Config): Promise<Refusal | undefined> {
    const { master, paths, running } = this;
    const isAlive = master.isAlive();
    writeConfig(paths, config, this.isDiskKnown ? running?.files : undefined);
    this.isDiskKnown = false;
    const refusal = await master.test() ?? (isAlive ? await master.reload(config.serial) : await master.start(config.serial));
    this.lastReloadMs = this.options.clock.nowMs();
    if (refusal === undefined) {
      this.counts[isAlive ? 'reloads' : 'starts']++;
      this.options.log.info({ routes: config.routes.length, serial: config.serial, pid: master.running?.pid }, isAlive ? 'nginx was reloaded' : 'nginx was started');
      this.runs(config);
      return undefined;
    }
    if (!isAlive || !master.isAlive()) this.runs(undefined);
    else if (running !== undefined && running.main !== '') writeConfig(paths, running, undefined);
    return refusal;
  }

  private runs(config: Config | undefined): void {
    this.running = config;
    this.isDiskKnown = config !== undefined;
    this.setDoors(run(this.doors, leadsOf(config?.routes ?? [])));
    forgetOthers(this.paths, new Set([...config === undefined ? [] : [config.serial], ...this.master.find().map(({ serial }) => serial)]));
  }

  /** True: without what nginx does not like, it may be tried again at once. */
  private note({ binds, files, problem }: Refusal): boolean {
    const untilMs = this.options.clock.nowMs() + TAKEN_MS;
    const transportsOf = (port: number): readonly Transport[] =>
      [...this.wanted.routes.values()].find(({ ports }) => ports.first <= port && port <= ports.last)?.transports ?? [];
    const taken = portsOfBinds(binds, transportsOf).filter(one => !this.taken.has(portKey(one)));
    for (const one of taken) this.taken.set(portKey(one), { ...one, untilMs });
    const fresh = files.filter(name => !this.refused.has(name));
    for (const name of fresh) this.refused.set(name, problem);
    if (taken.length === 0 && fresh.length === 0) return false;
    this.options.log.warn({ problem, ports: taken.map(portKey), files: fresh }, 'nginx refused a config; trying without what it does not like');
    this.setDoors(want(this.doors, leadsOf(this.served())));
    if (taken.length > 0) this.later(TAKEN_MS);
    return true;
  }

  private problemOf(route: ProxiedRoute): Omit<ObjectProblem, 'key'> | undefined {
    const { addresses, isLocal } = this.options;
    const refused = this.refused.get(routeFileName(route.id));
    if (refused !== undefined) return { reason: 'ROUTE_REFUSED', message: `nginx does not take this route: ${refused}` };
    const isIn = ({ transport, port }: { transport: Transport; port: number }): boolean => route.transports.includes(transport) && route.ports.first <= port && port <= route.ports.last;
    const taken = [...this.taken.values()].find(isIn);
    if (taken !== undefined) return { reason: 'PORT_CONFLICT', message: taken.problem };
    const occupied = this.wanted.occupied.find(isIn);
    if (occupied !== undefined) return { reason: 'PORT_CONFLICT', message: `a process of this gateway listens on ${occupied.transport} port ${occupied.port}, so that nginx cannot` };
    if (!addresses.every(isLocal)) return { reason: 'ADDRESS_MISSING', message: `this gateway does not have its address ${addresses.filter(one => !isLocal(one)).join(', ')}: clients cannot come in there` };
    if (this.isOpen(route)) return undefined;
    if (this.failure !== undefined) return { reason: 'NGINX_FAILED', message: `nginx does not serve the routes: ${this.failure.problem}` };
    const held = this.stuck.find(isIn);
    return held === undefined ? undefined : { reason: 'CONNECTIONS_REMAIN', message: `process ${held.pid}, an earlier worker of nginx, still listens on ${held.transport} port ${held.port} (is it stopped?)` };
  }

  private isOpen({ transports, ports }: ProxiedRoute): boolean {
    for (const transport of transports) {
      for (let port = ports.first; port <= ports.last; port++) if (this.isClosed(transport, port)) return false;
    }
    return true;
  }

  private setDoors(doors: Doors): void {
    if (doors.open !== this.doors.open || this.proxied.length === 0) {
      const proxied = openPorts(doors);
      if (proxied.map(keyOf).join() !== this.proxied.map(keyOf).join()) this.proxied = proxied;
    }
    this.doors = doors;
  }

  private later(delayMs: number): void {
    this.cancelLater?.();
    this.cancelLater = this.options.after(delayMs, () => this.onChange());
  }
}

function keyOf({ transport, ports }: Leased): string {
  return `${transport} ${rangeText(ports)}`;
}

function portKey({ transport, port }: { transport: Transport; port: number }): string {
  return `${transport} ${port}`;
}
