/**
 * A set of ports, 0-65535, as a three-level bitmap with pages made on demand. Every operation costs a constant number of word
 * operations however full the set is. There are many sets of few ports, some for each host: one costs some 100 bytes, and a page 400.
 */
const PAGE_BITS = 10; // 1,024 ports a page
const PAGES = 64;
const WORDS = 32;
const SUMMARY = 32; // index of the word that says which of the others are not empty
const COUNT = 33; // index of the number of ports in the page

const NO_PAGES: (Uint32Array | undefined)[] = [];

export class PortSet {
  /** Number of ports in the set. */
  size = 0;
  /** That of index `base` and those after it. */
  private pages = NO_PAGES;
  private base = 0;
  /** Bit k: page k, or page 32 + k, is not empty. */
  private presentLow = 0;
  private presentHigh = 0;

  has(port: number): boolean {
    const page = this.pages[(port >>> PAGE_BITS) - this.base];
    return page !== undefined && ((page[(port >>> 5) & 31] as number) & (1 << (port & 31))) !== 0;
  }

  /** False when it was in the set already. */
  add(port: number): boolean {
    const index = port >>> PAGE_BITS;
    const page = this.pages[index - this.base] ?? this.makePage(index);
    const word = (port >>> 5) & 31;
    const bit = 1 << (port & 31);
    if (((page[word] as number) & bit) !== 0) return false;
    page[word] = (page[word] as number) | bit;
    page[SUMMARY] = (page[SUMMARY] as number) | (1 << word);
    page[COUNT] = (page[COUNT] as number) + 1;
    if (index < 32) this.presentLow |= 1 << index;
    else this.presentHigh |= 1 << (index & 31);
    this.size += 1;
    return true;
  }

  /** False when it was not in the set. */
  delete(port: number): boolean {
    const index = port >>> PAGE_BITS;
    const page = this.pages[index - this.base];
    const word = (port >>> 5) & 31;
    const bit = 1 << (port & 31);
    if (page === undefined || ((page[word] as number) & bit) === 0) return false;
    const left = ((page[word] as number) & ~bit) >>> 0;
    page[word] = left;
    if (left === 0) page[SUMMARY] = (page[SUMMARY] as number) & ~(1 << word);
    this.size -= 1;
    page[COUNT] = (page[COUNT] as number) - 1;
    if (page[COUNT] !== 0) return true;
    if (index < 32) this.presentLow &= ~(1 << index);
    else this.presentHigh &= ~(1 << (index & 31));
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
    const page = this.pages[index - this.base];
    if (page !== undefined && page[COUNT] !== 0) {
      const word = (port >>> 5) & 31;
      const here = ((page[word] as number) & (-1 << (port & 31))) >>> 0;
      if (here !== 0) return (port & ~31) | lowestBit(here);
      const later = word === 31 ? 0 : ((page[SUMMARY] as number) & (-1 << (word + 1))) >>> 0;
      if (later !== 0) return lowestIn(page, index, lowestBit(later));
    }
    index += 1;
    if (index >= PAGES) return undefined;
    const { presentHigh } = this;
    const pageBits = ((index < 32 ? this.presentLow : presentHigh) & (-1 << (index & 31))) >>> 0;
    const next = pageBits !== 0 ? (index & ~31) | lowestBit(pageBits) : index < 32 && presentHigh !== 0 ? 32 + lowestBit(presentHigh) : undefined;
    if (next === undefined) return undefined;
    const found = this.pages[next - this.base] as Uint32Array;
    return lowestIn(found, next, lowestBit(found[SUMMARY] as number));
  }

  /** Highest port of the set that is <= port, or undefined. */
  atOrBelow(port: number): number | undefined {
    let index = port >>> PAGE_BITS;
    const page = this.pages[index - this.base];
    if (page !== undefined && page[COUNT] !== 0) {
      const word = (port >>> 5) & 31;
      const here = ((page[word] as number) & upTo(port & 31)) >>> 0;
      if (here !== 0) return (port & ~31) | highestBit(here);
      const earlier = word === 0 ? 0 : ((page[SUMMARY] as number) & upTo(word - 1)) >>> 0;
      if (earlier !== 0) return highestIn(page, index, highestBit(earlier));
    }
    index -= 1;
    if (index < 0) return undefined;
    const { presentLow } = this;
    const pageBits = ((index < 32 ? presentLow : this.presentHigh) & upTo(index & 31)) >>> 0;
    const next = pageBits !== 0 ? (index & ~31) | highestBit(pageBits) : index >= 32 && presentLow !== 0 ? highestBit(presentLow) : undefined;
    if (next === undefined) return undefined;
    const found = this.pages[next - this.base] as Uint32Array;
    return highestIn(found, next, highestBit(found[SUMMARY] as number));
  }

  /** The port with `rank` lower ones in the set, 0 <= rank < size. */
  nth(rank: number): number {
    let left = rank;
    for (const [at, page] of this.pages.entries()) {
      const count = page?.[COUNT] ?? 0;
      if (page === undefined || left >= count) {
        left -= count;
        continue;
      }
      const index = this.base + at;
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
      const page = this.pages[(base >>> PAGE_BITS) - this.base];
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

  private makePage(index: number): Uint32Array {
    const page = new Uint32Array(COUNT + 1);
    if (this.pages === NO_PAGES) {
      this.pages = [page];
      this.base = index;
      return page;
    }
    const missing = this.base - index;
    if (missing > 0) {
      this.pages = [...new Array<undefined>(missing).fill(undefined), ...this.pages];
      this.base = index;
    }
    while (this.pages.length <= index - this.base) this.pages.push(undefined);
    this.pages[index - this.base] = page;
    return page;
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
