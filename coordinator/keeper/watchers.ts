/** Who waits for a mapping to change. */
import type { Book } from '../book/book.js';
import type { MappingRecord, Refusal } from '../book/types.js';

/** A mapping as it was at a durable book sequence; `mapping` is undefined when the book no longer has it. */
export type Seen = { mappingId: string; mapping: MappingRecord | undefined; verified: boolean };

export type Watch = {
  onSeen: (seen: Seen) => void;
  /** Nothing more will be seen: the journal failed, or the keeper closes. */
  onLost: (refusal: Refusal) => void;
};

export class MappingWatchers {
  readonly #watches = new Map<string, Set<Watch>>();

  get empty(): boolean {
    return this.#watches.size === 0;
  }

  has(mappingId: string): boolean {
    return this.#watches.has(mappingId);
  }

  /** Returns what ends the watch; it may be called more than once. */
  add(mappingIds: readonly string[], watch: Watch): () => void {
    for (const id of mappingIds) {
      const watches = this.#watches.get(id);
      if (watches === undefined) this.#watches.set(id, new Set([watch]));
      else watches.add(watch);
    }
    return () => this.#remove(mappingIds, watch);
  }

  #remove(mappingIds: readonly string[], watch: Watch): void {
    for (const id of mappingIds) {
      const watches = this.#watches.get(id);
      watches?.delete(watch);
      if (watches?.size === 0) this.#watches.delete(id);
    }
  }

  notify(seen: Seen): void {
    for (const watch of [...(this.#watches.get(seen.mappingId) ?? [])]) watch.onSeen(seen);
  }

  lose(refusal: Refusal): void {
    const watches = new Set([...this.#watches.values()].flatMap((set) => [...set]));
    this.#watches.clear();
    for (const watch of watches) watch.onLost(refusal);
  }
}

/** The mapping as the book has it now: let out only when that is durable. */
export function see(book: Book, mappingId: string): Seen {
  return { mappingId, mapping: book.mapping(mappingId), verified: book.isVerified(mappingId) };
}
