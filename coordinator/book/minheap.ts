/** A binary min-heap of values with a number as key. push and pop cost O(log n). */
export class MinHeap<T> {
  private readonly items: { key: number; value: T }[] = [];

  get size(): number {
    return this.items.length;
  }

  peek(): { key: number; value: T } | undefined {
    return this.items[0];
  }

  push(key: number, value: T): void {
    const items = this.items;
    const item = { key, value };
    let at = items.length;
    items.push(item);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = items[parent] as { key: number; value: T };
      if (above.key <= key) break;
      items[at] = above;
      at = parent;
    }
    items[at] = item;
  }

  pop(): { key: number; value: T } | undefined {
    const items = this.items;
    const top = items[0];
    const last = items.pop();
    if (top === undefined || last === undefined || items.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && (items[child + 1] as { key: number }).key < (items[child] as { key: number }).key) child += 1;
      const below = items[child] as { key: number; value: T };
      if (below.key >= last.key) break;
      items[at] = below;
      at = child;
    }
    items[at] = last;
    return top;
  }
}
