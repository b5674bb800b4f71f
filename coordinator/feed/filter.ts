/** Which events a watcher wants. */
import type { EventKind, EventRecord } from '../book/types.js';
import type { StoredEvent } from '../journal/journal.js';

/** Empty fields fit everything. */
type Fields = { kinds: readonly EventKind[]; host: string; environment: string };

/** `key`: the same for filters that let the same pass. */
export type EventFilter = Fields & { key: string };

export function eventFilter({ kinds, host, environment }: Fields): EventFilter {
  const sorted = [...new Set(kinds)].sort();
  return { kinds: sorted, host, environment, key: JSON.stringify([sorted, host, environment]) };
}

export const EVERYTHING = eventFilter({ kinds: [], host: '', environment: '' });

/** The same array when nothing is asked for. */
export function fitting(filter: EventFilter, events: readonly StoredEvent[]): readonly StoredEvent[] {
  return filter.key === EVERYTHING.key ? events : events.filter((event) => fits(filter, event));
}

function fits({ kinds, host, environment }: EventFilter, event: EventRecord): boolean {
  return (kinds.length === 0 || kinds.includes(event.kind)) && (host === '' || event.host === host)
    && (environment === '' || event.environment === environment);
}
