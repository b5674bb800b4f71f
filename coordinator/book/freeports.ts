/** The free ports of one host in one pool, handed out by the pool's strategy. Every operation costs O(log n) at most. */
import { MinHeap } from './minheap.js';
import { PortSet } from './portset.js';
import type { Strategy } from './types.js';

export class FreePorts {
  private readonly set = new PortSet();
  /** leastRecentlyUsed: those that were never used. */
  private readonly fresh = new PortSet();
  /** leastRecentlyUsed: the others by the sequence of their release; entries of ports that left the set are skipped. */
  private used = new MinHeap<number>();
  private readonly usedAt = new Map<number, number>();

  constructor(
    private strategy: Strategy,
    private readonly random: () => number,
  ) {}

  get size(): number {
    return this.set.size;
  }

  has(port: number): boolean {
    return this.set.has(port);
  }

  /** `releasedSequence`: book sequence of its last release, 0 when it was never used. */
  add(port: number, releasedSequence: number): void {
    if (!this.set.add(port) || this.strategy !== 'leastRecentlyUsed') return;
    if (releasedSequence === 0) this.fresh.add(port);
    else {
      this.usedAt.set(port, releasedSequence);
      this.used.push(releasedSequence, port);
    }
  }

  /** False when the port was not free. */
  remove(port: number): boolean {
    if (!this.set.delete(port)) return false;
    if (this.strategy === 'leastRecentlyUsed' && !this.fresh.delete(port)) {
      this.usedAt.delete(port);
      if (this.used.size > 64 && this.used.size > 4 * this.usedAt.size) this.rebuildHeap();
    }
    return true;
  }

  /** The port that the strategy gives next, taken out; undefined when none is free. */
  take(): number | undefined {
    const port = this.peek();
    if (port !== undefined) this.remove(port);
    return port;
  }

  /** Lowest first port of a run of `length` free ports, or undefined. */
  findRun(length: number): number | undefined {
    return this.set.findRun(length);
  }

  /** Free ports of first..last. */
  within(first: number, last: number): Generator<number> {
    return this.set.within(first, last);
  }

  /** Some free port, by no strategy. */
  any(): number | undefined {
    return this.set.atOrAbove(0);
  }

  /** The longest stretch of free ports around `port`, at most `limit` ports. */
  runAround(port: number, limit: number): { first: number; last: number } {
    let first = port;
    let last = port;
    while (last - first + 1 < limit && this.set.has(last + 1)) last += 1;
    while (last - first + 1 < limit && this.set.has(first - 1)) first -= 1;
    return { first, last };
  }

  private peek(): number | undefined {
    switch (this.strategy) {
      case 'sequential':
        return this.set.atOrAbove(0);
      case 'random':
        return this.set.size === 0 ? undefined : this.set.nth(Math.floor(this.random() * this.set.size));
      case 'leastRecentlyUsed':
        return this.fresh.atOrAbove(0) ?? this.oldestUsed();
    }
  }

  private oldestUsed(): number | undefined {
    for (let top = this.used.peek(); top !== undefined; top = this.used.peek()) {
      if (this.usedAt.get(top.value) === top.key) return top.value;
      this.used.pop();
    }
    return undefined;
  }

  private rebuildHeap(): void {
    this.used = new MinHeap<number>();
    for (const [port, sequence] of this.usedAt) this.used.push(sequence, port);
  }
}
