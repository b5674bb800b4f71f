/** Forwards by family, transport and port. Immutable: an edited copy shares what did not change. */
import { rangeText, type Transport } from '../../../shared/ports.js';
import { PersistentMap, type Change } from '../../persistent/map.js';
import { donePorts, editPorts, noPorts, type Ports, type PortsEdit } from '../../persistent/ports.js';
import { canonicalAddress, FAMILIES, familyOf, ownProblem, refuse, TRANSPORTS, type Family, type Forward } from './spec.js';

type Part = {
  readonly ports: Ports<Forward>;
  /** Targets with hairpin, and how many forwards each of them has. */
  readonly hairpins: PersistentMap<number>;
  /** Public port of each mapping whose connections are limited in number, by its id. */
  readonly counted: PersistentMap<number>;
};

export class Forwards implements Iterable<Forward> {
  static readonly none = new Forwards({ v4: nothing(), v6: nothing() });

  private constructor(private readonly parts: Readonly<Record<Family, Part>>) {}

  /** Throws RangeError on the first forward that cannot be served, or that has a port of another one. */
  static of(forwards: Iterable<Forward>): Forwards {
    return forwards instanceof Forwards ? forwards : Forwards.none.amended([], forwards);
  }

  /** Without those of `gone`, which must be there, and then with those of `come`. Throws as of() does. */
  amended(gone: Iterable<Forward>, come: Iterable<Forward>): Forwards {
    const drafts = { v4: new Draft(this.parts.v4), v6: new Draft(this.parts.v6) };
    for (const forward of gone) drafts[familyOf(forward.to)].remove(forward);
    for (const forward of come) {
      refuse(ownProblem(forward), `forward ${forward.id}`);
      const to = canonicalAddress(forward.to);
      drafts[familyOf(to)].add(to === forward.to ? forward : { ...forward, to });
    }
    const parts = { v4: drafts.v4.done(), v6: drafts.v6.done() };
    return parts.v4 === this.parts.v4 && parts.v6 === this.parts.v6 ? this : new Forwards(parts);
  }

  of(family: Family): Part {
    return this.parts[family];
  }

  hasAny(family: Family): boolean {
    return TRANSPORTS.some(transport => !this.parts[family].ports[transport].isEmpty(0, 65_536));
  }

  *[Symbol.iterator](): Generator<Forward> {
    for (const family of FAMILIES) {
      for (const transport of TRANSPORTS) for (const { value } of this.parts[family].ports[transport].runs()) yield value;
    }
  }
}

function nothing(): Part {
  return { ports: noPorts(), hairpins: PersistentMap.empty(), counted: PersistentMap.empty() };
}

class Draft {
  private readonly edit: PortsEdit<Forward>;
  private readonly counts = new Map<string, number>();
  private readonly counted: Change<number>[] = [];

  constructor(private readonly before: Part) {
    this.edit = editPorts(before.ports);
  }

  remove({ id, transport, ports }: Forward): void {
    const there = this.edit[transport].get(ports.first);
    if (there?.id !== id) throw new RangeError(`forwards: ${id} is not at ${textOf(transport, ports.first)}`);
    this.edit[transport].fill(there.ports, undefined);
    this.count(there, -1);
    if (isCounted(there)) this.counted.push([id, undefined]);
  }

  add(forward: Forward): void {
    const { id, transport, ports } = forward;
    const edit = this.edit[transport];
    for (let port = ports.first; port <= ports.last; port++) {
      const other = edit.get(port);
      refuse(other === undefined ? undefined : `${other.id} and ${id} both have ${textOf(transport, port)}`, 'forwards');
    }
    edit.fill(ports, forward);
    this.count(forward, 1);
    if (isCounted(forward)) this.counted.push([id, ports.first]);
  }

  done(): Part {
    const changes = Array.from(this.counts, ([to, count]) => [to, count === 0 ? undefined : count] as const);
    const ports = donePorts(this.edit, this.before.ports);
    return ports === this.before.ports ? this.before : { ports, hairpins: this.before.hairpins.with(changes), counted: this.before.counted.with(this.counted) };
  }

  private count({ hairpin, to }: Forward, by: number): void {
    if (hairpin) this.counts.set(to, (this.counts.get(to) ?? this.before.hairpins.get(to) ?? 0) + by);
  }
}

function isCounted({ limits }: Forward): boolean {
  return limits !== undefined && limits.maxConnections > 0;
}

function textOf(transport: Transport, port: number): string {
  return `${transport} ${rangeText({ first: port, last: port })}`;
}
