/**
 * How allocations and releases of each pool fare: since the start, and over the last five minutes. Measured where the answer is durable;
 * memory is bounded by pools and by ports that are being released.
 */
import { status } from '@grpc/grpc-js';
import { Histogram } from '../../shared/histogram.js';
import { REASONS } from '../../shared/reasons.js';
import type { AllocateCommand, EventRecord, Reply } from '../book/types.js';

/** `failed`: requests that nothing was wrong with: no port, no host that answers, no database. */
export type Rates = { granted: number; failed: number; allocation: Histogram; release: Histogram };
export type PoolRates = { recent: Rates; sinceStart: Rates };

const SLOT_MS = 30_000;
/** Beside the one that is being filled. */
const SLOTS = 10;
/** Releases under way that are timed: as many as a port space has ports. */
const MAX_RELEASING = 65_536;

/** Refusals that the caller has to answer for. */
const CALLERS: readonly status[] = [status.INVALID_ARGUMENT, status.NOT_FOUND, status.ALREADY_EXISTS, status.PERMISSION_DENIED, status.OUT_OF_RANGE];

type Measured = { sinceStart: Rates; slots: Map<number, Rates & { slot: number }> };

export class PoolMeter {
  readonly #pools = new Map<string, Measured>();
  /** When mappings were given up, by id. */
  readonly #releasing = new Map<string, number>();

  /** A durable answer to a request that came at `askedAtMs`. Replays, dry runs and what the caller did wrong do not count. */
  answered({ wants, dryRun }: AllocateCommand, reply: Reply, { askedAtMs, nowMs }: { askedAtMs: number; nowMs: number }): void {
    if (dryRun) return;
    if (reply.kind === 'allocated') {
      if (reply.replayed) return;
      const { mappings } = reply;
      for (const [at, { pool }] of mappings.entries()) {
        if (at > 0 && mappings.findIndex((mapping) => mapping.pool === pool) < at) continue;
        this.#count(this.#pool(pool), nowMs, (rates) => {
          rates.granted += 1;
          rates.allocation.add(nowMs - askedAtMs);
        });
      }
    } else if (reply.kind === 'refused' && !CALLERS.includes(REASONS[reply.reason].code)) {
      const named = reply.metadata?.['pool'];
      const pools = named === undefined ? wants.flatMap(({ source }) => (source.kind === 'pool' && this.#pools.has(source.pool) ? [source.pool] : [])) : [named];
      for (const pool of new Set(pools)) this.#count(this.#pool(pool), nowMs, (rates) => { rates.failed += 1; });
    }
  }

  /** What a commit told: a release takes from when it was asked for until its host, or the gateway, has confirmed it. */
  committed(events: readonly EventRecord[]): void {
    for (const { kind, mappingId, atMs, detail } of events) {
      if (kind === 'PortChanged' && detail.includes('"state":"releasing"')) {
        if (!this.#releasing.has(mappingId) && this.#releasing.size < MAX_RELEASING) this.#releasing.set(mappingId, atMs);
      } else if (kind === 'PortReleased') this.#released(mappingId, atMs, detail);
    }
  }

  of(pool: string, nowMs: number): PoolRates {
    const measured = this.#pools.get(pool);
    const recent = newRates();
    const slot = Math.floor(nowMs / SLOT_MS);
    for (const one of measured?.slots.values() ?? []) {
      if (one.slot < slot - SLOTS) continue;
      recent.granted += one.granted;
      recent.failed += one.failed;
      recent.allocation.addAll(one.allocation);
      recent.release.addAll(one.release);
    }
    return { recent, sinceStart: measured?.sinceStart ?? newRates() };
  }

  #released(mappingId: string, atMs: number, detail: string): void {
    const sinceMs = this.#releasing.get(mappingId);
    if (sinceMs === undefined) return;
    this.#releasing.delete(mappingId);
    const { pool } = JSON.parse(detail) as { pool: string };
    this.#count(this.#pool(pool), atMs, (rates) => { rates.release.add(atMs - sinceMs); });
  }

  #pool(pool: string): Measured {
    let measured = this.#pools.get(pool);
    if (measured === undefined) this.#pools.set(pool, measured = { sinceStart: newRates(), slots: new Map() });
    return measured;
  }

  #count({ sinceStart, slots }: Measured, nowMs: number, add: (rates: Rates) => void): void {
    add(sinceStart);
    const slot = Math.floor(nowMs / SLOT_MS);
    const at = slot % (SLOTS + 1);
    let current = slots.get(at);
    if (current?.slot !== slot) slots.set(at, current = { ...newRates(), slot });
    add(current);
  }
}

function newRates(): Rates {
  return { granted: 0, failed: 0, allocation: new Histogram(), release: new Histogram() };
}
