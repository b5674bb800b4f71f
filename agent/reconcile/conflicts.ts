/** Leased ports that foreign processes listen on, who these are, and which mappings that concerns. Pure. */
import { conflictSentence } from '../../shared/conflict-text.js';
import { MAX_CONFLICTS, type Conflict, type ObjectProblem } from '../../shared/desired.js';
import type { Transport } from '../../shared/ports.js';
import type { Listener } from '../drivers/connections/listeners.js';
import type { Ports } from '../persistent/ports.js';
import type { Forwarded } from './claims.js';

export const PORT_CONFLICT = 'PORT_CONFLICT';

const NOBODY: readonly Conflict[] = [];

/** In order of transport, port and address; of sockets in one place (SO_REUSEPORT) the first. At most MAX_CONFLICTS. */
export function conflictsOf(held: readonly Listener[]): readonly Conflict[] {
  if (held.length === 0) return NOBODY;
  const places = new Map<string, Conflict>();
  for (const { transport, port, address, uid = 0, user = '', holder } of [...held].sort(byPlace)) {
    const place = `${transport} ${port} ${address}`;
    if (!places.has(place)) places.set(place, { transport, port, address, uid, user, holder });
    if (places.size === MAX_CONFLICTS) break;
  }
  return [...places.values()];
}

function byPlace(a: Listener, b: Listener): number {
  if (a.transport !== b.transport) return a.transport < b.transport ? -1 : 1;
  return a.port - b.port || (a.address === b.address ? 0 : a.address < b.address ? -1 : 1);
}

type Port = { transport: Transport; port: number };

/**
 * A mapping on a port that a foreign process has is called a problem: the number is not the environment's alone. Its rule stays, and so do its
 * connections: that rule is what keeps clients from the process. `isMade`: the mapping with this key is served.
 */
export function conflictProblems(occupied: readonly Port[], of: { conflicts: readonly Conflict[]; claims: Ports<readonly Forwarded[]>; isMade: (key: string) => boolean }): ObjectProblem[] {
  const problems = new Map<string, ObjectProblem>();
  for (const { transport, port } of occupied) {
    for (const { kind, key } of of.claims[transport].get(port) ?? []) {
      if (kind !== 'mapping' || problems.has(key) || !of.isMade(key)) continue;
      const conflict = of.conflicts.find(one => one.transport === transport && one.port === port);
      problems.set(key, { key, reason: PORT_CONFLICT, message: conflict === undefined ? `a process of this machine listens on ${transport} port ${port}` : conflictSentence(conflict) });
    }
  }
  return [...problems.values()];
}
