/**
 * Children started by the spawner instead of by this process. It promises what childRunner does, and
 * - there is one spawner at a time: after one failed the next is started when all children of the former are gone;
 * - a call that a failed spawner left without an answer rejects when its child cannot do anything any more.
 */
import {
  DEADLINE_MS, failed, MAX_OUTPUT_BYTES, outputOf, runnerOf, SEARCH_PATH, type ChildRunner, type ChildRunnerOptions, type RunChild,
} from '../child.js';
import { SpawnerProcess } from './process.js';

export type SpawnerOptions = ChildRunnerOptions & {
  /** A spawner that gives no answer for so long after the deadline of a child is killed. */
  marginMs?: number;
  /** A spawner that did not end so long after it was told to is killed. */
  closeMs?: number;
  /** Calls of these are served by children that were started after the call before. They must do nothing when they get no input. */
  keepReady?: readonly Command[];
  /** A ready child that is not needed is replaced after this; so much longer than its deadline one may live without agent and spawner. */
  readyMs?: number;
};

export type Command = { readonly file: string; readonly argv: readonly string[] };

export type Spawner = ChildRunner & {
  /** Of the spawner, while there is one. */
  pid(): number | undefined;
};

const MARGIN_MS = 3_000;
const CLOSE_MS = 1_000;
const READY_MS = 30_000;

/** Starts the spawner; does not wait until it is there. */
export function openSpawner(options: SpawnerOptions): Spawner {
  const { lockFd, marginMs = MARGIN_MS, closeMs = CLOSE_MS, maxOutputBytes = MAX_OUTPUT_BYTES, path = SEARCH_PATH } = options;
  const { keepReady = [], readyMs = READY_MS } = options;
  const turns = new SpawnerTurns(() => new SpawnerProcess({ lockFd, marginMs }));
  const run: RunChild = async (file, argv, { stdin = '', deadlineMs = options.deadlineMs ?? DEADLINE_MS } = {}) => {
    const ready = keepReady.some(command => isSame(command, { file, argv })) ? { readyMs } : {};
    const request = { file, argv, deadlineMs, maxOutputBytes, path, ...ready };
    const answered = turns.next(deadlineMs + marginMs).then(spawner => spawner.ask(request, stdin));
    const end = await answered.catch((error: unknown) => { throw failed(file, argv, error as Error); });
    return outputOf(file, argv, end);
  };
  return Object.assign(runnerOf(run, () => turns.close(closeMs)), { pid: () => turns.current?.pid });
}

function isSame(one: Command, other: Command): boolean {
  return one.file === other.file && one.argv.length === other.argv.length && one.argv.every((text, i) => text === other.argv[i]);
}

/** One spawner after the other. */
class SpawnerTurns {
  readonly #start: () => SpawnerProcess;
  #current: SpawnerProcess | undefined;

  constructor(start: () => SpawnerProcess) {
    this.#start = start;
    try {
      this.#open();
    } catch {
      // The first call tries again, and says why not.
    }
  }

  get current(): SpawnerProcess | undefined {
    return this.#current;
  }

  /** The one that works; a new one when all of the former is gone. */
  async next(withinMs: number): Promise<SpawnerProcess> {
    while (this.#current?.isUsable === false) {
      if (!await this.#current.isGoneWithin(withinMs)) throw new Error(`not started: children of a spawner that failed are still there after ${withinMs} ms`);
    }
    return this.#current ?? this.#open();
  }

  async close(withinMs: number): Promise<void> {
    await this.#current?.close(withinMs);
  }

  #open(): SpawnerProcess {
    const spawner = this.#start();
    this.#current = spawner;
    void spawner.gone.then(() => { this.#current = undefined; });
    return spawner;
  }
}
