/**
 * An immutable map whose edited copies share what did not change: an edit costs microseconds however many entries there are, and so
 * does finding out what differs between a map and one that was made from it. Entries are in no particular order.
 */
type Bucket<V> = ReadonlyMap<string, V>;
type Buckets<V> = readonly (Bucket<V> | undefined)[];

/** 10,000 entries: 20 a bucket. An edit copies the list of buckets, and each bucket that it changes. */
const BUCKETS = 512;

/** A value, or undefined: the key goes. */
export type Change<V> = readonly [key: string, value: V | undefined];

export class PersistentMap<V> implements ReadonlyMap<string, V> {
  readonly #buckets: Buckets<V>;

  private constructor(buckets: Buckets<V>, readonly size: number) {
    this.#buckets = buckets;
  }

  static empty<V>(): PersistentMap<V> {
    return new PersistentMap<V>(new Array<undefined>(BUCKETS).fill(undefined), 0);
  }

  static of<V>(entries: Iterable<readonly [string, V]>): PersistentMap<V> {
    return PersistentMap.empty<V>().with(entries);
  }

  get(key: string): V | undefined {
    return this.#buckets[bucketOf(key)]?.get(key);
  }

  has(key: string): boolean {
    return this.#buckets[bucketOf(key)]?.has(key) === true;
  }

  /** The changes in their order; the map itself when they change nothing. */
  with(changes: Iterable<Change<V>>): PersistentMap<V> {
    const fresh = new Map<number, Map<string, V>>();
    let { size } = this;
    for (const [key, value] of changes) {
      const number = bucketOf(key);
      const there = fresh.get(number) ?? this.#buckets[number];
      if (there?.get(key) === value) continue;
      const bucket = fresh.get(number) ?? new Map(there);
      fresh.set(number, bucket);
      if (!bucket.has(key)) size++;
      if (value !== undefined) bucket.set(key, value);
      else if (bucket.delete(key)) size--;
    }
    if (fresh.size === 0) return this;
    const buckets = [...this.#buckets];
    for (const [number, bucket] of fresh) buckets[number] = bucket.size === 0 ? undefined : bucket;
    return new PersistentMap(buckets, size);
  }

  *entries(): MapIterator<[string, V]> {
    for (const bucket of this.#buckets) if (bucket !== undefined) yield* bucket;
  }

  *keys(): MapIterator<string> {
    for (const bucket of this.#buckets) if (bucket !== undefined) yield* bucket.keys();
  }

  *values(): MapIterator<V> {
    for (const bucket of this.#buckets) if (bucket !== undefined) yield* bucket.values();
  }

  [Symbol.iterator](): MapIterator<[string, V]> {
    return this.entries();
  }

  forEach(visit: (value: V, key: string, map: ReadonlyMap<string, V>) => void): void {
    for (const [key, value] of this) visit(value, key, this);
  }

  /** Pairs of buckets that are not the same; one side of a pair may be missing. */
  static *unshared<V>(a: PersistentMap<V>, b: PersistentMap<V>): Generator<[Bucket<V> | undefined, Bucket<V> | undefined]> {
    for (let number = 0; number < BUCKETS; number++) {
      const [one, two] = [a.#buckets[number], b.#buckets[number]];
      if (one !== two) yield [one, two];
    }
  }
}

/** Keys with another value (not the same object) in `after` than in `before`, or without one on one side. Any kind of map will do. */
export function differences<V>(before: ReadonlyMap<string, V>, after: ReadonlyMap<string, V>): string[] {
  if (before === after) return [];
  if (!(before instanceof PersistentMap && after instanceof PersistentMap)) return differing(before, after);
  return Array.from(PersistentMap.unshared(before as PersistentMap<V>, after as PersistentMap<V>), ([one, two]) => differing(one ?? new Map<string, V>(), two ?? new Map<string, V>())).flat();
}

function differing<V>(before: ReadonlyMap<string, V>, after: ReadonlyMap<string, V>): string[] {
  const keys: string[] = [];
  for (const [key, value] of after) if (before.get(key) !== value) keys.push(key);
  for (const key of before.keys()) if (!after.has(key)) keys.push(key);
  return keys;
}

/** FNV-1a, folded. */
function bucketOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  return ((hash >>> 16) ^ hash) & (BUCKETS - 1);
}
