/**
 * The ports that one request would get, before anything is recorded: picks and block grants that are undone as a whole when one
 * want cannot be met, and for a dry run.
 */
import type { PortRange, Protocol } from '../../shared/ports.js';
import { holderOf } from './leases.js';
import { callBack, callBackIdleLeases, callBackPort, exhausted, idleElsewhere } from './shortage.js';
import type { Holder, Host, Mapping, Pool, PoolSpace, State } from './state.js';
import { inRanges } from './state.js';
import { makePoolSpace } from './poolspace.js';
import type { AllocateCommand, Refusal, WantSpec } from './types.js';

export type Pick = { want: WantSpec; index: number; holder: Holder; port: number; protocol: Protocol; internalPort: number };
export type Outcome = Refusal | { kind: 'waiting' } | undefined;

const FIRST_BLOCK_ORDER = 2;
const LAST_BLOCK_ORDER = 10;

export class Draft {
  readonly picks: Pick[] = [];
  readonly grants: { holder: Holder; ports: PortRange }[] = [];
  /** Quarantined mappings of the same environment whose port it takes back. */
  readonly returning: Mapping[] = [];
  /** Ports given to a free list by this draft's grants. */
  private readonly taken: { holder: Holder; port: number }[] = [];
  /** New leases may be granted to the host. */
  private readonly mayGrow: boolean;

  constructor(
    private readonly state: State,
    private readonly host: Host,
    private readonly command: AllocateCommand,
  ) {
    this.mayGrow = command.dryRun || isSettled(host);
  }

  /** Finds the ports of a want from `from` on (those before it the environment has); undefined: found. */
  take(want: WantSpec, pool: Pool, from: number, field: string): Outcome {
    const holder = holderOf(this.state, spaceIn(this.state, pool, this.host), this.host.record.host);
    const protocol = want.protocol ?? pool.spec.protocol;
    const internalPort = want.internalPort === 0 ? pool.spec.defaultInternalPort : want.internalPort;
    const keep = (index: number, port: number): void => {
      this.picks.push({ want, index, holder, port, protocol, internalPort: internalPort + index });
    };
    if (want.choice.kind === 'exact') return this.takeExact(want.choice.port, want, holder, from, field, keep);
    if (want.contiguous && want.count > 1) return this.takeRun(want, holder, field, keep);
    for (let index = from; index < want.count; index += 1) {
      const preferred = want.choice.kind === 'preferred' ? this.takeAtOnce(want.choice.port + index, holder) : undefined;
      const port = preferred ?? this.takeAny(holder);
      if (port === undefined) {
        const found = this.command.dryRun ? idleElsewhere(this.state, holder, this.picks) : undefined;
        if (found === undefined) return this.shortage(holder, want.count - index, field);
        keep(index, found);
        continue;
      }
      keep(index, port);
    }
    return undefined;
  }

  /** Leaves no trace in memory. */
  rollback(): void {
    for (const { holder, port } of this.taken.reverse()) {
      holder.free.add(port, holder.poolSpace.space.lastUsed.get(port) ?? 0);
    }
    for (const { holder, ports } of this.grants.reverse()) {
      for (let port = ports.first; port <= ports.last; port += 1) holder.free.remove(port);
      holder.poolSpace.blocks.release(ports.first, ports.last);
    }
    for (const list of [this.taken, this.grants, this.picks, this.returning]) list.length = 0;
  }

  private takeAny(holder: Holder): number | undefined {
    if (holder.free.size === 0 && !this.grow(holder, 0)) return undefined;
    const port = holder.free.take();
    if (port !== undefined) this.taken.push({ holder, port });
    return port;
  }

  private takeExact(port: number, want: WantSpec, holder: Holder, from: number, field: string, keep: (index: number, port: number) => void): Outcome {
    for (let index = from; index < want.count; index += 1) {
      const wanted = port + index;
      if (this.takeAtOnce(wanted, holder) === undefined) return this.whyNot(wanted, holder, `${field}.exact_port`);
      keep(index, wanted);
    }
    return undefined;
  }

  private takeRun(want: WantSpec, holder: Holder, field: string, keep: (index: number, port: number) => void): Outcome {
    const preferred = want.choice.kind === 'preferred' ? this.takeRunAt(want.choice.port, want.count, holder) : undefined;
    let first = preferred ?? holder.free.takeRun(want.count);
    if (first === undefined && this.grow(holder, Math.ceil(Math.log2(want.count)), want.count)) first = holder.free.takeRun(want.count);
    if (first === undefined) {
      this.rollback();
      if (!this.mayGrow && !this.command.dryRun) return { kind: 'waiting' };
      if (!this.command.dryRun && callBackIdleLeases(this.state, holder.poolSpace) === 'underWay') return { kind: 'waiting' };
      return {
        kind: 'refused', reason: 'NO_CONTIGUOUS_RUN', field, metadata: { pool: holder.poolSpace.pool.spec.pool, count: `${want.count}` },
        message: `pool ${holder.poolSpace.pool.spec.pool} has no ${want.count} free ports without a gap for host ${holder.host}`,
      };
    }
    for (let index = 0; index < want.count; index += 1) {
      if (preferred === undefined) this.taken.push({ holder, port: first + index });
      keep(index, first + index);
    }
    return undefined;
  }

  private takeRunAt(first: number, count: number, holder: Holder): number | undefined {
    const before = { taken: this.taken.length, returning: this.returning.length };
    for (let port = first; port < first + count; port += 1) {
      if (this.takeAtOnce(port, holder) !== undefined) continue;
      for (const { port: given } of this.taken.splice(before.taken)) holder.free.add(given, holder.poolSpace.space.lastUsed.get(given) ?? 0);
      this.returning.length = before.returning;
      return undefined;
    }
    return first;
  }

  /** This very port, if it is free here or unleased, or rests for this environment. */
  private takeAtOnce(port: number, holder: Holder): number | undefined {
    const { poolSpace } = holder;
    const resting = poolSpace.space.mappingAt.get(port);
    if (resting !== undefined) {
      const lease = this.state.leaseAt(poolSpace.space, port);
      const ours = resting.record.state === 'quarantined' && resting.record.environment === this.command.environment
        && resting.record.tenant === this.command.tenant && resting.record.pool === poolSpace.pool.spec.pool;
      if (!ours || lease?.record.state !== 'active' || lease.record.host !== holder.host || this.returning.includes(resting)) return undefined;
      this.returning.push(resting);
      return port;
    }
    if (!holder.free.has(port)) {
      if (!inRanges(poolSpace.pool.spec.ranges, port) || !poolSpace.blocks.has(port)) return undefined;
      if (!this.mayGrow) return undefined;
      if (!this.state.shared) this.growWhole(holder);
      else if (poolSpace.blocks.takeRange(port, port)) this.granted(holder, { first: port, last: port });
    }
    if (!holder.free.remove(port)) return undefined;
    this.taken.push({ holder, port });
    return port;
  }

  private whyNot(port: number, holder: Holder, field: string): Outcome {
    const { pool, space } = holder.poolSpace;
    const metadata: Record<string, string> = { pool: pool.spec.pool, space: space.name, port: `${port}` };
    const refuse = (reason: Refusal['reason'], message: string, extra: Partial<Refusal> = {}): Refusal => {
      this.rollback();
      return { kind: 'refused', reason, message, field, metadata, ...extra };
    };
    if (!inRanges(pool.spec.ranges, port)) return refuse('PORT_NOT_IN_POOL', `port ${port} is in no range of pool ${pool.spec.pool}`);
    if (pool.reserved.has(port)) return refuse('PORT_RESERVED', `port ${port} is reserved in pool ${pool.spec.pool}`);
    const owner = space.mappingAt.get(port);
    if (owner !== undefined) return this.whyTaken(owner, metadata, refuse);
    const lease = this.state.leaseAt(space, port);
    this.rollback();
    if (!this.mayGrow && !this.command.dryRun) return { kind: 'waiting' };
    if (lease !== undefined && !this.command.dryRun && callBackPort(this.state, holder, lease, port) === 'underWay') return { kind: 'waiting' };
    return { kind: 'refused', reason: 'PORT_TAKEN', message: `port ${port} is leased to a host that does not answer`, field, metadata };
  }

  private whyTaken(owner: Mapping, metadata: Record<string, string>, refuse: (reason: Refusal['reason'], message: string, extra?: Partial<Refusal>) => Refusal): Refusal {
    const { record } = owner;
    if (record.tenant === this.command.tenant || this.command.actor.startsWith('operator:')) metadata['environment'] = record.environment;
    if (record.state === 'quarantined') {
      return refuse('PORT_QUARANTINED', `port ${record.port} was released and rests`, { retryAfterMs: Math.max(1, record.untilMs - this.state.nowMs) });
    }
    metadata['state'] = record.state;
    const until = record.state === 'held' ? `; held until ${new Date(record.untilMs).toISOString()}` : '';
    return refuse('PORT_TAKEN', `port ${record.port} belongs to an environment${until}`);
  }

  private shortage(holder: Holder, wanted: number, field: string): Outcome {
    this.rollback();
    if (!this.mayGrow && !this.command.dryRun) return { kind: 'waiting' };
    if (!this.command.dryRun && callBack(this.state, holder, Math.max(wanted, growthOf(holder))) === 'underWay') return { kind: 'waiting' };
    return exhausted(this.state, holder, this.command.dryRun ? 0 : wanted, field);
  }

  /** A block for the host: twice what it has, as large as can be had, at least 2^order ports (or a run of `run`). */
  private grow(holder: Holder, order: number, run = 1): boolean {
    const { blocks } = holder.poolSpace;
    if (!this.mayGrow) return false;
    if (!this.state.shared) return this.growWhole(holder);
    const scarce = blocks.size * 8 < holder.poolSpace.pool.total;
    const wanted = Math.max(order, scarce ? 0 : Math.ceil(Math.log2(growthOf(holder))));
    for (let size = wanted; size >= order; size -= 1) {
      const ports = blocks.take(size);
      if (ports === undefined) continue;
      this.granted(holder, ports);
      return true;
    }
    const first = run > 1 ? blocks.findRun(run) : undefined;
    if (first === undefined || !blocks.takeRange(first, first + run - 1)) return false;
    this.granted(holder, { first, last: first + run - 1 });
    return true;
  }

  /** Scope host: all that the pool has in the host's own space. */
  private growWhole(holder: Holder): boolean {
    const { blocks } = holder.poolSpace;
    const runs: PortRange[] = [];
    for (const block of [...blocks.all()].sort((a, b) => a.first - b.first)) {
      const last = runs.at(-1);
      if (last !== undefined && last.last + 1 === block.first) runs[runs.length - 1] = { first: last.first, last: block.last };
      else runs.push(block);
    }
    for (const ports of runs) {
      blocks.takeRange(ports.first, ports.last);
      this.granted(holder, ports);
    }
    return runs.length > 0;
  }

  private granted(holder: Holder, ports: PortRange): void {
    const { lastUsed } = holder.poolSpace.space;
    for (let port = ports.first; port <= ports.last; port += 1) holder.free.add(port, lastUsed.get(port) ?? 0);
    this.grants.push({ holder, ports });
  }
}

/** The host has applied all that was taken from it: nothing old is served there under a number that it may get again. */
export function isSettled(host: Host): boolean {
  return host.appliedRevision >= host.mustApply;
}

/** Ports in the next block of a host: as many as it has, so that what it has doubles. */
function growthOf(holder: Holder): number {
  return Math.min(2 ** LAST_BLOCK_ORDER, Math.max(2 ** FIRST_BLOCK_ORDER, 2 ** Math.floor(Math.log2(Math.max(1, holder.ports)))));
}

export function spaceIn(state: State, pool: Pool, host: Host): PoolSpace {
  const space = state.spaceOf(host.record.host);
  let poolSpace = pool.spaces.get(space.name);
  if (poolSpace === undefined) {
    poolSpace = makePoolSpace(state, pool, space);
    pool.spaces.set(space.name, poolSpace);
  }
  return poolSpace;
}
