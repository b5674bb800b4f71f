/**
 * An agent's watch over idle mappings, on simulated time and a simulated kernel. What its counters and connections mean the real rules say
 * (agent/idle/quiet.ts); what was known stays on the machine's disk.
 */
import { targetText } from '../../shared/target.js';
import { nextQuiet, type Gap, type Quiet } from '../../agent/idle/quiet.js';
import type { DesiredObject, IdleMapping } from '../../shared/desired.js';
import type { Timers } from '../../shared/timers.js';
import type { Kernel } from './kernel.js';

/** What the disk holds. */
export type Quietness = { readonly bootId: string; readonly atMs: number; readonly mappings: ReadonlyMap<string, Quiet> };

export type IdlenessOptions = {
  kernel: Kernel;
  bootId: string;
  timers: Timers;
  nowMs: () => number;
  objects: () => ReadonlyMap<string, DesiredObject>;
  known: Quietness | undefined;
  keep: (known: Quietness) => void;
  onChange: () => void;
};

export const LOOK_MS = 500;
const SHORT_MS = 5 * LOOK_MS;

export class Idleness {
  #known: Quietness | undefined;
  idle: IdleMapping[];

  constructor(private readonly options: IdlenessOptions) {
    this.#known = options.known;
    this.idle = this.#longerThanAllowed();
    this.#rest();
  }

  #rest(): void {
    this.options.timers.after(LOOK_MS, () => {
      this.#look();
      this.#rest();
    });
  }

  #look(): void {
    const { kernel, bootId, nowMs, keep, onChange } = this.options;
    const atMs = nowMs();
    const gap = this.#gapUntil(atMs);
    const mappings = this.#limited().map(({ mappingId, generation, port, target }) => {
      const tcp = kernel.begun.get(`${mappingId} ${generation}`);
      const isTracked = [...kernel.flows.values()].some((flow) => flow.port === port && flow.to === targetText(target));
      const traffic = tcp === undefined ? undefined : { begun: { tcp }, isTracked };
      return [mappingId, nextQuiet(this.#known?.mappings.get(mappingId), { generation, transports: ['tcp'], traffic, gap })] as const;
    });
    this.#known = { bootId, atMs, mappings: new Map(mappings) };
    keep(this.#known);
    const before = this.idle;
    this.idle = this.#longerThanAllowed();
    if (before.length > 0 || this.idle.length > 0) onChange();
  }

  #gapUntil(atMs: number): Gap {
    const ms = atMs - (this.#known?.atMs ?? atMs);
    if (this.#known?.bootId !== this.options.bootId || ms < 0) return { kind: 'unknown' };
    return { kind: ms <= SHORT_MS ? 'short' : 'long', ms };
  }

  #limited() {
    return [...this.options.objects().values()].flatMap((object) => (object.kind === 'mapping' && object.idleLimitMs !== undefined ? { ...object, idleLimitMs: object.idleLimitMs } : []));
  }

  #longerThanAllowed(): IdleMapping[] {
    return this.#limited().flatMap(({ mappingId, generation, idleLimitMs }) => {
      const quiet = this.#known?.mappings.get(mappingId);
      return quiet?.generation === generation && quiet.quietMs > idleLimitMs ? { mappingId, generation, idleMs: Math.floor(quiet.quietMs), lives: false } : [];
    });
  }
}
