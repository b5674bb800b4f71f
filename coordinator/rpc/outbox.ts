/** Desired state on its way to one agent: one message at a time; what comes meanwhile is merged, so that a slow agent costs no memory. */
import type { Delta, DesiredObject } from '../book/types.js';

/** Changes between two revisions: the newest word on each key. */
class Merged {
  readonly #base: number | undefined;
  #version: Delta['version'];
  readonly #objects = new Map<string, DesiredObject | undefined>();

  constructor(first: Delta) {
    this.#base = first.base;
    this.#version = first.version;
    this.add(first);
  }

  add({ version, upserts, removals }: Delta): void {
    this.#version = version;
    for (const object of upserts) this.#objects.set(object.key, object);
    for (const key of removals) this.#objects.set(key, undefined);
  }

  /** A snapshot names what is there, so nothing has to be removed from it. */
  delta(): Delta {
    const objects = [...this.#objects];
    return {
      version: this.#version,
      base: this.#base,
      upserts: objects.flatMap(([, object]) => (object === undefined ? [] : [object])),
      removals: this.#base === undefined ? [] : objects.flatMap(([key, object]) => (object === undefined ? [key] : [])),
    };
  }
}

export class Outbox {
  readonly #write: (delta: Delta, written: () => void) => void;
  #waiting: Merged | undefined;
  #writingSinceMs: number | undefined;
  #scheduled = false;

  /** `write` calls `written` when the message has left the process. */
  constructor(write: (delta: Delta, written: () => void) => void) {
    this.#write = write;
  }

  /** All that is pushed in one turn of the event loop goes in one message. Returns how long the last message has been stuck. */
  push(delta: Delta, nowMs: number): number {
    if (this.#waiting === undefined || delta.base === undefined) this.#waiting = new Merged(delta);
    else this.#waiting.add(delta);
    if (this.#writingSinceMs !== undefined) return nowMs - this.#writingSinceMs;
    if (!this.#scheduled) {
      this.#scheduled = true;
      queueMicrotask(() => {
        this.#scheduled = false;
        this.#flush(nowMs);
      });
    }
    return 0;
  }

  #flush(nowMs: number): void {
    const waiting = this.#waiting;
    if (waiting === undefined || this.#writingSinceMs !== undefined) return;
    this.#waiting = undefined;
    this.#writingSinceMs = nowMs;
    this.#write(waiting.delta(), () => {
      this.#writingSinceMs = undefined;
      this.#flush(nowMs);
    });
  }
}
