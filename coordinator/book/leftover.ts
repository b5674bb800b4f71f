/** Ports that left their pool, or were reserved, while environments had them: served until they are released, and given out no more. */
import { withdraw } from './leases.js';
import { isUsable } from './poolspace.js';
import type { Lease, Mapping, Pool, State } from './state.js';
import type { PortRange } from '../../shared/ports.js';

/** Of the pool as it is now: run after each change of its ranges or reserved ports. */
export function findLeftover(state: State, pool: Pool): void {
  pool.leftover.clear();
  for (const mapping of state.mappings.values()) {
    if (mapping.record.pool === pool.spec.pool && !isUsable(pool, mapping.record.port)) pool.leftover.add(mapping);
  }
}

/** Takes back what hosts have leased of ports that the pool may not give out any more; `everything`: all that they have of it. */
export function withdrawLeftover(state: State, pool: Pool, everything: boolean): void {
  for (const poolSpace of pool.spaces.values()) {
    for (const holder of poolSpace.holders.values()) {
      for (const lease of [...holder.leases]) {
        for (const run of runs(lease.record, (port) => (everything || !isUsable(pool, port)) && !isServed(state, lease, port))) {
          const current = state.leaseAt(poolSpace.space, run.first);
          if (current !== undefined) withdraw(state, current, run);
        }
      }
    }
  }
}

/** The release of such a port is confirmed: its host's right to it ends. */
export function endLeftover(state: State, mapping: Mapping): void {
  const { pool, space, port } = mapping.record;
  if (state.pools.get(pool)?.leftover.has(mapping) !== true) return;
  const lease = state.leaseAt(state.space(space), port);
  if (lease !== undefined && lease.record.state !== 'withdrawing') withdraw(state, lease, { first: port, last: port });
}

/** The first port of the range that still serves an environment for a pool that has it no more. */
export function leftoverIn({ leftover }: Pool, range: PortRange): number | undefined {
  let lowest: number | undefined;
  for (const { record: { port, state } } of leftover) {
    if (state !== 'quarantined' && port >= range.first && port <= range.last && port < (lowest ?? Infinity)) lowest = port;
  }
  return lowest;
}

/** Stretches of the range whose ports all match. */
export function runs({ first, last }: PortRange, matches: (port: number) => boolean): PortRange[] {
  const found: PortRange[] = [];
  for (let port = first; port <= last; port += 1) {
    if (!matches(port)) continue;
    const before = found.at(-1);
    if (before !== undefined && before.last + 1 === port) found[found.length - 1] = { first: before.first, last: port };
    else found.push({ first: port, last: port });
  }
  return found;
}

/** An environment has the port, or its release is not confirmed. */
export function isServed(state: State, { record }: Lease, port: number): boolean {
  const owner = state.space(record.space).mappingAt.get(port)?.record.state;
  return owner !== undefined && owner !== 'quarantined';
}
