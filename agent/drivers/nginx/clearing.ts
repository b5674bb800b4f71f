/** Which ports are clear of what led clients elsewhere. Pure. */
import type { PortRange } from '../../../shared/ports.js';
import type { Cut } from '../connections/connections.js';
import { union } from '../rules/ranges.js';
import type { Leased } from '../rules/spec.js';
import type { Doors } from './doors.js';
import type { Held } from './held.js';
import type { Place } from './place.js';

/** `held`: what earlier workers listen on. `carried`: TCP ports whose connections could not be closed. */
export type Obstacles = { readonly held: readonly Held[]; readonly carried: ReadonlySet<number> };

export function isObstructed(place: Leased, { held, carried }: Obstacles): boolean {
  return held.some(each => isIn(place, each)) || [...carried].some(port => isIn(place, { transport: 'tcp', port }));
}

/** Of what was ready before the cuts were made, what they have cleared. */
export function clearedBy(cuts: readonly Cut[], before: readonly Leased[], obstacles: Obstacles): Leased[] {
  return before.filter(one => !isObstructed(one, obstacles) && cuts.some(cut => cut.transport === one.transport && covers(cut.ports, one.ports)));
}

/** TCP ports of these cuts that clients are not let in to: whoever is connected there is led by an earlier config. */
export function closedIn(cuts: readonly Cut[], { open }: Doors, isProxied: (port: number) => boolean): PortRange[] {
  const ports = cuts.filter(({ transport }) => transport === 'tcp').flatMap(({ ports: { first, last } }) => Array.from({ length: last - first + 1 }, (_, i) => first + i));
  return union(ports.filter(port => open.tcp.get(port) === undefined && isProxied(port)).map(port => ({ first: port, last: port })));
}

function isIn({ transport, ports: { first, last } }: Leased, place: Place): boolean {
  return transport === place.transport && first <= place.port && place.port <= last;
}

function covers(outer: PortRange, inner: PortRange): boolean {
  return outer.first <= inner.first && inner.last <= outer.last;
}
