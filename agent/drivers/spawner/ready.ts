/**
 * Children that are started before they are needed. Promises:
 * - a ready child has had no input: it has done nothing, and does nothing when it is ended or left;
 * - it serves one request, which is the same to the byte as the one that it was started for, and has all of its deadline left for it;
 * - a request that cannot have one, or whose one ended without a byte of its input, gets a child of its own.
 */
import { runToEnd, WaitingChild, WRITTEN_AT_ONCE, type ChildEnd } from '../child.js';
import type { Request } from './messages.js';

export type Task = Omit<Request, 'id'>;

export type ReadyChildrenOptions = { lockFd: number | undefined; leashFd: number; nowMs: () => number };

type Ready = { child: WaitingChild; untilMs: number; timer: NodeJS.Timeout };

/** Its deadline without this process is so much later than that with it. */
const SLACK_MS = 1_000;

export class ReadyChildren {
  readonly #options: ReadyChildrenOptions;
  readonly #ready = new Map<string, Ready>();
  /** That had no input; some were let go and have not ended yet. */
  readonly #waiting = new Set<WaitingChild>();

  constructor(options: ReadyChildrenOptions) {
    this.#options = options;
  }

  /** Never rejects. */
  async run(task: Task, stdin: Buffer): Promise<ChildEnd> {
    const { lockFd, leashFd } = this.#options;
    const child = stdin.length <= WRITTEN_AT_ONCE ? this.#take(task) : undefined;
    if (child !== undefined && await child.give(stdin)) return child.ended;
    return runToEnd(task.file, task.argv, { ...task, stdin, lockFd, leashFd });
  }

  /** Has one ready for the next request like this, if that is wanted. */
  prepare(task: Task): void {
    const { readyMs } = task;
    const key = keyOf(task);
    if (readyMs === undefined || this.#ready.has(key)) return;
    const { lockFd, leashFd, nowMs } = this.#options;
    const lifeMs = readyMs + task.deadlineMs + SLACK_MS;
    const child = new WaitingChild(task.file, task.argv, { ...task, lifeMs, lockFd, leashFd });
    const timer = setTimeout(() => {
      this.#ready.delete(key);
      child.dismiss();
      this.prepare(task);
    }, readyMs);
    this.#ready.set(key, { child, untilMs: nowMs() + readyMs, timer });
    this.#waiting.add(child);
    void child.ended.then(() => {
      this.#waiting.delete(child);
      if (this.#ready.get(key)?.child !== child) return;
      // By itself: not started again before the program was asked for again, which may be missing.
      clearTimeout(timer);
      this.#ready.delete(key);
    });
  }

  /** Kills those that have had no input; one may be stopped. */
  close(): void {
    for (const { timer } of this.#ready.values()) clearTimeout(timer);
    this.#ready.clear();
    for (const child of this.#waiting) child.kill();
  }

  #take(task: Task): WaitingChild | undefined {
    const key = keyOf(task);
    const ready = this.#ready.get(key);
    // Its timer may be late: this process may have been stopped.
    if (ready === undefined || this.#options.nowMs() > ready.untilMs) return undefined;
    clearTimeout(ready.timer);
    this.#ready.delete(key);
    this.#waiting.delete(ready.child);
    return ready.child;
  }
}

function keyOf({ file, argv, deadlineMs, maxOutputBytes, path }: Task): string {
  return JSON.stringify([file, argv, deadlineMs, maxOutputBytes, path]);
}
