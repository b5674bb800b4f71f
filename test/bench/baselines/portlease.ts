/** The real coordinator over real gRPC: every call a port of its own, durable with its event and audit rows. */
import type { LoadResult } from '../h2load.js';
import { withCoordinator } from '../rpc.js';
import { loadFor } from './load.js';

const MANY = { connections: 4, streams: 64 };
const ONE = { connections: 1, streams: 1 };
/** Of the pool's 60,000 ports: one at a time is the slower by far. */
const MOST = { many: 51_000, one: 8_000 };

export type PortleaseResults = { one: LoadResult; many: LoadResult };

export function measurePortlease(seconds: number): Promise<PortleaseResults> {
  return withCoordinator(async (allocate) => {
    const one = await loadFor(seconds, MOST.one, (calls) => allocate({ ...ONE, calls }));
    const many = await loadFor(seconds, MOST.many, (calls) => allocate({ ...MANY, calls }));
    return { one: one.result, many: many.result };
  });
}
