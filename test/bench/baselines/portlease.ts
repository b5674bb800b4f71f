/** The real coordinator over real gRPC: every call a port of its own, durable with its event and audit rows. */
import type { LoadResult } from '../h2load.js';
import { inPorts, withCoordinator } from '../rpc.js';
import { loadFor } from './load.js';

const MANY = { connections: 4, streams: 64 };
const ONE = { connections: 1, streams: 1 };
/** What the compiler of Node has to see before the rate stands still. */
const WARM = { ...MANY, calls: 12_000 };
/** Together with WARM less than the pool's 60,000 ports. */
const LENGTH = { one: { warmCalls: 500, mostCalls: 6_000 }, many: { warmCalls: 2_000, mostCalls: 41_000 }, batches: { warmCalls: 40, mostCalls: 740 } };
/** Requests of a call, 16 calls at a time. */
const BATCHES = { connections: 4, streams: 4, batch: 64 };
const WARM_BATCHES = { ...BATCHES, calls: 190 };

/** Of batches ports are counted, and the times are those of a call. */
export type PortleaseResults = { one: LoadResult; many: LoadResult; batches: LoadResult };

export async function measurePortlease(seconds: number): Promise<PortleaseResults> {
  const single = await withCoordinator(async (allocate) => {
    await allocate(WARM);
    const one = await loadFor({ ...LENGTH.one, seconds }, (calls) => allocate({ ...ONE, calls }));
    const many = await loadFor({ ...LENGTH.many, seconds }, (calls) => allocate({ ...MANY, calls }));
    return { one: one.result, many: many.result };
  });
  const batches = await withCoordinator(async (allocate) => {
    await allocate(WARM_BATCHES);
    return loadFor({ ...LENGTH.batches, seconds }, (calls) => allocate({ ...BATCHES, calls }));
  });
  return { ...single, batches: inPorts(batches.result, BATCHES.batch) };
}
