/** Values by port, 0-65535: a tree of nodes with 16 entries that are made when the first of them is needed. Few values cost little. */
type Leaf<T> = (T | undefined)[];
type Tree<T> = (((Leaf<T> | undefined)[] | undefined)[] | undefined)[];

const NONE: never[] = [];

export class PortMap<T> {
  /** Number of ports with a value. */
  size = 0;
  private tree: Tree<T> = NONE;

  get(port: number): T | undefined {
    return this.leaf(port)?.[port & 15];
  }

  set(port: number, value: T): void {
    if (this.tree === NONE) this.tree = node();
    const page = (this.tree[port >>> 12] ??= node());
    const twig = (page[(port >>> 8) & 15] ??= node());
    const leaf = (twig[(port >>> 4) & 15] ??= node());
    if (leaf[port & 15] === undefined) this.size += 1;
    leaf[port & 15] = value;
  }

  delete(port: number): void {
    const leaf = this.leaf(port);
    if (leaf?.[port & 15] === undefined) return;
    leaf[port & 15] = undefined;
    this.size -= 1;
  }

  /** Ports with their values, in order. */
  *[Symbol.iterator](): Generator<[number, T]> {
    for (let base = 0; base < 65_536; base += 16) {
      const leaf = this.leaf(base);
      if (leaf === undefined) continue;
      for (const [at, value] of leaf.entries()) if (value !== undefined) yield [base | at, value];
    }
  }

  private leaf(port: number): Leaf<T> | undefined {
    return this.tree[port >>> 12]?.[(port >>> 8) & 15]?.[(port >>> 4) & 15];
  }
}

function node<T>(): (T | undefined)[] {
  return new Array<T | undefined>(16).fill(undefined);
}
