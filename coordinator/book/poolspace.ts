/** A pool, and a pool in one port space, as they stand when they are first needed. */
import type { PortRange } from '../../shared/ports.js';
import { Blocks } from './blocks.js';
import { MinHeap } from './minheap.js';
import { PortSet } from './portset.js';
import type { Pool, PoolSpace, Space, State } from './state.js';
import { inRanges } from './state.js';
import type { PoolSpec } from './types.js';

export function makePool(spec: PoolSpec): Pool {
  const reserved = new PortSet();
  const ports = new PortSet();
  for (const range of spec.ranges) ports.addRange(range.first, range.last);
  for (const range of spec.reserved) reserved.addRange(range.first, range.last);
  const counts = { leased: 0, allocated: 0, held: 0, quarantined: 0, releasing: 0 };
  return { spec, reserved, reservedCount: reserved.size, total: ports.size, spaces: new Map(), counts, level: 'fresh', leftover: new Set() };
}

/** The pool may give this port out. */
export function isUsable({ spec, reserved }: Pool, port: number): boolean {
  return inRanges(spec.ranges, port) && !reserved.has(port);
}

/** Unleased are the ports of the pool that no lease covers, no mapping owns and nobody reserved. */
export function makePoolSpace(state: State, pool: Pool, space: Space): PoolSpace {
  const poolSpace: PoolSpace = { pool, space, blocks: new Blocks(), holders: new Map(), resting: new MinHeap() };
  for (const range of pool.spec.ranges) releaseUsable(state, poolSpace, range);
  return poolSpace;
}

/** Gives what is unleased of a range to the pool's blocks; none of it may be there already. */
export function releaseUsable(state: State, { pool, space, blocks }: PoolSpace, range: PortRange): void {
  let start: number | undefined;
  for (let port = range.first; port <= range.last + 1; port += 1) {
    const lease = port <= range.last ? state.leaseAt(space, port) : undefined;
    const usable = port <= range.last && lease === undefined && inRanges(pool.spec.ranges, port) && !pool.reserved.has(port) && !space.mapped.has(port);
    if (usable) start ??= port;
    else if (start !== undefined) {
      blocks.release(start, port - 1);
      start = undefined;
    }
    if (lease !== undefined) port = lease.record.last;
  }
}
