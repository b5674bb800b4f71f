/** What is asked of a keeper, and what came of it. */
import type { Book } from '../book/book.js';
import type { Command, Push, Refusal, Reply } from '../book/types.js';
import type { Seen } from './watchers.js';

export type CommandJob = {
  kind: 'command';
  command: Command;
  /** Called once, when what was decided is durable. Must not throw. */
  done: (reply: Reply) => void;
  /** Until then (clock) a command that the book tells to wait is decided again; after that it is answered. */
  waitUntilMs: number;
  /** Was in a batch that the journal refused: commits in a transaction of its own, so that only the offender is refused. */
  alone: boolean;
  /** Was answered before its commit, because its time was up: must not be decided again. */
  answered: boolean;
};

export type ReadJob = {
  kind: 'read';
  /** Looks at the book now; what it returns is called when that state is durable. */
  look: (book: Book) => () => void;
  refuse: (refusal: Refusal) => void;
};

export type Job = CommandJob | ReadJob;

/** A decided job whose outputs wait for their commit. */
export type Decided =
  | { job: CommandJob; reply: Reply | undefined; pushes: readonly Push[]; seen: readonly Seen[] }
  | { job: ReadJob; answer: () => void };

export function refuseJob(job: Job, refusal: Refusal): void {
  switch (job.kind) {
    case 'command': return job.done(refusal);
    case 'read': return job.refuse(refusal);
    default: return job satisfies never;
  }
}

/** `look` copies what it returns. An exception in it is a defect, and the caller is told so. */
export function readJob<T>(look: (book: Book) => T, done: (value: T) => void, refuse: (refusal: Refusal) => void): ReadJob {
  return {
    kind: 'read',
    look: (book) => {
      const value = look(book);
      return () => { done(value); };
    },
    refuse,
  };
}
