/** What keeps routes from being served: ports that cannot be listened on, files that nginx refuses, and nginx as a whole. */
import type { ObjectProblem } from '../../../shared/desired.js';
import { portsOfBinds, type Refusal } from './errors.js';
import type { Held } from './held.js';
import { transportsWith, type Place } from './place.js';
import { routeFileName } from './render.js';
import type { ProxiedRoute } from './route.js';

type Taken = Place & { readonly problem: string; readonly untilMs: number };

/** How long a port that nginx could not listen on is left alone. */
const TAKEN_MS = 30_000;
/** Between two attempts to bring the same about. */
const RETRY_MS = 5_000;

type Circumstances = { readonly occupied: readonly Place[]; readonly missingAddresses: readonly string[]; readonly isOpen: boolean };

export class Troubles {
  /** Counts up whenever other ports or routes are left out. */
  version = 0;
  private readonly taken = new Map<string, Taken>();
  /** By name of the file. */
  private readonly refused = new Map<string, string>();
  private failure: { problem: string; untilMs: number; of: unknown } | undefined;
  /** Why closed ports are not opened. */
  private stuck: readonly Held[] = [];
  private kept: readonly Held[] = [];

  /** Ports of the route that nginx cannot listen on. */
  readonly takenOf = (route: ProxiedRoute): Place[] => [...this.taken.values(), ...this.kept].filter(place => isIn(route, place));

  readonly isRefused = ({ id }: ProxiedRoute): boolean => this.refused.has(routeFileName(id));

  /** What was left out for long enough is tried again. */
  expire(nowMs: number): void {
    for (const [key, { untilMs }] of this.taken) {
      if (nowMs < untilMs) continue;
      this.taken.delete(key);
      this.version++;
    }
  }

  /** Other things are wanted: what nginx refused may be all right now. */
  forgiveFiles(): void {
    if (this.refused.size === 0) return;
    this.refused.clear();
    this.version++;
  }

  /** Takes a refusal to the ports and routes that it is about. False: it is about none, or about none that was not left out already. */
  blame({ binds, files, problem }: Refusal, routes: Iterable<ProxiedRoute>, nowMs: number): boolean {
    const all = [...routes];
    const places = portsOfBinds(binds, port => transportsWith(all, port)).filter(place => !this.taken.has(keyOf(place)));
    for (const place of places) this.taken.set(keyOf(place), { ...place, untilMs: nowMs + TAKEN_MS });
    const fresh = files.filter(name => !this.refused.has(name));
    for (const name of fresh) this.refused.set(name, problem);
    if (places.length === 0 && fresh.length === 0) return false;
    this.version++;
    return true;
  }

  /** `of`: what was to be brought about. True when that is news. */
  fail(problem: string, of: unknown, nowMs: number): boolean {
    const isNews = this.failure?.problem !== problem;
    this.failure = { problem, of, untilMs: nowMs + RETRY_MS };
    return isNews;
  }

  /** True when it had failed before. */
  succeed(): boolean {
    const hadFailed = this.failure !== undefined;
    this.failure = undefined;
    return hadFailed;
  }

  mustWait(of: unknown, nowMs: number): boolean {
    return this.failure !== undefined && this.failure.of === of && nowMs < this.failure.untilMs;
  }

  hold(stuck: readonly Held[]): void {
    this.stuck = stuck;
  }

  /** Ports that nginx cannot listen on anew as long as earlier workers do. */
  keep(kept: readonly Held[]): void {
    const keys = (places: readonly Held[]): string => [...new Set(places.map(keyOf))].sort().join();
    if (keys(kept) === keys(this.kept)) return;
    this.kept = kept;
    this.version++;
  }

  get isKeeping(): boolean {
    return this.kept.length > 0;
  }

  problemOf(route: ProxiedRoute, { occupied, missingAddresses, isOpen }: Circumstances): Omit<ObjectProblem, 'key'> | undefined {
    const refused = this.refused.get(routeFileName(route.id));
    if (refused !== undefined) return { reason: 'ROUTE_REFUSED', message: `nginx does not take this route: ${refused}` };
    const taken = [...this.taken.values()].find(place => isIn(route, place));
    if (taken !== undefined) return { reason: 'PORT_CONFLICT', message: taken.problem };
    const foreign = occupied.find(place => isIn(route, place));
    if (foreign !== undefined) return { reason: 'PORT_CONFLICT', message: `a process of this gateway listens on ${foreign.transport} port ${foreign.port}, so that nginx cannot: end it` };
    if (missingAddresses.length > 0) return { reason: 'ADDRESS_MISSING', message: `this gateway does not have its address ${missingAddresses.join(', ')}: clients cannot come in there` };
    if (isOpen) return undefined;
    const held = [...this.kept, ...this.stuck].find(place => isIn(route, place));
    if (held !== undefined) return { reason: 'CONNECTIONS_REMAIN', message: `process ${held.pid}, an earlier worker of nginx, still listens on ${held.transport} port ${held.port} (is it stopped?)` };
    return this.failure === undefined ? undefined : { reason: 'NGINX_FAILED', message: `nginx does not serve the routes: ${this.failure.problem}` };
  }
}

function isIn({ transports, ports }: ProxiedRoute, { transport, port }: Place): boolean {
  return transports.includes(transport) && ports.first <= port && port <= ports.last;
}

function keyOf({ transport, port }: Place): string {
  return `${transport} ${port}`;
}
