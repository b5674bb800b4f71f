/**
 * The unleased ports of a pool as a buddy system (Knuth, TAOCP vol. 1, 2.5): free blocks of 2^order ports, aligned by port
 * number, that split when a smaller one is asked for and merge with their buddy when they come back.
 */
import type { PortRange } from '../../shared/ports.js';
import { PortSet } from './portset.js';

const MAX_ORDER = 16;

export class Blocks {
  /** First ports of the free blocks, by order; none is kept while there is no free port at all. */
  private free: (PortSet | undefined)[] = [];
  /** Bit k: there is a free block of order k. */
  private orders = 0;
  private ports = 0;

  /** Number of free ports. */
  get size(): number {
    return this.ports;
  }

  /** Size of the largest free block in ports, 0 when there is none. */
  get largest(): number {
    return this.orders === 0 ? 0 : 2 ** (31 - Math.clz32(this.orders));
  }

  has(port: number): boolean {
    return this.blockOf(port) !== undefined;
  }

  /** Gives ports back; none of them may be free already. */
  release(first: number, last: number): void {
    this.ports += last - first + 1;
    for (let port = first; port <= last; ) {
      let order = 0;
      while (order < MAX_ORDER && port % (2 << order) === 0 && port + (2 << order) - 1 <= last) order += 1;
      this.insert(port, order);
      port += 1 << order;
    }
  }

  /** Takes the lowest of the smallest blocks with at least 2^order ports, split down to 2^order; undefined when there is none. */
  take(order: number): PortRange | undefined {
    const candidates = this.orders & (-1 << order);
    if (candidates === 0) return undefined;
    const found = 31 - Math.clz32(candidates & -candidates);
    const first = (this.free[found] as PortSet).atOrAbove(0) as number;
    this.remove(first, found);
    for (let half = found - 1; half >= order; half -= 1) this.put(first + (1 << half), half);
    this.ports -= 1 << order;
    return { first, last: first + (1 << order) - 1 };
  }

  /** Takes the block with the lowest port of all, split down to 2^order if it is larger; undefined when none has 2^least ports. */
  takeLowest(order: number, least: number): PortRange | undefined {
    let lowest: number | undefined;
    for (let rest = this.orders & (-1 << least); rest !== 0; rest &= rest - 1) {
      const first = (this.free[31 - Math.clz32(rest & -rest)] as PortSet).atOrAbove(0) as number;
      if (lowest === undefined || first < lowest) lowest = first;
    }
    if (lowest === undefined) return undefined;
    const { first, last } = this.blockOf(lowest) as PortRange;
    const ports = { first, last: Math.min(last, first + (1 << order) - 1) };
    this.takeRange(ports.first, ports.last);
    return ports;
  }

  /** Takes exactly these ports; false, and nothing is taken, unless all are free. */
  takeRange(first: number, last: number): boolean {
    for (let port = first; port <= last; ) {
      const block = this.blockOf(port);
      if (block === undefined) return false;
      port = block.last + 1;
    }
    for (let port = first; port <= last; ) {
      const block = this.blockOf(port) as PortRange;
      this.remove(block.first, orderOf(block));
      this.ports -= block.last - block.first + 1;
      if (block.first < first) this.release(block.first, first - 1);
      if (block.last > last) this.release(last + 1, block.last);
      port = block.last + 1;
    }
    return true;
  }

  /** The free blocks, by order. */
  *all(): Generator<PortRange> {
    for (const [order, firsts] of this.free.entries()) {
      for (const first of firsts?.within(0, 65_535) ?? []) yield { first, last: first + (1 << order) - 1 };
    }
  }

  private blockOf(port: number): PortRange | undefined {
    for (let rest = this.orders; rest !== 0; rest &= rest - 1) {
      const order = 31 - Math.clz32(rest & -rest);
      const first = (port >>> order) << order;
      if (this.free[order]?.has(first) === true) return { first, last: first + (1 << order) - 1 };
    }
    return undefined;
  }

  private insert(first: number, order: number): void {
    let at = first;
    let level = order;
    while (level < MAX_ORDER && this.free[level]?.has(at ^ (1 << level)) === true) {
      this.remove(at ^ (1 << level), level);
      at &= ~(1 << level);
      level += 1;
    }
    this.put(at, level);
  }

  private put(first: number, order: number): void {
    (this.free[order] ??= new PortSet()).add(first);
    this.orders |= 1 << order;
  }

  private remove(first: number, order: number): void {
    const firsts = this.free[order] as PortSet;
    firsts.delete(first);
    if (firsts.size > 0) return;
    this.orders &= ~(1 << order);
    if (this.orders === 0) this.free = [];
  }
}

function orderOf(block: PortRange): number {
  return 31 - Math.clz32(block.last - block.first + 1);
}
