/** Where each public port leads: an index by transport and port, and what must be cut when it changes. Pure. */
import type { PortRange, Transport } from '../../shared/ports.js';
import { differingPorts, donePorts, editPorts, noPorts, type Ports } from '../persistent/ports.js';
import { sameClients } from '../drivers/connections/clients.js';
import type { Cut, Endpoint } from '../drivers/connections/connections.js';

/** Public ports and all the places where they lead: at most one of each address family. */
export type Served = { transport: Transport; ports: PortRange; endpoints: readonly Endpoint[] };

const TRANSPORTS: readonly Transport[] = ['tcp', 'udp'];
const NOWHERE: readonly Endpoint[] = [];

/** Immutable: what was made from another one is compared with it at the price of the difference. */
export class Serving {
  static readonly nothing = new Serving(noPorts());

  private targets: ReadonlySet<string> | undefined;

  private constructor(readonly places: Ports<readonly Endpoint[]>) {}

  static of(served: Iterable<Served>): Serving {
    return Serving.nothing.amended([], served);
  }

  /** Without the ports of `gone`, and then with `come`. */
  amended(gone: Iterable<Served>, come: Iterable<Served>): Serving {
    const edit = editPorts(this.places);
    for (const { transport, ports } of gone) edit[transport].fill(ports, undefined);
    for (const { transport, ports, endpoints } of come) edit[transport].fill(ports, endpoints);
    const places = donePorts(edit, this.places);
    return places === this.places ? this : new Serving(places);
  }

  endpoints(transport: Transport, port: number): readonly Endpoint[] {
    return this.places[transport].get(port) ?? NOWHERE;
  }

  /** True when any port leads to this address. The first question costs the size of all that is served. */
  isTarget(address: string): boolean {
    this.targets ??= new Set(TRANSPORTS.flatMap(transport => Array.from(this.places[transport].runs(), ({ value }) => value)).flat().map(place => place.address));
    return this.targets.has(address);
  }

  has(transport: Transport, port: number): boolean {
    return this.places[transport].get(port) !== undefined;
  }
}

/** What either of the two may serve. */
export function merge(a: Serving, b: Serving): Serving {
  return b.amended([], runs(a, b).map(({ transport, ports, before, after }) => ({ transport, ports, endpoints: [...after, ...missing(before, after)] })));
}

/**
 * The cuts that lead from `before` to `after`: ports that lead elsewhere now, nowhere any more, or somewhere for the first
 * time. The last need one too: connections from before the mapping would go on by-passing it.
 */
export function changes(before: Serving, after: Serving, dropMs: number): Cut[] {
  return runs(before, after).filter(run => !isSame(run.before, run.after))
    .map(run => cutOf(run, dropMs));
}

function cutOf({ transport, ports, before, after }: Run, dropMs: number): Cut {
  const cut = { transport, ports, from: missing(before, after), dropMs };
  return before.length > 0 && !sameForAll(before, after) ? { ...cut, isForClients: true } : cut;
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

/** Ports whose places are not the same object on both sides; neighbours with the same places as ranges. */
function runs(a: Serving, b: Serving): Run[] {
  const found: Run[] = [];
  for (const transport of TRANSPORTS) {
    let run: Run | undefined;
    for (const port of differingPorts(a.places[transport], b.places[transport])) {
      const before = a.endpoints(transport, port);
      const after = b.endpoints(transport, port);
      if (run?.ports.last === port - 1 && run.before === before && run.after === after) run.ports = { first: run.ports.first, last: port };
      else found.push(run = { transport, ports: { first: port, last: port }, before, after });
    }
  }
  return found;
}

function missing(places: readonly Endpoint[], from: readonly Endpoint[]): Endpoint[] {
  return places.filter(one => !from.some(other => other.address === one.address && other.port === one.port && other.through === one.through));
}

function isSame(a: readonly Endpoint[], b: readonly Endpoint[]): boolean {
  return a === b || (a.length === b.length && missing(a, b).length === 0 && sameForAll(a, b));
}

/** Places that both have are for the same clients. */
function sameForAll(a: readonly Endpoint[], b: readonly Endpoint[]): boolean {
  return a.every(one => b.every(other => other.address !== one.address || other.port !== one.port || sameClients(one.clients, other.clients)));
}
