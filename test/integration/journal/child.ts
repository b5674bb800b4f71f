/** Starts writer.mts and follows what it says. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const WRITER = fileURLToPath(new URL('writer.mts', import.meta.url));
const DEADLINE_MS = 30_000;

/** What a writer has said so far. */
export type Said = {
  ready: boolean;
  appends: number;
  unknown: number;
  recovered: number;
  /** Highest acknowledged sequence of each gateway. */
  acknowledged: Map<string, number>;
};

export type Writer = {
  pid: number;
  said: Readonly<Said>;
  /** Resolves when `condition` holds of what it said. */
  until(condition: (said: Said) => boolean): Promise<void>;
  /** SIGKILL; resolves when all that it had said was read. */
  kill(): Promise<void>;
};

export async function startWriter(database: string, environment: Record<string, string> = {}): Promise<Writer> {
  const child = spawn(process.execPath, ['--import', 'tsx', WRITER, database],
    { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...environment } });
  const said: Said = { ready: false, appends: 0, unknown: 0, recovered: 0, acknowledged: new Map() };
  const closed = once(child, 'close');
  let rest = '';
  let errors = '';
  let look = () => {};
  child.stderr.setEncoding('utf8').on('data', (text: string) => { errors += text; });
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) note(said, line);
    look();
  });
  const until = (condition: (now: Said) => boolean) => new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => { reject(new Error(`not within ${DEADLINE_MS} ms; the writer said ${JSON.stringify(said)} ${errors}`)); }, DEADLINE_MS);
    look = () => { if (condition(said)) { clearTimeout(late); resolve(); } };
    void closed.then(([code]) => { clearTimeout(late); reject(new Error(`the writer ended with ${String(code)}: ${errors}`)); });
    look();
  });
  const kill = async () => { child.kill('SIGKILL'); await closed; };
  await until(({ ready }) => ready).catch(async (error: unknown) => { await kill(); throw error; });
  return { pid: child.pid ?? 0, said, until, kill };
}

function note(said: Said, line: string): void {
  const [what, gateway = '', sequence] = line.split(' ');
  if (what === 'ready') said.ready = true;
  if (what === 'unknown') said.unknown += 1;
  if (what === 'recovered') said.recovered += 1;
  if (what !== 'done') return;
  said.appends += 1;
  said.acknowledged.set(gateway, Number(sequence));
}
