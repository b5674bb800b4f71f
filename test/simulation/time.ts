/** Virtual time: events in the order in which they are due, each on behalf of a process that may be frozen or dead by then. */
import type { Clock } from '../../shared/clock.js';
import type { Timers } from '../../shared/timers.js';

/** Whose events these are: a process, or the kernel of a machine. What a dead one had planned never happens. */
export class Life {
  isOver = false;
  readonly #frozenBy: () => boolean;
  waiting: (() => void)[] = [];

  /** `isFrozen`: events that are due meanwhile wait for thaw(). */
  constructor(isFrozen: () => boolean = () => false) {
    this.#frozenBy = isFrozen;
  }

  get isFrozen(): boolean {
    return this.#frozenBy();
  }
}

type Planned = { atMs: number; order: number; life: Life; act: () => void; isOff: boolean };

export class Time {
  nowMs = 0;
  readonly #heap: Planned[] = [];
  #order = 0;

  get size(): number {
    return this.#heap.length;
  }

  /** `act` happens `delayMs` from now. The returned function calls it off. */
  plan(delayMs: number, life: Life, act: () => void): () => void {
    const planned: Planned = { atMs: this.nowMs + delayMs, order: this.#order++, life, act, isOff: false };
    this.#push(planned);
    return () => { planned.isOff = true; };
  }

  /** When the next event is due; Infinity: there is none. */
  nextMs(): number {
    this.#dropDead();
    return this.#heap[0]?.atMs ?? Infinity;
  }

  /** Lets the next event happen. False: there was none. */
  step(): boolean {
    this.#dropDead();
    const planned = this.#pop();
    if (planned === undefined) return false;
    this.nowMs = planned.atMs;
    if (planned.life.isFrozen) planned.life.waiting.push(() => { if (!planned.isOff) planned.act(); });
    else planned.act();
    return true;
  }

  /** What was due while it was frozen is due now, in its order. */
  thaw(life: Life): void {
    for (const act of life.waiting.splice(0)) this.plan(0, life, act);
  }

  #dropDead(): void {
    for (let top = this.#heap[0]; top !== undefined && (top.isOff || top.life.isOver); top = this.#heap[0]) this.#pop();
  }

  #push(planned: Planned): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(planned);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Planned;
      if (isBefore(above, planned)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = planned;
  }

  #pop(): Planned | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let at = 0;
    for (let child = 1; child < heap.length; child = 2 * at + 1) {
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Planned, heap[child] as Planned)) child += 1;
      const below = heap[child] as Planned;
      if (isBefore(last, below)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
    return top;
  }
}

function isBefore(a: Planned, b: Planned): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** The clock of one machine: runs at its own rate, and stands still while the machine sleeps, if it is such a clock. */
export class MachineClock implements Clock {
  #lostMs = 0;
  #sleepsSinceMs: number | undefined;

  constructor(private readonly time: Time, readonly rate: number, private readonly startMs: number) {}

  nowMs(): number {
    return Math.floor(this.startMs + this.rate * ((this.#sleepsSinceMs ?? this.time.nowMs) - this.#lostMs));
  }

  sleep(): void {
    this.#sleepsSinceMs ??= this.time.nowMs;
  }

  /** `keepsTime`: the clock went on while the machine slept. */
  wake(keepsTime: boolean): void {
    if (this.#sleepsSinceMs !== undefined && !keepsTime) this.#lostMs += this.time.nowMs - this.#sleepsSinceMs;
    this.#sleepsSinceMs = undefined;
  }
}

/** Timers of one process, by its machine's clock. */
export function timersOf(time: Time, clock: MachineClock, life: Life): Timers {
  return {
    after: (delayMs, act) => time.plan(delayMs / clock.rate, life, act),
    soon: (act) => { time.plan(0, life, act); },
  };
}

/** Everything that is ready in this turn of the real event loop has happened. */
export function settled(): Promise<void> {
  return new Promise((resolve) => { setImmediate(resolve); });
}
