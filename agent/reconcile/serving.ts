/** Where each public port leads: an index by transport and port, and what must be cut when it changes. Pure. */
import { MAX_PORT, type PortRange, type Transport } from '../../shared/ports.js';
import type { Cut, Endpoint } from '../drivers/connections/connections.js';

/** Public ports and all the places where they lead: at most one of each address family. */
export type Served = { transport: Transport; ports: PortRange; endpoints: readonly Endpoint[] };

/** By port number, from `first` on: what is served is little of all ports. */
type Places = { readonly first: number; readonly list: (readonly Endpoint[] | undefined)[] };

const TRANSPORTS: readonly Transport[] = ['tcp', 'udp'];
const NOWHERE: readonly Endpoint[] = [];
const NO_PLACES: Places = { first: MAX_PORT + 1, list: [] };

export class Serving {
  private readonly places: Record<Transport, Places>;

  private readonly targets = new Set<string>();

  constructor(served: Iterable<Served>) {
    const all = [...served];
    this.places = { tcp: placesFor(all, 'tcp'), udp: placesFor(all, 'udp') };
    for (const { transport, ports, endpoints } of all) {
      for (const { address } of endpoints) this.targets.add(address);
      const { first, list } = this.places[transport];
      for (let port = ports.first; port <= ports.last; port++) list[port - first] = endpoints;
    }
  }

  endpoints(transport: Transport, port: number): readonly Endpoint[] {
    return this.at(transport, port) ?? NOWHERE;
  }

  isTarget(address: string): boolean {
    return this.targets.has(address);
  }

  has(transport: Transport, port: number): boolean {
    return this.at(transport, port) !== undefined;
  }

  /** All ports that are served lie between these two; none is: the first is above the last. */
  span(transport: Transport): PortRange {
    const { first, list } = this.places[transport];
    return { first, last: list.length === 0 ? 0 : first + list.length - 1 };
  }

  private at(transport: Transport, port: number): readonly Endpoint[] | undefined {
    const { first, list } = this.places[transport];
    return port < first ? undefined : list[port - first];
  }
}

/** Filled at once: an array that grows by leaps becomes a slow dictionary. */
function placesFor(served: readonly Served[], transport: Transport): Places {
  let first = MAX_PORT + 1;
  let last = 0;
  for (const { transport: its, ports } of served) {
    if (its !== transport) continue;
    first = Math.min(first, ports.first);
    last = Math.max(last, ports.last);
  }
  return first > last ? NO_PLACES : { first, list: new Array<readonly Endpoint[] | undefined>(last - first + 1).fill(undefined) };
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
    const { first, last } = hull(a.span(transport), b.span(transport));
    for (let port = first; port <= last; port++) {
      const before = a.endpoints(transport, port);
      const after = b.endpoints(transport, port);
      if (run !== undefined && run.before === before && run.after === after) run.ports = { first: run.ports.first, last: port };
      else if (before === NOWHERE && after === NOWHERE) run = undefined;
      else found.push(run = { transport, ports: { first: port, last: port }, before, after });
    }
  }
  return found;
}

/** The ports of both, and what lies between them. */
function hull(a: PortRange, b: PortRange): PortRange {
  return { first: Math.min(a.first, b.first), last: Math.max(a.last, b.last) };
}

function missing(places: readonly Endpoint[], from: readonly Endpoint[]): Endpoint[] {
  return places.filter(one => !from.some(other => other.address === one.address && other.port === one.port));
}

function isSame(a: readonly Endpoint[], b: readonly Endpoint[]): boolean {
  return a === b || (a.length === b.length && missing(a, b).length === 0);
}
