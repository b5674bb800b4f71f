/** Which leased ports are guarded, and which ones a foreign process has. Pure. */
import type { PortRange, Transport } from '../../shared/ports.js';
import type { Conflict } from '../../shared/desired.js';
import { isReachable, type Listener } from '../drivers/connections/listeners.js';
import { difference, union } from '../drivers/rules/ranges.js';
import type { Leased } from '../drivers/rules/spec.js';
import type { Ports } from '../persistent/ports.js';
import { conflictsOf } from './conflicts.js';
import type { Serving } from './serving.js';

export type Guard = {
  readonly leased: readonly Leased[];
  /** Guarded ports, of either transport. */
  readonly reserved: readonly PortRange[];
  readonly occupied: Port[];
  /** Who has these. */
  readonly conflicts: readonly Conflict[];
};

type Port = { transport: Transport; port: number };

export type GuardInput = {
  /** Ports of this machine's leases, routes, and of what is being ended. */
  ports: Ports<true>;
  /** Those that are guarded even where a process listens. */
  always: Ports<true>;
  serving: Serving;
  /** Ports that Docker leads somewhere, by "tcp/30001": what listens there is Docker's proxy. */
  published: ReadonlyMap<string, unknown>;
  listeners: readonly Listener[];
  addresses: readonly string[];
  /** Ports that were guarded before this round. */
  guarded: readonly PortRange[];
};

/** A guard, and what it was made from. */
export type Guarded = { readonly guard: Guard; readonly of: Pick<GuardInput, 'ports' | 'listeners' | 'published'>; readonly free: readonly Port[] };

const TRANSPORTS: readonly Transport[] = ['tcp', 'udp'];

/**
 * Every port is guarded. A port that a foreign process listened on before it was guarded is left alone unless something is
 * mapped there, or is about to be; it is reported either way. What is as `before` is taken from there, as the same objects.
 */
export function guardOf(input: GuardInput, before?: Guarded): Guarded {
  const { ports, always, serving, listeners, guarded, published } = input;
  const of = { ports, listeners, published };
  const isSame = before?.of.ports === ports;
  const { occupied, conflicts } = isSame && before.of.listeners === listeners && before.of.published === published ? before.guard : occupiedPorts(input);
  const free = occupied.filter(({ transport, port }) => !hasPort(guarded, port) && !serving.has(transport, port) && always[transport].get(port) === undefined);
  if (isSame && samePorts(before.free, free)) {
    const guard = conflicts === before.guard.conflicts && samePorts(before.guard.occupied, occupied) ? before.guard : { ...before.guard, occupied, conflicts };
    return { guard, of, free: before.free };
  }
  const ranges = (transport: Transport): PortRange[] => difference(ports[transport].ranges(), union(free.filter(each => each.transport === transport).map(rangeOf)));
  const leased = TRANSPORTS.flatMap(transport => ranges(transport).map(range => ({ ports: range, transport })));
  // What is left to a process in one transport is not reserved at all: `reserved` tells later which ports were guarded.
  const reserved = difference(union(leased.map(each => each.ports)), union(free.map(rangeOf)));
  return { guard: { leased, reserved, occupied, conflicts }, of, free };
}

function occupiedPorts({ ports, listeners, addresses, published }: GuardInput): Pick<Guard, 'occupied' | 'conflicts'> {
  const isForeign = ({ transport, port, address }: Listener): boolean => ports[transport].get(port) !== undefined && isReachable(address, addresses)
    && !published.has(`${transport}/${port}`);
  const held = listeners.filter(isForeign);
  const occupied = TRANSPORTS.flatMap(transport => {
    const numbers = new Set(held.filter(each => each.transport === transport).map(({ port }) => port));
    return [...numbers].sort((a, b) => a - b).map(port => ({ transport, port }));
  });
  return { occupied, conflicts: conflictsOf(held) };
}

function hasPort(ranges: readonly PortRange[], port: number): boolean {
  return ranges.some(({ first, last }) => first <= port && port <= last);
}

function samePorts(a: readonly Port[], b: readonly Port[]): boolean {
  return a === b || (a.length === b.length && a.every(({ transport, port }, index) => b[index]?.port === port && b[index].transport === transport));
}

function rangeOf({ port }: Port): PortRange {
  return { first: port, last: port };
}
