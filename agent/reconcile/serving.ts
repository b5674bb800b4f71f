/** Where each public port leads: an index by transport and port, and what must be cut when it changes. Pure. */
import { MAX_PORT, type PortRange, type Transport } from '../../shared/ports.js';
import type { Cut, Endpoint } from '../drivers/connections/connections.js';

/** Public ports and all the places where they lead: at most one of each address family. */
export type Served = { transport: Transport; ports: PortRange; endpoints: readonly Endpoint[] };

type Places = (readonly Endpoint[] | undefined)[];

const TRANSPORTS: readonly Transport[] = ['tcp', 'udp'];
const NOWHERE: readonly Endpoint[] = [];

export class Serving {
  private readonly places: Record<Transport, Places> = { tcp: noPlaces(), udp: noPlaces() };

  private readonly targets = new Set<string>();

  constructor(served: Iterable<Served>) {
    for (const { transport, ports, endpoints } of served) {
      for (const { address } of endpoints) this.targets.add(address);
      const places = this.places[transport];
      for (let port = ports.first; port <= ports.last; port++) places[port] = endpoints;
    }
  }

  endpoints(transport: Transport, port: number): readonly Endpoint[] {
    return this.places[transport][port] ?? NOWHERE;
  }

  isTarget(address: string): boolean {
    return this.targets.has(address);
  }

  has(transport: Transport, port: number): boolean {
    return this.places[transport][port] !== undefined;
  }
}

/** Filled at once: an array that grows by leaps becomes a slow dictionary. */
function noPlaces(): Places {
  return new Array<readonly Endpoint[] | undefined>(MAX_PORT + 1).fill(undefined);
}

/** What either of the two may serve. */
export function merge(a: Serving, b: Serving): Serving {
  return new Serving(runs(a, b).map(({ transport, ports, before, after }) => ({
    transport, ports, endpoints: before === after ? after : [...after, ...missing(before, after)],
  })).filter(({ endpoints }) => endpoints.length > 0));
}

/**
 * The cuts that lead from `before` to `after`: ports that lead elsewhere now, nowhere any more, or somewhere for the first
 * time. The last need one too: connections from before the mapping would go on by-passing it.
 */
export function changes(before: Serving, after: Serving, dropMs: number): Cut[] {
  return runs(before, after).filter(run => !isSame(run.before, run.after))
    .map(run => ({ transport: run.transport, ports: run.ports, from: missing(run.before, run.after), dropMs }));
}

/** Where the ports of `range` led by `before` and do not lead by `after`. */
export function lostPlaces(before: Serving, after: Serving, { transport, ports }: Pick<Cut, 'transport' | 'ports'>): Endpoint[] {
  const lost: Endpoint[] = [];
  let last: readonly Endpoint[] | undefined;
  for (let port = ports.first; port <= ports.last; port++) {
    const places = before.endpoints(transport, port);
    if (places === last) continue;
    last = places;
    lost.push(...missing(missing(places, after.endpoints(transport, port)), lost));
  }
  return lost;
}

type Run = { transport: Transport; ports: PortRange; before: readonly Endpoint[]; after: readonly Endpoint[] };

/** Neighbouring ports with the same places on both sides, as ranges; ports that neither serves are left out. */
function runs(a: Serving, b: Serving): Run[] {
  const found: Run[] = [];
  for (const transport of TRANSPORTS) {
    let run: Run | undefined;
    for (let port = 1; port <= MAX_PORT; port++) {
      const before = a.endpoints(transport, port);
      const after = b.endpoints(transport, port);
      if (run !== undefined && run.before === before && run.after === after) run.ports = { first: run.ports.first, last: port };
      else if (before === NOWHERE && after === NOWHERE) run = undefined;
      else found.push(run = { transport, ports: { first: port, last: port }, before, after });
    }
  }
  return found;
}

function missing(places: readonly Endpoint[], from: readonly Endpoint[]): Endpoint[] {
  return places.filter(one => !from.some(other => other.address === one.address && other.port === one.port));
}

function isSame(a: readonly Endpoint[], b: readonly Endpoint[]): boolean {
  return a === b || (a.length === b.length && missing(a, b).length === 0);
}
