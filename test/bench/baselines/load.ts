/** A load that lasts about as long as asked, by a generator that takes a number of calls. */
import type { LoadResult } from '../h2load.js';

const WARM_CALLS = 2_000;

/** Warms up, which tells the rate, and then sends the calls of that many seconds, all in all at most `most`; `sent` counts both. */
export async function loadFor(seconds: number, most: number, load: (calls: number) => Promise<LoadResult>): Promise<{ result: LoadResult; sent: number }> {
  const warm = await load(WARM_CALLS);
  const calls = Math.max(1_000, Math.min(most - WARM_CALLS, Math.round(warm.callsPerSecond * seconds)));
  return { result: await load(calls), sent: WARM_CALLS + calls };
}
