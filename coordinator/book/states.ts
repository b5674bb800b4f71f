/** What the states of a mapping mean. */
import type { MappingState } from './types.js';

/** Serves its environment, or will when its host is back. */
export function isInForce(state: MappingState): boolean {
  return state === 'pending' || state === 'live' || state === 'blocked' || state === 'held';
}
