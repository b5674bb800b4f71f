/**
 * A set of ports, 0-65535, as a three-level bitmap with pages made on demand. Every operation costs a constant number of word
 * operations however full the set is; an empty set costs a few hundred bytes.
 */
const PAGE_BITS = 10; // 1,024 ports a page
const PAGES = 64;
const WORDS = 32;
const SUMMARY = 32; // index of the word that says which of the others are not empty

export class PortSet {
  /** Number of ports in the set. */
  size = 0;
  private readonly pages: (Uint32Array | undefined)[] = [];
  private readonly counts = new Uint16Array(PAGES);
  private readonly present = new Uint32Array(2);

  has(port: number): boolean {
    const page = this.pages[port >>> PAGE_BITS];
    return page !== undefined && ((page[(port >>> 5) & 31] as number) & (1 << (port & 31))) !== 0;
  }

  /** False when it was in the set already. */
  add(port: number): boolean {
    const index = port >>> PAGE_BITS;
    const page = (this.pages[index] ??= new Uint32Array(WORDS + 1));
    const word = (port >>> 5) & 31;
    const bit = 1 << (port & 31);
    if (((page[word] as number) & bit) !== 0) return false;
    page[word] = (page[word] as number) | bit;
    page[SUMMARY] = (page[SUMMARY] as number) | (1 << word);
    this.counts[index] = (this.counts[index] as number) + 1;
    this.present[index >>> 5] = (this.present[index >>> 5] as number) | (1 << (index & 31));
    this.size += 1;
    return true;
  }

  /** False when it was not in the set. */
  delete(port: number): boolean {
    const index = port >>> PAGE_BITS;
    const page = this.pages[index];
    const word = (port >>> 5) & 31;
    const bit = 1 << (port & 31);
    if (page === undefined || ((page[word] as number) & bit) === 0) return false;
    const left = ((page[word] as number) & ~bit) >>> 0;
    page[word] = left;
    if (left === 0) page[SUMMARY] = (page[SUMMARY] as number) & ~(1 << word);
    this.size -= 1;
    this.counts[index] = (this.counts[index] as number) - 1;
    if (this.counts[index] === 0) this.present[index >>> 5] = (this.present[index >>> 5] as number) & ~(1 << (index & 31));
    return true;
  }

  addRange(first: number, last: number): void {
    for (let port = first; port <= last; port += 1) this.add(port);
  }

  deleteRange(first: number, last: number): void {
    for (let port = first; port <= last; port += 1) this.delete(port);
  }

  /** Lowest port of the set that is >= port, or undefined. */
  atOrAbove(port: number): number | undefined {
    if (port > 65_535) return undefined;
    let index = port >>> PAGE_BITS;
    const page = this.pages[index];
    if (page !== undefined && this.counts[index] !== 0) {
      const word = (port >>> 5) & 31;
      const here = ((page[word] as number) & (-1 << (port & 31))) >>> 0;
      if (here !== 0) return (port & ~31) | lowestBit(here);
      const later = word === 31 ? 0 : ((page[SUMMARY] as number) & (-1 << (word + 1))) >>> 0;
      if (later !== 0) return lowestIn(page, index, lowestBit(later));
    }
    index += 1;
    if (index >= PAGES) return undefined;
    const pageBits = ((this.present[index >>> 5] as number) & (-1 << (index & 31))) >>> 0;
    const next = pageBits !== 0 ? (index & ~31) | lowestBit(pageBits) : index < 32 && this.present[1] !== 0 ? 32 + lowestBit(this.present[1] as number) : undefined;
    if (next === undefined) return undefined;
    const found = this.pages[next] as Uint32Array;
    return lowestIn(found, next, lowestBit(found[SUMMARY] as number));
  }

  /** Highest port of the set that is <= port, or undefined. */
  atOrBelow(port: number): number | undefined {
    let index = port >>> PAGE_BITS;
    const page = this.pages[index];
    if (page !== undefined && this.counts[index] !== 0) {
      const word = (port >>> 5) & 31;
      const here = ((page[word] as number) & upTo(port & 31)) >>> 0;
      if (here !== 0) return (port & ~31) | highestBit(here);
      const earlier = word === 0 ? 0 : ((page[SUMMARY] as number) & upTo(word - 1)) >>> 0;
      if (earlier !== 0) return highestIn(page, index, highestBit(earlier));
    }
    index -= 1;
    if (index < 0) return undefined;
    const pageBits = ((this.present[index >>> 5] as number) & upTo(index & 31)) >>> 0;
    const next = pageBits !== 0 ? (index & ~31) | highestBit(pageBits) : index >= 32 && this.present[0] !== 0 ? highestBit(this.present[0] as number) : undefined;
    if (next === undefined) return undefined;
    const found = this.pages[next] as Uint32Array;
    return highestIn(found, next, highestBit(found[SUMMARY] as number));
  }

  /** The port with `rank` lower ones in the set, 0 <= rank < size. */
  nth(rank: number): number {
    let left = rank;
    for (let index = 0; index < PAGES; index += 1) {
      const count = this.counts[index] as number;
      if (left >= count) {
        left -= count;
        continue;
      }
      const page = this.pages[index] as Uint32Array;
      for (let word = 0; word < WORDS; word += 1) {
        const bits = page[word] as number;
        const ones = popcount(bits);
        if (left < ones) return (index << PAGE_BITS) | (word << 5) | nthBit(bits, left);
        left -= ones;
      }
    }
    throw new RangeError(`rank ${rank} of a set of ${this.size} ports`);
  }

  /** How many ports of first..last are in the set. */
  countIn(first: number, last: number): number {
    let count = 0;
    for (let base = first & ~31; base <= last; base += 32) {
      const page = this.pages[base >>> PAGE_BITS];
      if (page === undefined) continue;
      let bits = page[(base >>> 5) & 31] as number;
      if (base < first) bits &= -1 << (first - base);
      if (base + 31 > last) bits &= upTo(last - base);
      count += popcount(bits >>> 0);
    }
    return count;
  }

  /** Ports of first..last that are in the set, in order. The set may be changed meanwhile. */
  *within(first: number, last: number): Generator<number> {
    for (let port = this.atOrAbove(first); port !== undefined && port <= last; port = this.atOrAbove(port + 1)) yield port;
  }

  /** Lowest first port of a run of `length` ports without a gap, or undefined. Costs O(size) at worst. */
  findRun(length: number): number | undefined {
    let start = this.atOrAbove(0);
    while (start !== undefined) {
      let end = start;
      while (end - start + 1 < length && this.has(end + 1)) end += 1;
      if (end - start + 1 >= length) return start;
      start = this.atOrAbove(end + 1);
    }
    return undefined;
  }
}

function lowestBit(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}

function highestBit(bits: number): number {
  return 31 - Math.clz32(bits);
}

/** Bits 0..index. */
function upTo(index: number): number {
  return index === 31 ? -1 : (1 << (index + 1)) - 1;
}

function lowestIn(page: Uint32Array, index: number, word: number): number {
  return (index << PAGE_BITS) | (word << 5) | lowestBit(page[word] as number);
}

function highestIn(page: Uint32Array, index: number, word: number): number {
  return (index << PAGE_BITS) | (word << 5) | highestBit(page[word] as number);
}

function popcount(bits: number): number {
  let n = bits - ((bits >>> 1) & 0x5555_5555);
  n = (n & 0x3333_3333) + ((n >>> 2) & 0x3333_3333);
  return Math.imul((n + (n >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}

function nthBit(bits: number, rank: number): number {
  let rest = bits;
  for (let i = 0; i < rank; i += 1) rest &= rest - 1;
  return lowestBit(rest);
}
