/** Events for tests: whole and plausible, told apart by their decision and place in it. */
import type { EventRecord } from '../../../coordinator/book/types.js';
import type { StoredEvent } from '../../../coordinator/journal/journal.js';

export const GATEWAY = 'gw';

export function event(sequence: number, of: Partial<EventRecord> = {}): EventRecord {
  return { sequence, atMs: 1_000 * sequence, kind: 'PortAllocated', host: 'host-a', environment: 'env-1', mappingId: 'm1', detail: '{}', ...of };
}

/** One event for each sequence. */
export function events(...sequences: number[]): EventRecord[] {
  return sequences.map((sequence) => event(sequence));
}

/** "17.1 17.2 18.1" */
export function placesOf(list: readonly Pick<StoredEvent, 'sequence' | 'position'>[]): string {
  return list.map(({ sequence, position }) => `${sequence}.${position}`).join(' ');
}
