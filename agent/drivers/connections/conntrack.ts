/** The kernel's connection table, read and changed by conntrack(8). */
import type { Transport } from '../../../shared/ports.js';
import { ChildFailed, type RunChild } from '../child.js';
import { eachOf } from './concurrency.js';
import { isConnection, parseEntry, type ConntrackEntry } from './entry.js';

const DEADLINE_MS = 20_000;
const LINES_A_TURN = 5_000;

export type Deletion =
  | { kind: 'port'; transport: Transport; address: string; port: number }
  /** All connections from `address` to a target. */
  | { kind: 'target'; transport: Transport; address: string; target: string }
  /** All connections through a port to one place: others of the port stay. */
  | { kind: 'place'; transport: Transport; address: string; port: number; place: { address: string; port: number } }
  | { kind: 'entry'; entry: ConntrackEntry };

/**
 * All entries of these transports, of both families, in one dump: the kernel walks its whole table for any question, so asking for a
 * port costs as much, and what is looked for are entries in two directions.
 */
export async function listEntries(run: RunChild, transports: readonly Transport[]): Promise<ConntrackEntry[]> {
  if (transports.length === 0) return [];
  const filter = transports.length === 1 ? ['-p', transports[0] as Transport] : [];
  const { stdout } = await run('conntrack', ['-L', ...filter], { deadlineMs: DEADLINE_MS });
  return parseAll(stdout, parseEntry);
}

/** Connections that lead elsewhere than they were sent to, open or ended a moment ago, of TCP and UDP and both families. */
export async function listForwarded(run: RunChild): Promise<ConntrackEntry[]> {
  const { stdout } = await run('conntrack', ['-L', '--dst-nat'], { deadlineMs: DEADLINE_MS });
  return parseAll(stdout, line => (isConnection(line) ? parseEntry(line) : undefined));
}

async function parseAll(text: string, parse: (line: string) => ConntrackEntry | undefined): Promise<ConntrackEntry[]> {
  const entries: ConntrackEntry[] = [];
  let lines = 0;
  for (let start = 0; start < text.length;) {
    const newline = text.indexOf('\n', start);
    const end = newline === -1 ? text.length : newline;
    const entry = end > start ? parse(text.slice(start, end)) : undefined;
    if (entry !== undefined) entries.push(entry);
    start = end + 1;
    if (++lines % LINES_A_TURN === 0) await new Promise(resolve => setImmediate(resolve));
  }
  return entries;
}

/** Deletes what is there; what is absent already is no failure. */
export async function deleteEntries(run: RunChild, deletions: readonly Deletion[]): Promise<void> {
  await eachOf(deletions, async deletion => {
    try {
      await run('conntrack', ['-D', ...filterOf(deletion)], { deadlineMs: DEADLINE_MS });
    } catch (error) {
      if (!isNothingDeleted(error)) throw error;
    }
  });
}

function filterOf(deletion: Deletion): string[] {
  switch (deletion.kind) {
    case 'port':
      return ['-p', deletion.transport, '--orig-dst', deletion.address, '--orig-port-dst', String(deletion.port)];
    case 'target':
      return ['-p', deletion.transport, '--orig-dst', deletion.address, '--reply-src', deletion.target];
    case 'place': {
      const { transport, address, port, place } = deletion;
      return ['-p', transport, '--orig-dst', address, '--orig-port-dst', String(port), '--reply-src', place.address, '--reply-port-src', String(place.port)];
    }
    case 'entry': {
      const { transport, original } = deletion.entry;
      return ['-p', transport, '--orig-src', original.source, '--orig-dst', original.destination,
        '--orig-port-src', String(original.sourcePort), '--orig-port-dst', String(original.destinationPort)];
    }
    default: return deletion satisfies never;
  }
}

/** conntrack -D exits with 1 when no entry fits. */
function isNothingDeleted(error: unknown): boolean {
  return error instanceof ChildFailed && error.exitCode === 1 && /\b0 flow entries have been deleted/.test(error.stderr);
}
