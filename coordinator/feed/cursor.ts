/** Where somebody is in the event stream of a gateway. */
import type { EventCursor } from '../journal/journal.js';

export type { EventCursor } from '../journal/journal.js';

/** Everything up to and including this revision. */
export function upTo(revision: number): EventCursor {
  return { revision, position: 0 };
}

/** An event with this sequence and position comes after the cursor. */
export function isAfter(cursor: EventCursor, event: { sequence: number; position: number }): boolean {
  if (event.sequence !== cursor.revision) return event.sequence > cursor.revision;
  return cursor.position > 0 && event.position > cursor.position;
}

/** "17", or "17.3" for the first three events of a decision. */
export function cursorText({ revision, position }: EventCursor): string {
  return position === 0 ? `${revision}` : `${revision}.${position}`;
}
