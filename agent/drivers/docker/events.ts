/** The event stream of the Docker Engine: text in, events out. Pure. */

/** What else an event says is looked up. */
export type DockerEvent = { kind: 'container'; action: string; id: string } | { kind: 'network'; action: string; container: string | undefined };

/** Of one event as text: an exec of a long command line is longer, and of no interest. */
export const MAX_LINE = 1_048_576;

export class EventReader {
  private partial = '';

  /** Events of the lines that are whole with this text. `problem`: what comes after them is no event; nothing more can be read then. */
  push(text: string): { events: DockerEvent[]; problem: string | undefined } {
    const lines = (this.partial + text).split('\n');
    this.partial = lines.pop() ?? '';
    const events: DockerEvent[] = [];
    for (const line of lines) {
      const event = eventOf(line);
      if (event === 'bad') return { events, problem: 'the Docker Engine sent an event that cannot be read' };
      if (event !== undefined) events.push(event);
    }
    return { events, problem: this.partial.length > MAX_LINE ? 'an event of the Docker Engine is too long' : undefined };
  }
}

type Said = { Type?: unknown; Action?: unknown; Actor?: { ID?: unknown; Attributes?: Record<string, unknown> | null } | null };

/** Undefined: an event of no interest. */
function eventOf(line: string): DockerEvent | 'bad' | undefined {
  if (line.trim() === '') return undefined;
  const said = objectIn(line);
  if (said === undefined) return 'bad';
  const { Type, Action, Actor } = said;
  const id = Actor?.ID;
  if (typeof Action !== 'string' || typeof id !== 'string') return undefined;
  if (Type === 'container') return { kind: 'container', action: Action, id };
  const container = Actor?.Attributes?.['container'];
  return Type === 'network' ? { kind: 'network', action: Action, container: typeof container === 'string' ? container : undefined } : undefined;
}

function objectIn(line: string): Said | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
