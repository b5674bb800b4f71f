/** What `nft monitor` says, and which of it this agent did itself. Pure; time is an argument. */

/** A committed change of this machine's tables, by iptables or nft; or events that the kernel could not deliver. */
export type Heard = { kind: 'generation'; pid: number | undefined; process: string | undefined } | { kind: 'lost' };

/** Longer lines are dropped: a rule can have any length, a generation has not. */
const MAX_LINE_LENGTH = 256;
/** Of a process' name, as the kernel keeps it. */
const MAX_NAME_LENGTH = 15;
/** A line may come after the process that it names has ended. */
const LATE_MS = 1_000;
const WRITERS: ReadonlySet<string> = new Set(['iptables-restore', 'ip6tables-restore', 'nft']);

/** Cuts a stream of text into lines without their ends; keeps at most one line's start. */
export function lineReader(onLine: (line: string) => void): (chunk: string) => void {
  let rest = '';
  let isTooLong = false;
  return chunk => {
    let from = 0;
    for (let end = chunk.indexOf('\n'); end >= 0; end = chunk.indexOf('\n', from)) {
      const line = rest + chunk.slice(from, end);
      if (!isTooLong && line.length <= MAX_LINE_LENGTH) onLine(line);
      rest = '';
      isTooLong = false;
      from = end + 1;
    }
    if (!isTooLong) rest += chunk.slice(from);
    isTooLong ||= rest.length > MAX_LINE_LENGTH;
    if (isTooLong) rest = '';
  };
}

/** Undefined for rules, chains and tables: the generation that follows them says by whom. */
export function parseLine(line: string): Heard | undefined {
  if (line.startsWith('# ERROR: ')) return { kind: 'lost' };
  const found = /^# new generation \d+(?: by process (\d+) \((.*)\))?$/.exec(line);
  if (found === null) return undefined;
  return { kind: 'generation', pid: found[1] === undefined ? undefined : Number(found[1]), process: found[2] };
}

type Write = { process: string; pid: number | undefined; forgottenAtMs: number };

/**
 * Own transactions, told from foreign ones of the same program by counting: each own run accounts for one process of its name
 * from its start until LATE_MS after its end. So a foreign one is taken for an own one only when that changed nothing.
 */
export class OwnWrites {
  #writes: Write[] = [];

  /** Call it before the program starts. The returned function is to be called when it has ended, however it did. */
  begin(file: string, argv: readonly string[] = []): (nowMs: number) => void {
    if (!WRITERS.has(file) || argv.includes('list')) return () => undefined;
    const write: Write = { process: file.slice(0, MAX_NAME_LENGTH), pid: undefined, forgottenAtMs: Infinity };
    this.#writes.push(write);
    return nowMs => { write.forgottenAtMs = nowMs + LATE_MS; };
  }

  /** Takes note of the process that it names. */
  isOwn(heard: Heard, nowMs: number): boolean {
    this.#writes = this.#writes.filter(({ forgottenAtMs }) => nowMs < forgottenAtMs);
    if (heard.kind === 'lost') return false;
    const { pid, process } = heard;
    // Kernels that do not say who it was.
    if (pid === undefined) return this.#writes.length > 0;
    const ofName = this.#writes.filter(write => write.process === process);
    const own = ofName.find(write => write.pid === pid) ?? ofName.find(write => write.pid === undefined);
    if (own !== undefined) own.pid = pid;
    return own !== undefined;
  }
}
