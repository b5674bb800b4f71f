/** What is remembered of the connections of tunnels across starts of the agent, in one file: written whole, fsynced, renamed. */
import { readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncFolder, writeNewFile } from '../state/files.js';
import type { Leader, TunnelMachine } from './words.js';

export type TunnelRecord = {
  readonly tunnel: string;
  /** Of the newest connection, which may have ended since; undefined: it was about to be started. */
  readonly leader: Leader | undefined;
  /** Of its command (argv.ts); '': there was none yet. */
  readonly digest: string;
  /** Number of the order that it was made for. */
  readonly restart: number;
  readonly statistics: TunnelMachine['statistics'];
};

type Stored = { format: 1; bootId: string; tunnels: TunnelRecord[] };

export class Records {
  readonly #tunnels: Map<string, TunnelRecord>;
  #writing: Promise<void> = Promise.resolve();
  #isDirty = false;

  private constructor(private readonly path: string, private readonly bootId: string, tunnels: readonly TunnelRecord[]) {
    this.#tunnels = new Map(tunnels.map(record => [record.tunnel, record]));
  }

  /** Throws when the file cannot be read. One that is not understood, or no file: no records, so what was started before is ended and made anew. */
  static async open(path: string, bootId: string): Promise<Records> {
    const stored = await readStored(path);
    const isThisBoot = stored?.bootId === bootId;
    return new Records(path, bootId, (stored?.tunnels ?? []).map(record => (isThisBoot ? record : { ...record, leader: undefined })));
  }

  get(tunnel: string): TunnelRecord | undefined {
    return this.#tunnels.get(tunnel);
  }

  names(): string[] {
    return [...this.#tunnels.keys()];
  }

  /** Durable when it resolves; rejects when the disk refuses. Changes that come while one is written share the next write. */
  set(record: TunnelRecord): Promise<void> {
    this.#tunnels.set(record.tunnel, record);
    return this.#save();
  }

  delete(tunnel: string): Promise<void> {
    return this.#tunnels.delete(tunnel) ? this.#save() : this.#writing;
  }

  async close(): Promise<void> {
    await this.#writing.catch(() => undefined);
  }

  #save(): Promise<void> {
    if (this.#isDirty) return this.#writing;
    this.#isDirty = true;
    this.#writing = this.#writing.catch(() => undefined).then(async () => {
      this.#isDirty = false;
      const stored: Stored = { format: 1, bootId: this.bootId, tunnels: [...this.#tunnels.values()] };
      const handle = await writeNewFile(`${this.path}.new`, Buffer.from(`${JSON.stringify(stored)}\n`));
      await handle.close();
      await rename(`${this.path}.new`, this.path);
      await syncFolder(dirname(this.path));
    });
    return this.#writing;
  }
}

async function readStored(path: string): Promise<Stored | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const stored = JSON.parse(text) as Partial<Stored> | null;
    return stored?.format === 1 && typeof stored.bootId === 'string' && Array.isArray(stored.tunnels) && stored.tunnels.every(isRecord) ? stored as Stored : undefined;
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): boolean {
  const { tunnel, leader, digest, restart, statistics } = (value ?? {}) as Partial<Record<keyof TunnelRecord, unknown>>;
  const { pid, startTicks } = (leader ?? { pid: 0, startTicks: 0 }) as Partial<Leader>;
  return typeof tunnel === 'string' && typeof digest === 'string' && Number.isSafeInteger(restart) && typeof statistics === 'object' && statistics !== null
    && Number.isSafeInteger(pid) && Number.isSafeInteger(startTicks);
}
