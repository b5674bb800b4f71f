/** A load that lasts about as long as asked, by a generator that takes a number of calls. */
import type { LoadResult } from '../h2load.js';

const LEAST_CALLS = 500;

export type Length = { seconds: number; warmCalls: number; mostCalls: number };

/** Warms up, which tells the rate, and then sends the calls of that many seconds; `sent` counts both, and is `mostCalls` at most. */
export async function loadFor({ seconds, warmCalls, mostCalls }: Length, load: (calls: number) => Promise<LoadResult>): Promise<{ result: LoadResult; sent: number }> {
  const warm = await load(warmCalls);
  const calls = Math.max(LEAST_CALLS, Math.min(mostCalls - warmCalls, Math.round(warm.callsPerSecond * seconds)));
  return { result: await load(calls), sent: warmCalls + calls };
}
