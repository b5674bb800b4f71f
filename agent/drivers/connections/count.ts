/** Connections through public ports, as the kernel's connection table has them. */
import { canonicalAddress } from '../../../shared/names.js';
import type { RunChild } from '../child.js';
import type { Forward } from '../rules/spec.js';
import { listEntries } from './conntrack.js';
import type { ConntrackEntry } from './entry.js';

/** Open connections that lead by these forwards from a lease address, by the id of the forward. One dump of the table, none without forwards. */
export async function countConnections(run: RunChild, addresses: readonly string[], forwards: readonly Forward[]): Promise<Map<string, Set<string>>> {
  const found = new Map<string, Set<string>>();
  if (forwards.length === 0) return found;
  const own = new Set(addresses.map(address => canonicalAddress(address) ?? address));
  const byPort = new Map(forwards.map(forward => [`${forward.transport} ${forward.ports.first}`, forward]));
  for (const entry of await listEntries(run, [...new Set(forwards.map(({ transport }) => transport))])) {
    const forward = byPort.get(`${entry.transport} ${entry.original.destinationPort}`);
    if (forward === undefined || entry.isClosing === true || !own.has(entry.original.destination) || !leadsBy(entry, forward)) continue;
    found.set(forward.id, (found.get(forward.id) ?? new Set()).add(keyOf(entry)));
  }
  return found;
}

function leadsBy({ reply, original }: ConntrackEntry, { to, toPort }: Forward): boolean {
  return reply.source === to && reply.sourcePort === (toPort ?? original.destinationPort);
}

function keyOf({ transport, original: { source, sourcePort, destination } }: ConntrackEntry): string {
  return `${transport} ${source} ${sourcePort} ${destination}`;
}
