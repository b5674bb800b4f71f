/**
 * The log of a tunnel: ssh and autossh write it themselves, appending, so that it goes on without the agent. When it has grown too large it is
 * copied and cut off where it is: who writes it goes on at its new end. What is written between copy and cut is lost, which is at most one look long.
 */
import { constants, copyFile, mkdir, open, rename, rm, stat, truncate, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { plainLine } from './reasons.js';

export type LogLimits = { readonly maxBytes: number; /** Older ones: NAME.log.1 is the newest of them. */ readonly keep: number };

const TAIL_BYTES = 8 * 1024;
const TAIL_LINES = 10;

export class TunnelLog {
  constructor(readonly path: string, private readonly limits: LogLimits) {}

  /** For the process that is to write it, with a line of this agent in it. To be closed by the caller. */
  async openForAppend(line: string): Promise<FileHandle> {
    await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
    const handle = await open(this.path, 'a', 0o600);
    await handle.write(`portlease: ${line}\n`);
    return handle;
  }


  /** Bytes in it; 0: there is none. */
  async size(): Promise<number> {
    return (await stat(this.path).catch(absent))?.size ?? 0;
  }

  /** From `offset`, at most the last 64 KiB. */
  async textSince(offset: number): Promise<string> {
    const size = await this.size();
    const start = Math.max(offset > size ? 0 : offset, size - 64 * 1024);
    return this.#read(start, size);
  }

  /** The last lines, oldest first. */
  async tail(): Promise<string[]> {
    const size = await this.size();
    const text = await this.#read(Math.max(0, size - TAIL_BYTES), size);
    const lines = text.split('\n').filter(line => line.trim() !== '');
    return lines.slice(-TAIL_LINES).map(plainLine);
  }

  /** True: it was cut off. */
  async rotate(): Promise<boolean> {
    if (await this.size() <= this.limits.maxBytes) return false;
    const { keep } = this.limits;
    for (let number = keep; number > 1; number -= 1) await rename(`${this.path}.${number - 1}`, `${this.path}.${number}`).catch(absent);
    if (keep > 0) await copyFile(this.path, `${this.path}.1`, constants.COPYFILE_FICLONE);
    await truncate(this.path, 0);
    return true;
  }

  async remove(): Promise<void> {
    for (let number = 0; number <= this.limits.keep; number += 1) await rm(number === 0 ? this.path : `${this.path}.${number}`, { force: true });
  }

  async #read(start: number, end: number): Promise<string> {
    const handle = await open(this.path, 'r').catch(absent);
    if (handle === undefined) return '';
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(Math.max(0, end - start)), 0, Math.max(0, end - start), start);
      return buffer.subarray(0, bytesRead).toString('utf8');
    } finally {
      await handle.close();
    }
  }
}

function absent(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
  throw error;
}
