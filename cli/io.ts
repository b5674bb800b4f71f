/** The world as the command line sees it: main.ts passes the process, a test its own. */
export type Io = {
  /** Standard output: the result and nothing else, and only when the command succeeded. */
  out: (text: string) => void;
  /** Standard error: what failed, hints, progress. */
  err: (text: string) => void;
  /** Somebody looks at standard error: progress may be drawn. */
  errIsTerminal: boolean;
  env: Readonly<Record<string, string | undefined>>;
  /** Read when nothing else is named: config file, and the coordinator's socket on its own machine. */
  paths: { config: string; socket: string };
  /** Since 1970. */
  nowMs: () => number;
  /** A new unique id for requests: 1-64 characters of A-Z a-z 0-9 and -. */
  newId: () => string;
  version: string;
  /** Aborted when the caller gives up (Ctrl-C). */
  signal: AbortSignal;
};
