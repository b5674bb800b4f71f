/** How what a host has of a pool grows: small first, twice as large each time; in scope host as a whole. */
import type { PortRange } from '../../shared/ports.js';
import type { Blocks } from './blocks.js';
import { makePoolSpace } from './poolspace.js';
import type { Holder, Host, Pool, PoolSpace, State } from './state.js';

const FIRST_BLOCK_ORDER = 2;
const LAST_BLOCK_ORDER = 10;

/** The host has applied all that was taken from it: nothing old is served there under a number that it may get again. */
export function isSettled(host: Host): boolean {
  return host.appliedRevision >= host.mustApply;
}

/** Ports in the next block of a host: as many as it has, so that what it has doubles. */
export function growthOf(holder: Holder): number {
  return Math.min(2 ** LAST_BLOCK_ORDER, Math.max(2 ** FIRST_BLOCK_ORDER, 2 ** Math.floor(Math.log2(Math.max(1, holder.ports)))));
}

/** The pool in the port space of the host. */
export function spaceIn(state: State, pool: Pool, host: Host): PoolSpace {
  const space = state.spaceOf(host.record.host);
  let poolSpace = pool.spaces.get(space.name);
  if (poolSpace === undefined) {
    poolSpace = makePoolSpace(state, pool, space);
    pool.spaces.set(space.name, poolSpace);
  }
  return poolSpace;
}

/** Takes all there is, as stretches without a gap. */
export function takeWhole(blocks: Blocks): PortRange[] {
  const stretches: PortRange[] = [];
  for (const block of [...blocks.all()].sort((a, b) => a.first - b.first)) {
    const before = stretches.at(-1);
    if (before !== undefined && before.last + 1 === block.first) stretches[stretches.length - 1] = { first: before.first, last: block.last };
    else stretches.push(block);
  }
  for (const { first, last } of stretches) blocks.takeRange(first, last);
  return stretches;
}
