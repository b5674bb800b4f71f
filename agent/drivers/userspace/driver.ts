/**
 * Serves mappings without root: listens on the lease addresses and forwards TCP. It stands in for the drivers of rules, connections
 * and settings. What it cannot do is told in docs/safety.md, "Without rules in the kernel". All of it ends with this process.
 */
import type { Log } from '../../../shared/log.js';
import { systemTimers, type Timers } from '../../../shared/timers.js';
import type { Cut, CutResult, Standing } from '../connections/connections.js';
import { readListeners, type Listener as Seen } from '../connections/listeners.js';
import type { Applied, Sighting as RulesSighting } from '../rules/driver.js';
import { emptyFamily } from '../rules/parse.js';
import type { RulesSpec } from '../rules/spec.js';
import type { Traffic, Watched } from '../traffic/traffic.js';
import { hasRoomToListen, type Limits } from './budget.js';
import { Listener } from './listener.js';
import { Relays } from './relays.js';
import { keyOf, NO_SERVICES, servicesOf, unservedFor, type Service, type Services, type Unserved } from './services.js';

export type UserspaceOptions = {
  limits: Limits;
  /** For the connection to a target. */
  connectMs: number;
  log: Log;
  timers?: Timers;
  /** All listeners of this machine. */
  look?: () => Promise<Seen[]>;
};

/** Where on this machine somebody listened. `writes`: how often this driver had begun to open or close anything until then. */
export type Sighting = RulesSighting & { readonly listening: ReadonlySet<string> };

/** Of the kernel's rules this driver sees nothing. */
const NO_RULES = { state: { v4: emptyFamily(), v6: emptyFamily(), sets: new Map() }, families: [] };

const OUT_OF_FILES = { code: 'EMFILE', message: '' };

export class UserspaceDriver {
  readonly #options: UserspaceOptions;
  readonly #relays: Relays;
  readonly #look: () => Promise<Seen[]>;
  /** By key of their place. */
  readonly #listeners = new Map<string, Listener>();
  #known: { forwards: RulesSpec['forwards']; wanted: Services } = { forwards: [], wanted: NO_SERVICES };
  #last: Promise<unknown> = Promise.resolve();
  #writes = 0;
  #isClosed = false;

  constructor(options: UserspaceOptions) {
    const { limits, connectMs, log, timers = systemTimers, look = () => readListeners('/proc/self/net') } = options;
    this.#options = options;
    this.#look = look;
    this.#relays = new Relays({ limits, connectMs, log, timers, listeners: () => this.#listeners.size });
  }

  /** Connections that are being forwarded. */
  get connections(): number {
    return this.#relays.size;
  }

  /** Only reads: apply() may be called meanwhile, and makes a sighting that began before outdated if it opens or closes anything. */
  async look(): Promise<Sighting> {
    await this.#last;
    return this.#sight();
  }

  /** False: this driver has opened or closed listeners since. */
  isCurrent({ writes }: Pick<Sighting, 'writes'>): boolean {
    return writes === this.#writes;
  }

  /**
   * Listens where the spec says, and nowhere else. With `observe` it looks first, or goes by a sighting that is current, and opens
   * those of its listeners again that died. What cannot be listened on is told in `unserved`, harms nothing else and is tried again by the next call.
   */
  apply(spec: RulesSpec, { observe }: { observe: boolean | Sighting }): Promise<Applied> {
    const result = this.#last.then(() => this.#apply(spec, observe));
    this.#last = result.catch(() => undefined);
    return result;
  }

  /** Ends every connection of these cuts that does not lead where it stands to lead. */
  async cut(cuts: readonly Cut[], standing: Standing): Promise<CutResult> {
    await this.#relays.cut(cuts, standing);
    return { ended: [...cuts], remaining: [] };
  }

  /** Of mappings that are listened for: connections that were taken since this process began, and whether one is open. */
  trafficOf(mappings: readonly Watched[]): Promise<ReadonlyMap<string, Traffic>> {
    const served = new Set(Array.from(this.#listeners.values(), ({ service }) => service.id));
    return Promise.resolve(new Map(mappings.filter(({ mappingId }) => served.has(mappingId)).map(({ mappingId }) => [mappingId, this.#relays.trafficOf(mappingId)])));
  }

  /** Listeners of others. What is called meanwhile makes it outdated just as a sighting. */
  async foreign(look: () => Promise<Seen[]> = this.#look): Promise<Seen[]> {
    await this.#last;
    const all = await look();
    return all.filter(seen => seen.transport !== 'tcp' || this.#listeners.get(keyOf(seen))?.isListening !== true);
  }

  /** Nothing is served any more: connections are reset. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#last;
    for (const key of [...this.#listeners.keys()]) this.#drop(key);
    await this.#relays.close();
  }

  async #apply({ addresses, forwards }: RulesSpec, observe: boolean | Sighting): Promise<Applied> {
    if (this.#isClosed) return { changed: 0, repaired: 0 };
    const { services, unserved } = this.#wanted(addresses, forwards);
    const dead = await this.#dropDead(observe);
    const gone = [...this.#listeners.keys()].filter(key => !services.has(key));
    for (const key of gone) this.#drop(key);
    const missing: Service[] = [];
    for (const [key, service] of services) {
      const listener = this.#listeners.get(key);
      if (listener === undefined) missing.push(service);
      else listener.service = service;
    }
    const failed = await this.#open(missing);
    const opened = missing.map(({ place }) => keyOf(place)).filter(key => this.#listeners.has(key));
    this.#relays.keepOnly(new Set(Array.from(services.values(), ({ id }) => id)));
    return { changed: gone.length + opened.length, repaired: opened.filter(key => dead.has(key)).length, unserved: firstOfEach([...unserved, ...failed]) };
  }

  /** The same forwards again are not looked at again: their addresses do not change while the agent runs. */
  #wanted(addresses: RulesSpec['addresses'], forwards: RulesSpec['forwards']): Services {
    if (this.#known.forwards !== forwards) this.#known = { forwards, wanted: servicesOf({ addresses, forwards }) };
    return this.#known.wanted;
  }

  async #sight(): Promise<Sighting> {
    const writes = this.#writes;
    return { ...NO_RULES, writes, listening: new Set((await this.#look()).filter(({ transport }) => transport === 'tcp').map(keyOf)) };
  }

  /** Places whose listener has died. */
  async #dropDead(observe: boolean | Sighting): Promise<Set<string>> {
    if (observe === false) return new Set();
    const { listening } = typeof observe === 'object' && this.isCurrent(observe) ? observe : await this.#sight();
    const dead = new Set([...this.#listeners].filter(([key, listener]) => !listener.isListening || !listening.has(key)).map(([key]) => key));
    for (const key of dead) this.#drop(key);
    if (dead.size > 0) this.#options.log.warn({ listeners: [...dead] }, 'listeners of this agent had died: they are opened again');
    return dead;
  }

  async #open(services: readonly Service[]): Promise<Unserved[]> {
    const failed: Unserved[] = [];
    for (const service of services) {
      const problem = await this.#openOne(service);
      if (problem !== undefined) failed.push(problem);
    }
    return failed;
  }

  async #openOne(service: Service): Promise<Unserved | undefined> {
    const { limits } = this.#options;
    if (!hasRoomToListen(limits, { listeners: this.#listeners.size, connections: this.#relays.size })) return unservedFor(service, OUT_OF_FILES);
    this.#writes++;
    try {
      const listener = await Listener.open(service, (client, to) => this.#relays.take(client, to));
      this.#listeners.set(keyOf(service.place), listener);
      return undefined;
    } catch (error) {
      return unservedFor(service, error as NodeJS.ErrnoException);
    }
  }

  #drop(key: string): void {
    this.#writes++;
    this.#listeners.get(key)?.close();
    this.#listeners.delete(key);
  }
}

function firstOfEach(problems: readonly Unserved[]): Unserved[] {
  return [...new Map([...problems].reverse().map(problem => [problem.id, problem])).values()];
}
