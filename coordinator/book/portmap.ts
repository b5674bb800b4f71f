/** Values by port, 0-65535: pages of 256 ports that are made when the first of them is set. */
const PAGE_BITS = 8;
const PAGE_MASK = 255;

export class PortMap<T> {
  /** Number of ports with a value. */
  size = 0;
  private readonly pages: (T | undefined)[][] = [];

  get(port: number): T | undefined {
    return this.pages[port >>> PAGE_BITS]?.[port & PAGE_MASK];
  }

  set(port: number, value: T): void {
    const page = (this.pages[port >>> PAGE_BITS] ??= new Array<T | undefined>(PAGE_MASK + 1).fill(undefined));
    if (page[port & PAGE_MASK] === undefined) this.size += 1;
    page[port & PAGE_MASK] = value;
  }

  delete(port: number): void {
    const page = this.pages[port >>> PAGE_BITS];
    if (page?.[port & PAGE_MASK] === undefined) return;
    page[port & PAGE_MASK] = undefined;
    this.size -= 1;
  }

  /** Ports with their values, in order. */
  *[Symbol.iterator](): Generator<[number, T]> {
    for (const [index, page] of this.pages.entries()) {
      for (const [at, value] of (page as (T | undefined)[] | undefined ?? []).entries()) {
        if (value !== undefined) yield [(index << PAGE_BITS) | at, value];
      }
    }
  }
}
