/**
 * Watches which mappings have no traffic, for as long as the agent lives, and remembers it across its restarts. Promises:
 * - it looks every interval, and at no other time: a round of the reconcile loop pays nothing for it;
 * - a look that fails tells nothing: what was known stays, and the time until the next one is not taken for quiet unless that proves it;
 * - what it says after a start is what was known before, until it has looked;
 * - no wall clock is asked.
 */
import type { DesiredObject, IdleMapping } from '../../shared/desired.js';
import type { Log } from '../../shared/log.js';
import { transportsOf } from '../../shared/ports.js';
import { systemTimers, type After } from '../../shared/timers.js';
import { MAX_IDLE } from '../../shared/wire.js';
import type { Standing } from '../drivers/connections/connections.js';
import type { Traffic, TrafficDriver, Watched } from '../drivers/traffic/traffic.js';
import { nextQuiet, type Gap } from './quiet.js';
import { loadQuiet, saveQuiet, type QuietTable } from './store.js';

export type IdleWatchOptions = {
  /** Its file. */
  path: string;
  bootId: string;
  traffic: TrafficDriver;
  standing: Pick<Standing, 'endpoints'>;
  /** What was accepted. */
  objects: () => ReadonlyMap<string, DesiredObject>;
  /** Whether what a mapping leads to is known to live; undefined: it is not known. By the key of the mapping. */
  lives: (key: string) => boolean | undefined;
  intervalMs: number;
  log: Log;
  /** idle() says something else. */
  onChange: () => void;
  after?: After;
  /** The kernel's monotonic clock: the same for each process of a boot. */
  sinceBootMs?: () => number;
};

/** Up to so many intervals between two looks are one time in which somebody looked. */
const SHORT_INTERVALS = 5;

type Mapping = Extract<DesiredObject, { kind: 'mapping' }> & { idleLimitMs: number };

export class IdleWatch {
  readonly #options: Required<IdleWatchOptions>;
  #table: QuietTable;
  #idle: readonly IdleMapping[];
  #problem: string | undefined;
  #looking: Promise<void> | undefined;
  #cancelTimer: (() => void) | undefined;
  #isClosed = false;

  private constructor(options: Required<IdleWatchOptions>, table: QuietTable) {
    this.#options = options;
    this.#table = table;
    this.#idle = this.#longerThanAllowed();
  }

  /** Does nothing before start(). A file that cannot be used counts as none: every mapping begins to be quiet now. */
  static async open(options: IdleWatchOptions): Promise<IdleWatch> {
    const all = { after: systemTimers.after, sinceBootMs: monotonicMs, ...options };
    const none: QuietTable = { bootId: all.bootId, sinceBootMs: all.sinceBootMs(), mappings: new Map() };
    try {
      return new IdleWatch(all, await loadQuiet(all.path) ?? none);
    } catch (error) {
      all.log.warn({ problem: (error as Error).message }, 'for how long mappings have been idle was forgotten: it is counted from now on');
      return new IdleWatch(all, none);
    }
  }

  /** Mappings that were quiet for longer than their limit, as of the last look: the same list as long as nothing has changed. */
  idle(): readonly IdleMapping[] {
    return this.#idle;
  }

  start(): void {
    this.#rest();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelTimer?.();
    await this.#looking;
  }

  #rest(): void {
    if (this.#isClosed) return;
    this.#cancelTimer = this.#options.after(this.#options.intervalMs, () => {
      this.#looking = this.#attempt().finally(() => this.#rest());
    });
  }

  async #attempt(): Promise<void> {
    const { log } = this.#options;
    try {
      await this.#look();
      if (this.#problem !== undefined) log.info('idle mappings are watched again');
      this.#problem = undefined;
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      if (problem !== this.#problem) log.warn({ problem }, 'nobody knows which mappings are idle: traffic could not be looked at, or not be remembered');
      this.#problem = problem;
    }
  }

  async #look(): Promise<void> {
    const { traffic, standing, bootId, sinceBootMs, path, onChange } = this.#options;
    const mappings = this.#limited();
    if (mappings.length === 0 && this.#table.mappings.size === 0) return;
    const atMs = sinceBootMs();
    const seen = mappings.length === 0 ? new Map<string, Traffic>() : await traffic.look(mappings.map(watchedOf), standing);
    const gap = this.#gapUntil(atMs);
    const quiet = mappings.map(({ mappingId, generation, protocol }) => {
      const look = { generation, transports: transportsOf(protocol), traffic: seen.get(mappingId), gap };
      return [mappingId, nextQuiet(this.#table.mappings.get(mappingId), look)] as const;
    });
    this.#table = { bootId, sinceBootMs: atMs, mappings: new Map(quiet) };
    const before = this.#idle;
    this.#idle = this.#longerThanAllowed();
    if (before.length > 0 || this.#idle.length > 0) onChange();
    await saveQuiet(path, this.#table);
  }

  #gapUntil(atMs: number): Gap {
    const { bootId, intervalMs } = this.#options;
    const ms = atMs - this.#table.sinceBootMs;
    if (this.#table.bootId !== bootId || ms < 0) return { kind: 'unknown' };
    return { kind: ms <= SHORT_INTERVALS * intervalMs ? 'short' : 'long', ms };
  }

  /** Those that somebody wants to know about. */
  #limited(): Mapping[] {
    return [...this.#options.objects().values()].filter((object): object is Mapping => object.kind === 'mapping' && object.idleLimitMs !== undefined);
  }

  #longerThanAllowed(): IdleMapping[] {
    const idle = this.#limited().flatMap(({ key, mappingId, generation, idleLimitMs }) => {
      const quiet = this.#table.mappings.get(mappingId);
      if (quiet?.generation !== generation || quiet.quietMs <= idleLimitMs) return [];
      return { mappingId, generation, idleMs: Math.floor(quiet.quietMs), lives: this.#options.lives(key) === true };
    });
    return idle.sort((a, b) => Number(a.lives) - Number(b.lives) || b.idleMs - a.idleMs).slice(0, MAX_IDLE);
  }
}

function watchedOf({ mappingId, generation, port, protocol }: Mapping): Watched {
  return { mappingId, generation, port, transports: transportsOf(protocol) };
}

function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
}
