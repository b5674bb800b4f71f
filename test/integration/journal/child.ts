/** Starts writer.mts and follows what it says. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const WRITER = fileURLToPath(new URL('writer.mts', import.meta.url));

export type Writer = {
  pid: number;
  /** Highest acknowledged sequence of each gateway, from what was read so far. */
  acknowledged: ReadonlyMap<string, number>;
  /** Resolves when that many appends have been acknowledged in all. */
  reached(appends: number): Promise<void>;
  /** SIGKILL; resolves when all that it had said was read. */
  kill(): Promise<void>;
};

export async function startWriter(database: string): Promise<Writer> {
  const child = spawn(process.execPath, ['--import', 'tsx', WRITER, database], { stdio: ['ignore', 'pipe', 'pipe'] });
  const acknowledged = new Map<string, number>();
  const closed = once(child, 'close');
  let count = -1;
  let rest = '';
  let errors = '';
  let look = () => {};
  child.stderr.setEncoding('utf8').on('data', (text: string) => { errors += text; });
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const [gateway = '', sequence] = line.split(' ');
      if (sequence !== undefined) acknowledged.set(gateway, Number(sequence));
      count += 1;
    }
    look();
  });
  const reached = (appends: number) => new Promise<void>((resolve, reject) => {
    look = () => { if (count >= appends) resolve(); };
    void closed.then(([code]) => { reject(new Error(`the writer ended with ${String(code)} after ${count} appends: ${errors}`)); });
    look();
  });
  await reached(0);
  return { pid: child.pid ?? 0, acknowledged, reached, kill: async () => { child.kill('SIGKILL'); await closed; } };
}
