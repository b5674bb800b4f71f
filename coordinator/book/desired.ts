/** What one host is told to bring about: objects by key, the digest of them, and what changed since it was last told. */
import { StateDigest } from '../../shared/digest.js';
import type { DesiredObject } from './types.js';

type Wish = {
  readonly key: string;
  /** undefined: dropped. */
  object: DesiredObject | undefined;
  /** Version of it that the digest has. */
  digested: number | undefined;
  isUndigested: boolean;
  isUntold: boolean;
};

export class Desired {
  private readonly wishes = new Map<string, Wish>();
  private readonly digest = new StateDigest();
  /** Hashing is left for the next heartbeat, so that an allocation does not pay for it. */
  private undigested: Wish[] = [];
  private untold: Wish[] = [];

  /** `told`: what a snapshot tells. */
  constructor(told: Iterable<DesiredObject> = []) {
    for (const object of told) this.wishes.set(object.key, this.toDigest({ key: object.key, object, digested: undefined, isUndigested: false, isUntold: false }));
  }

  objects(): DesiredObject[] {
    return [...this.wishes.values()].flatMap(({ object }) => object ?? []);
  }

  put(object: DesiredObject): void {
    const wish = this.wishes.get(object.key);
    if (wish !== undefined) {
      wish.object = object;
      this.note(wish);
      return;
    }
    const made = { key: object.key, object, digested: undefined, isUndigested: false, isUntold: false };
    this.wishes.set(object.key, made);
    this.note(made);
  }

  /** False: there is no such object. */
  drop(key: string): boolean {
    const wish = this.wishes.get(key);
    if (wish === undefined) return false;
    wish.object = undefined;
    this.wishes.delete(key);
    this.note(wish);
    return true;
  }

  /** Digest of all objects. */
  digestHex(): string {
    for (const wish of this.undigested) {
      const { key, object, digested } = wish;
      if (digested !== undefined) this.digest.remove(key, digested);
      if (object !== undefined) this.digest.add(key, object.version);
      wish.digested = object?.version;
      wish.isUndigested = false;
    }
    this.undigested = [];
    return this.digest.hex();
  }

  /** What changed since it was last asked. */
  takeChanges(): { upserts: DesiredObject[]; removals: string[] } {
    const upserts: DesiredObject[] = [];
    const removals: string[] = [];
    for (const wish of this.untold) {
      wish.isUntold = false;
      if (wish.object !== undefined) upserts.push(wish.object);
      // One that was dropped may be there again, as another wish.
      else if (!this.wishes.has(wish.key)) removals.push(wish.key);
    }
    this.untold = [];
    return { upserts, removals };
  }

  private note(wish: Wish): void {
    if (!wish.isUndigested) this.toDigest(wish);
    if (wish.isUntold) return;
    wish.isUntold = true;
    this.untold.push(wish);
  }

  private toDigest(wish: Wish): Wish {
    wish.isUndigested = true;
    this.undigested.push(wish);
    return wish;
  }
}
