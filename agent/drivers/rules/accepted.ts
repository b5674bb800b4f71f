/** Ports whose forwarded traffic is accepted: leased ones, and those of forwards, for they may have been taken out of the guard. Pure. */
import type { PortRange, Transport } from '../../../shared/ports.js';
import { PAGE_SIZE, PortMap } from '../../persistent/ports.js';
import type { CheckedSpec } from './checked.js';
import { difference, union } from './ranges.js';
import { Forwards } from './forwards.js';
import { FAMILIES, type Family, type Forward } from './spec.js';

type Part = {
  readonly ranges: readonly PortRange[];
  /** Forwarded ports that are not leased, by their page. */
  readonly outside: ReadonlyMap<number, readonly PortRange[]>;
};

export type Accepted = { readonly of: CheckedSpec } & Readonly<Record<Transport, Part>>;

/** What is as `before` is taken from there. */
export function acceptedPorts(spec: CheckedSpec, before: Accepted | undefined): Accepted {
  const base = before?.of.leased === spec.leased ? before : undefined;
  return { of: spec, tcp: partOf(spec, 'tcp', base), udp: partOf(spec, 'udp', base) };
}

function partOf(spec: CheckedSpec, transport: Transport, base: Accepted | undefined): Part {
  const leased = union(spec.leased.filter(each => each.transport === transport).map(each => each.ports));
  const outside = new Map(base?.[transport].outside);
  let isSame = base !== undefined;
  for (const page of changedPages(spec, transport, base?.of)) {
    const ports = difference(forwardedPorts(spec, transport, page), leased);
    if (ports.length > 0 || outside.has(page)) isSame = false;
    if (ports.length > 0) outside.set(page, ports);
    else outside.delete(page);
  }
  if (isSame && base !== undefined) return base[transport];
  return { outside, ranges: union([...leased, ...[...outside.values()].flat()]) };
}

function changedPages({ forwards }: CheckedSpec, transport: Transport, before: CheckedSpec | undefined): Set<number> {
  const of = (all: Forwards, family: Family): PortMap<Forward> => all.of(family).ports[transport];
  return new Set(FAMILIES.flatMap(family => [...PortMap.unshared(of(before?.forwards ?? Forwards.none, family), of(forwards, family))]));
}

function forwardedPorts({ forwards }: CheckedSpec, transport: Transport, page: number): PortRange[] {
  const ports: PortRange[] = [];
  for (let port = page * PAGE_SIZE; port < (page + 1) * PAGE_SIZE; port++) {
    if (FAMILIES.some(family => forwards.of(family).ports[transport].get(port) !== undefined)) ports.push({ first: port, last: port });
  }
  return union(ports);
}
