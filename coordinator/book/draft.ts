/**
 * The ports that one request would get, before anything is recorded: picks and block grants that are undone as a whole when one
 * want cannot be met, and for a dry run.
 */
import { MAX_PORT, type PortRange, type Protocol } from '../../shared/ports.js';
import { formerPort, formersOf, type Former } from './former.js';
import { growthOf, isSettled, spaceIn, takeWhole } from './growth.js';
import { holderOf } from './leases.js';
import { callBack, callBackPort, callBackRun, exhausted, findRun, idleElsewhere, mayCallBack, refuseSpared, refuseSparedRun } from './shortage.js';
import type { Holder, Host, Mapping, Pool, State } from './state.js';
import { inRanges } from './state.js';
import type { AllocateCommand, Refusal, WantSpec } from './types.js';

export type Pick = { want: WantSpec; index: number; holder: Holder; port: number; protocol: Protocol; internalPort: number };
export type Outcome = Refusal | { kind: 'waiting' } | undefined;

/** What a draft needs to know of a request. */
type Asking = { readonly [Field in 'environment' | 'tenant' | 'actor' | 'dryRun']: AllocateCommand[Field] };

/** A want of the request, where it stands there, and the mappings in force that the environment has under its name. */
export type Ask = { want: WantSpec; field: string; pool: Pool; had: readonly Mapping[] };

/** A want with the indexes that are still to be found. */
type Task = { want: WantSpec; field: string; had: readonly Mapping[]; missing: readonly number[]; holder: Holder; protocol: Protocol; internalPort: number };

export class Draft {
  readonly picks: Pick[] = [];
  readonly grants: { holder: Holder; ports: PortRange }[] = [];
  /** Quarantined mappings of the same environment whose port it takes back. */
  readonly returning: Mapping[] = [];
  /** Ports taken from a free list. */
  private readonly taken: { holder: Holder; port: number }[] = [];
  /** New leases may be granted to the host. */
  private readonly mayGrow: boolean;
  /** What the environment had before it was released. */
  private readonly formers: readonly Former[];

  constructor(
    private readonly state: State,
    private readonly host: Host,
    private readonly command: Asking,
  ) {
    this.mayGrow = command.dryRun || isSettled(host);
    this.formers = formersOf(state, command);
  }

  /** The environment had a port under the name of this want. */
  hasFormer({ want }: Ask): boolean {
    return this.formers.some(({ name }) => name === want.name);
  }

  /** Finds the ports of a want that the environment does not have yet; undefined: found. */
  take(ask: Ask): Outcome {
    const { want, pool } = ask;
    const task: Task = {
      want, field: ask.field, had: ask.had, missing: missingOf(ask), holder: holderOf(this.state, spaceIn(this.state, pool, this.host), this.host.record.host),
      protocol: want.protocol ?? pool.spec.protocol, internalPort: want.internalPort === 0 ? pool.spec.defaultInternalPort : want.internalPort,
    };
    if (want.choice.kind === 'exact') return this.takeFrom(task, want.choice.port, `${task.field}.exact_port`);
    return want.contiguous && want.count > 1 ? this.takeContiguous(task) : this.takeEach(task);
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

  private keep(task: Task, index: number, port: number): void {
    const { want, holder, protocol, internalPort } = task;
    this.picks.push({ want, index, holder, port, protocol, internalPort: internalPort + index });
  }

  private takeEach(task: Task): Outcome {
    const { holder } = task;
    const { choice } = task.want;
    const open = choice.kind === 'preferred' ? this.takePreferred(task, choice.port) : task.missing;
    const left = this.formers.length === 0 ? open : this.takeFormer(task, open);
    for (let found = 0; found < left.length; found += 1) {
      const index = left[found] as number;
      const port = this.takeAny(holder) ?? (this.command.dryRun ? idleElsewhere(this.state, holder, this.picks) : undefined);
      if (port === undefined) return this.shortage(holder, left.length - found, task.field);
      this.keep(task, index, port);
    }
    return undefined;
  }

  /** Takes what it can of the preferred ports; returns the indexes that need any other. */
  private takePreferred(task: Task, first: number): number[] {
    return task.missing.filter((index) => {
      const port = this.takeAtOnce(first + index, task.holder);
      if (port !== undefined) this.keep(task, index, port);
      return port === undefined;
    });
  }

  /** Takes what is at hand of the ports that the environment had; returns the indexes that need any other. */
  private takeFormer(task: Task, indexes: readonly number[]): readonly number[] {
    return indexes.filter((index) => {
      const port = formerPort(this.formers, task.want.name, index);
      if (port === undefined || !this.isAtHand(port, task.holder) || this.takeAtOnce(port, task.holder) === undefined) return true;
      this.keep(task, index, port);
      return false;
    });
  }

  private takeAny(holder: Holder): number | undefined {
    while (holder.free.size === 0) if (!this.grow(holder, 0)) return undefined;
    const port = holder.free.take();
    if (port !== undefined) this.taken.push({ holder, port });
    return port;
  }

  /** The port with index 0 is `first`: takes those of the missing indexes, or says why that cannot be. */
  private takeFrom(task: Task, first: number, field: string): Outcome {
    for (const index of task.missing) {
      const port = first + index;
      const found = this.takeAtOnce(port, task.holder) !== undefined || (this.command.dryRun && this.isIdleElsewhere(port, task.holder));
      if (!found) return this.whyNot(port, task.holder, field);
      this.keep(task, index, port);
    }
    return undefined;
  }

  private takeContiguous(task: Task): Outcome {
    const { want, holder, had } = task;
    if (task.missing.length === 0) return undefined;
    const first = had.length > 0 ? runStart(had) : this.takeRun(task);
    if (had.length > 0 && first !== undefined) return this.takeFrom(task, first, `${task.field}.contiguous`);
    if (first !== undefined) {
      for (const index of task.missing) this.keep(task, index, first + index);
      return undefined;
    }
    return had.length > 0 ? this.noRun(task) : this.askOthers(task, findRun(this.state, holder, want.count, { idleElsewhereBut: this.picks }));
  }

  /** Takes a run for a want of which the environment has nothing, cheapest way first; its first port, or undefined. */
  private takeRun(task: Task): number | undefined {
    const { want, holder } = task;
    const { count } = want;
    if (want.choice.kind === 'preferred' && this.takeRunAt(want.choice.port, count, holder)) return want.choice.port;
    const former = formerPort(this.formers, want.name, 0);
    if (former !== undefined && former + count - 1 <= MAX_PORT && this.takeRunAt(former, count, holder)) return former;
    const own = holder.free.findRun(count) ?? (this.grow(holder, Math.ceil(Math.log2(count))) ? holder.free.findRun(count) : undefined);
    const first = own ?? (this.mayGrow ? findRun(this.state, holder, count, 'own') : undefined);
    return first !== undefined && this.takeRunAt(first, count, holder) ? first : undefined;
  }

  /** Takes all these ports, or none. */
  private takeRunAt(first: number, count: number, holder: Holder): boolean {
    for (let port = first; port < first + count; port += 1) if (!this.isAtHand(port, holder)) return false;
    this.growOver(holder, { first, last: first + count - 1 });
    for (let port = first; port < first + count; port += 1) {
      if (this.takeAtOnce(port, holder) === undefined) throw new Error(`port ${port} was free a moment ago`);
    }
    return true;
  }

  /** This very port, if it is free here or unleased, or rests for this environment. */
  private takeAtOnce(port: number, holder: Holder): number | undefined {
    const resting = holder.poolSpace.space.mappingAt.get(port);
    if (resting !== undefined) {
      if (!this.mayReturn(resting, holder)) return undefined;
      this.returning.push(resting);
      return port;
    }
    if (!holder.free.has(port)) {
      if (!this.isUnleased(port, holder)) return undefined;
      this.growOver(holder, { first: port, last: port });
    }
    if (!holder.free.remove(port)) return undefined;
    this.taken.push({ holder, port });
    return port;
  }

  private isAtHand(port: number, holder: Holder): boolean {
    const resting = holder.poolSpace.space.mappingAt.get(port);
    if (resting !== undefined) return this.mayReturn(resting, holder);
    return holder.free.has(port) || (this.isUnleased(port, holder) && !this.host.occupied.has(port));
  }

  /** A new lease can be granted over it. */
  private isUnleased(port: number, { poolSpace }: Holder): boolean {
    return this.mayGrow && inRanges(poolSpace.pool.spec.ranges, port) && poolSpace.blocks.has(port);
  }

  /** The environment may have its port back before the quarantine is over, unless a process of the host has taken it meanwhile. */
  private mayReturn({ record }: Mapping, holder: Holder): boolean {
    const { environment, tenant } = this.command;
    if (record.state !== 'quarantined' || record.environment !== environment || record.tenant !== tenant || this.host.occupied.has(record.port)) return false;
    const { pool, space } = holder.poolSpace;
    if (!inRanges(pool.spec.ranges, record.port) || pool.reserved.has(record.port)) return false;
    const lease = this.state.leaseAt(space, record.port)?.record;
    return record.pool === pool.spec.pool && lease?.state === 'active' && lease.host === holder.host && !this.returning.some((mapping) => mapping.record === record);
  }

  private isIdleElsewhere(port: number, holder: Holder): boolean {
    const lease = this.state.leaseAt(holder.poolSpace.space, port);
    return lease !== undefined && mayCallBack(this.state, holder, lease, port);
  }

  private whyNot(port: number, holder: Holder, field: string): Outcome {
    const { pool, space } = holder.poolSpace;
    const metadata: Record<string, string> = { pool: pool.spec.pool, space: space.name, port: `${port}` };
    const refuse = (reason: Refusal['reason'], message: string): Refusal => ({ kind: 'refused', reason, message, field, metadata });
    const twice = this.picks.some((pick) => pick.port === port && pick.holder === holder);
    this.rollback();
    if (twice) return refuse('INVALID_FIELD', `port ${port} is asked for by another want`);
    if (!inRanges(pool.spec.ranges, port)) return refuse('PORT_NOT_IN_POOL', `port ${port} is in no range of pool ${pool.spec.pool}`);
    if (pool.reserved.has(port)) return refuse('PORT_RESERVED', `port ${port} is reserved in pool ${pool.spec.pool}`);
    const owner = space.mappingAt.get(port);
    if (owner !== undefined) return this.whyTaken(owner, refuse);
    if (!this.mayGrow) return { kind: 'waiting' };
    const lease = this.state.leaseAt(space, port);
    if (lease === undefined || lease.holder === holder && lease.record.state !== 'fencing') return refuse('PORT_TAKEN', `a process of host ${holder.host} listens on port ${port}`);
    if (!this.command.dryRun && callBackPort(this.state, holder, lease, port) === 'underWay') return { kind: 'waiting' };
    return refuseSpared(this.state, lease, { port, metadata, field }) ?? refuse('PORT_TAKEN', `port ${port} is leased to another host that does not give it`);
  }

  private whyTaken(owner: Mapping, refuse: (reason: Refusal['reason'], message: string) => Refusal): Refusal {
    const { record } = owner;
    const told = record.tenant === this.command.tenant || this.command.actor.startsWith('operator:') ? { environment: record.environment } : {};
    if (record.state === 'quarantined') {
      const refusal = refuse('PORT_QUARANTINED', `port ${record.port} was released and rests`);
      return { ...refusal, metadata: { ...refusal.metadata, ...told }, retryAfterMs: Math.max(1, record.untilMs - this.state.nowMs) };
    }
    const until = record.state === 'held' ? `; held until ${new Date(record.untilMs).toISOString()}` : '';
    const refusal = refuse('PORT_TAKEN', `port ${record.port} belongs to an environment${until}`);
    return { ...refusal, metadata: { ...refusal.metadata, ...told, state: record.state } };
  }

  private shortage(holder: Holder, wanted: number, field: string): Outcome {
    this.rollback();
    if (!this.mayGrow) return { kind: 'waiting' };
    if (!this.command.dryRun && callBack(this.state, holder, Math.max(wanted, growthOf(holder))) === 'underWay') return { kind: 'waiting' };
    return exhausted(this.state, holder, this.command.dryRun ? 0 : wanted, field);
  }

  /** No run is at hand: asks other hosts for what they have free of `first`.., if there is such a run. */
  private askOthers(task: Task, first: number | undefined): Outcome {
    const { want, holder } = task;
    if (this.command.dryRun) {
      if (first === undefined) return this.noRun(task);
      for (const index of task.missing) {
        this.takeAtOnce(first + index, holder);
        this.keep(task, index, first + index);
      }
      return undefined;
    }
    this.rollback();
    if (!this.mayGrow) return { kind: 'waiting' };
    return callBackRun(this.state, holder, first, want.count) === 'underWay' ? { kind: 'waiting' } : this.noRun(task);
  }

  private noRun({ want, holder, field }: Task): Refusal {
    const { pool } = holder.poolSpace.pool.spec;
    const metadata = { pool, count: `${want.count}` };
    return refuseSparedRun(this.state, holder, { length: want.count, metadata, field }) ?? {
      kind: 'refused', reason: 'NO_CONTIGUOUS_RUN', field, metadata,
      message: `pool ${pool} has no ${want.count} free ports without a gap for host ${holder.host}`,
    };
  }

  /** A block for the host: twice what it has, as large as can be had, at least 2^order ports. */
  private grow(holder: Holder, order: number): boolean {
    const { blocks, pool } = holder.poolSpace;
    if (!this.mayGrow) return false;
    if (!this.state.shared) return this.growWhole(holder);
    const scarce = blocks.size * 8 < pool.total;
    const wanted = Math.max(order, scarce ? 0 : Math.ceil(Math.log2(growthOf(holder))));
    if (pool.spec.strategy === 'sequential') {
      const lowest = blocks.takeLowest(wanted, order);
      if (lowest !== undefined) this.granted(holder, lowest);
      return lowest !== undefined;
    }
    for (let size = wanted; size >= order; size -= 1) {
      const ports = blocks.take(size);
      if (ports === undefined) continue;
      this.granted(holder, ports);
      return true;
    }
    return false;
  }

  /** Leases to the host what is unleased of these ports, each stretch as one. */
  private growOver(holder: Holder, { first, last }: PortRange): void {
    const { blocks } = holder.poolSpace;
    for (let port = first; port <= last; port += 1) {
      if (!blocks.has(port)) continue;
      if (!this.state.shared) {
        this.growWhole(holder);
        return;
      }
      let end = port;
      while (end < last && blocks.has(end + 1)) end += 1;
      blocks.takeRange(port, end);
      this.granted(holder, { first: port, last: end });
      port = end;
    }
  }

  /** Scope host: all that the pool has in the host's own space. */
  private growWhole(holder: Holder): boolean {
    const stretches = takeWhole(holder.poolSpace.blocks);
    for (const ports of stretches) this.granted(holder, ports);
    return stretches.length > 0;
  }

  private granted(holder: Holder, ports: PortRange): void {
    const { lastUsed } = holder.poolSpace.space;
    const { occupied } = this.host;
    for (let port = ports.first; port <= ports.last; port += 1) if (!occupied.has(port)) holder.free.add(port, lastUsed.get(port) ?? 0);
    this.grants.push({ holder, ports });
  }
}

const FIRST_ONLY: readonly number[] = [0];

function missingOf({ want, had }: Ask): readonly number[] {
  if (want.count === 1 && had.length === 0) return FIRST_ONLY;
  const missing: number[] = [];
  for (let index = 0; index < want.count; index += 1) if (!had.some(({ record }) => record.index === index)) missing.push(index);
  return missing;
}

/** The port that index 0 has, or would have, in the run that these belong to; undefined when they are not of one run. */
function runStart(had: readonly Mapping[]): number | undefined {
  const starts = new Set(had.map(({ record }) => record.port - record.index));
  return starts.size === 1 ? [...starts][0] : undefined;
}
