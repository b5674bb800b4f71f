/** Which leased ports are guarded, and which ones a foreign process has. Pure. */
import { transportsOf, type PortRange, type Transport } from '../../shared/ports.js';
import type { DesiredObject } from '../../shared/desired.js';
import type { Listener } from '../drivers/connections/listeners.js';
import { union } from '../drivers/rules/ranges.js';
import type { Leased } from '../drivers/rules/spec.js';
import { PortSet } from './portset.js';
import type { Serving } from './serving.js';

export type Guard = {
  leased: Leased[];
  /** Guarded ports, of either transport. */
  reserved: PortRange[];
  occupied: { transport: Transport; port: number }[];
};

type GuardInput = {
  objects: Iterable<DesiredObject>;
  serving: Serving;
  listeners: readonly Listener[];
  addresses: readonly string[];
  /** Ports that were guarded before this round. */
  guarded: readonly PortRange[];
};

/**
 * Every port of this machine's leases, routes, and of what is being ended, is guarded. A port that a foreign process listened
 * on before it was guarded is left alone unless something is mapped there, or is about to be; it is reported either way.
 */
export function guardOf({ objects, serving, listeners, addresses, guarded }: GuardInput): Guard {
  const ports = guardedPorts(objects);
  const before = new PortSet();
  for (const range of guarded) before.add('tcp', range);
  const held = new PortSet();
  for (const { transport, port, address } of listeners) {
    if (ports.has(transport, port) && isReachable(address, addresses)) held.add(transport, { first: port, last: port });
  }
  const occupied = (['tcp', 'udp'] as const).flatMap(transport => held.ranges(transport)
    .flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, index) => ({ transport, port: first + index }))));
  const always = alwaysGuarded(objects);
  const free = occupied.filter(({ transport, port }) => !before.has('tcp', port) && !serving.has(transport, port) && !always.has(transport, port));
  for (const { transport, port } of free) ports.delete(transport, port);
  const leased = (['tcp', 'udp'] as const).flatMap(transport => ports.ranges(transport).map(range => ({ ports: range, transport })));
  // What is left to a process in one transport is not reserved at all: `reserved` tells later which ports were guarded.
  const both = new PortSet();
  for (const { ports: range } of leased) both.add('tcp', range);
  for (const { port } of free) both.delete('tcp', port);
  return { leased, reserved: union(both.ranges('tcp')), occupied };
}

function isReachable(address: string, addresses: readonly string[]): boolean {
  return address === '0.0.0.0' || address === '::' || addresses.includes(address);
}

function alwaysGuarded(objects: Iterable<DesiredObject>): PortSet {
  const set = new PortSet();
  for (const object of objects) {
    if (object.kind !== 'lease' || object.guardOccupied !== true) continue;
    for (const transport of transportsOf(object.protocol)) set.add(transport, object.ports);
  }
  return set;
}

function guardedPorts(objects: Iterable<DesiredObject>): PortSet {
  const set = new PortSet();
  for (const object of objects) {
    if (object.kind === 'mapping') continue;
    const ports = object.kind === 'release' ? { first: object.port, last: object.port } : object.ports;
    for (const transport of transportsOf(object.protocol)) set.add(transport, ports);
  }
  return set;
}
