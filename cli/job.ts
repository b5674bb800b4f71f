/** What a command does once its flags were read: decided before anything is sent. */
import type { Coordinator } from './coordinator.js';
import type { ExitCode } from './exit.js';

/** What succeeded, as data for scripts and as text for people. */
export type Result = {
  /** undefined: nothing more than what was shown on the way. */
  json: unknown;
  /** Whole lines. */
  text: string;
  /** What the caller may want to do now; shown on standard error. */
  next?: readonly string[];
  /** When only a part succeeded; else 0. */
  exitCode?: ExitCode;
};

/** What a command that goes on for long shows on its way. */
export type Show = {
  /** One line for people, one document on one line for scripts. */
  line: (line: { json: unknown; text: string }) => void;
  /** On standard error. */
  note: (text: string) => void;
  /** Aborted when the caller gives up (Ctrl-C). */
  signal: AbortSignal;
};

export type Job = {
  /** For errors and progress: "allocate ports for env-1". */
  what: string;
  run: (coordinator: Coordinator, show: Show) => Promise<Result>;
  /** How to go on waiting for something that the coordinator carries on by itself; undefined for what only reads. */
  resume?: string;
};

/** Values of flags as they were typed: checked by `prepare`. */
export type Flags = Readonly<Record<string, string | boolean | string[] | undefined>>;

/** Reads arguments and flags; throws UsageError. */
type Prepare = (args: readonly string[], flags: Flags) => Job;

/** What commander calls for a command: made of `prepare` by run.ts. */
export type Act = (prepare: Prepare) => (...commanderArguments: unknown[]) => Promise<void>;
