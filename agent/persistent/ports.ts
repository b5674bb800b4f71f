/** Immutable maps by port number. Edited copies share the pages (of 256 ports) that did not change, and are told apart by them. */
import { MAX_PORT, type PortRange, type Transport } from '../../shared/ports.js';

export const PAGE_SIZE = 256;
const PAGES = (MAX_PORT + 1) / PAGE_SIZE;

type Page<V> = readonly (V | undefined)[];

export class PortMap<V> {
  private constructor(private readonly pages: readonly (Page<V> | undefined)[]) {}

  static empty<V>(): PortMap<V> {
    return new PortMap<V>(new Array<undefined>(PAGES).fill(undefined));
  }

  get(port: number): V | undefined {
    return this.pages[port >> 8]?.[port & 0xff];
  }

  /** True when no port of the aligned block has a value. `size` is a power of two. */
  isEmpty(first: number, size: number): boolean {
    for (let page = first >> 8; page <= (first + size - 1) >> 8; page++) {
      const values = this.pages[page];
      if (values === undefined) continue;
      if (size >= PAGE_SIZE) return false;
      for (let at = first & 0xff; at < (first & 0xff) + size; at++) if (values[at] !== undefined) return false;
    }
    return true;
  }

  edit(): PortEdit<V> {
    return new PortEdit(this.pages, pages => (pages === this.pages ? this : new PortMap(pages)));
  }

  /** Neighbouring ports with the same value (the same object), ascending. */
  *runs(): Generator<PortRange & { readonly value: V }> {
    for (let port = 0; port <= MAX_PORT;) {
      const value = this.get(port);
      const first = port++;
      if (value === undefined) {
        if (this.pages[first >> 8] === undefined) port = ((first >> 8) + 1) * PAGE_SIZE;
        continue;
      }
      while (port <= MAX_PORT && this.get(port) === value) port++;
      yield { first, last: port - 1, value };
    }
  }

  /** Ports with any value, as ranges: ascending, disjoint, not adjacent. */
  ranges(): PortRange[] {
    const found: { first: number; last: number }[] = [];
    for (const { first, last } of this.runs()) {
      const before = found.at(-1);
      if (before?.last === first - 1) before.last = last;
      else found.push({ first, last });
    }
    return found;
  }

  /** Numbers of the pages that the two do not share. */
  static *unshared<V>(a: PortMap<V>, b: PortMap<V>): Generator<number> {
    if (a === b) return;
    for (let page = 0; page < PAGES; page++) if (a.pages[page] !== b.pages[page]) yield page;
  }
}

/** Ports whose values are not the same object, ascending. */
export function* differingPorts<V>(a: PortMap<V>, b: PortMap<V>): Generator<number> {
  for (const page of PortMap.unshared(a, b)) {
    for (let port = page * PAGE_SIZE; port < (page + 1) * PAGE_SIZE; port++) if (a.get(port) !== b.get(port)) yield port;
  }
}

/** Changes to a map; each page is copied once. */
export class PortEdit<V> {
  private pages: readonly (Page<V> | undefined)[];
  private readonly fresh = new Map<number, (V | undefined)[]>();

  constructor(pages: readonly (Page<V> | undefined)[], private readonly make: (pages: readonly (Page<V> | undefined)[]) => PortMap<V>) {
    this.pages = pages;
  }

  get(port: number): V | undefined {
    return (this.fresh.get(port >> 8) ?? this.pages[port >> 8])?.[port & 0xff];
  }

  /** `undefined`: without a value from now on. */
  set(port: number, value: V | undefined): void {
    if (this.get(port) !== value) this.page(port >> 8)[port & 0xff] = value;
  }

  fill({ first, last }: PortRange, value: V | undefined): void {
    for (let port = first; port <= last; port++) this.set(port, value);
  }

  done(): PortMap<V> {
    if (this.fresh.size > 0) {
      const pages = [...this.pages];
      for (const [number, page] of this.fresh) pages[number] = page.some(value => value !== undefined) ? page : undefined;
      this.pages = pages;
      this.fresh.clear();
    }
    return this.make(this.pages);
  }

  private page(number: number): (V | undefined)[] {
    const known = this.fresh.get(number);
    if (known !== undefined) return known;
    const page = [...this.pages[number] ?? new Array<undefined>(PAGE_SIZE).fill(undefined)];
    this.fresh.set(number, page);
    return page;
  }
}

/** One map for each transport. */
export type Ports<V> = Readonly<Record<Transport, PortMap<V>>>;

export function noPorts<V>(): Ports<V> {
  return { tcp: PortMap.empty(), udp: PortMap.empty() };
}

export type PortsEdit<V> = Readonly<Record<Transport, PortEdit<V>>>;

export function editPorts<V>({ tcp, udp }: Ports<V>): PortsEdit<V> {
  return { tcp: tcp.edit(), udp: udp.edit() };
}

/** `before` itself when nothing has changed. */
export function donePorts<V>({ tcp, udp }: PortsEdit<V>, before: Ports<V>): Ports<V> {
  const after = { tcp: tcp.done(), udp: udp.done() };
  return after.tcp === before.tcp && after.udp === before.udp ? before : after;
}
