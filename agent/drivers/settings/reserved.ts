/**
 * ip_local_reserved_ports: numbers that the kernel gives to no outgoing connection. Leased ports are put there; what others put
 * there stays. Which ones are ours is kept in a file, written before the kernel is: after a crash at any point the file names
 * every port that we added, so none of them is taken for another's.
 */
import { open, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { PortRange } from '../../../shared/ports.js';
import { difference, union } from '../rules/ranges.js';
import { formatRanges, parseRanges } from './ranges.js';

const RESERVED_PORTS_PATH = '/proc/sys/net/ipv4/ip_local_reserved_ports';

export type ReservedPortsOptions = {
  /** Remembers which ports are ours. */
  statePath: string;
  /** Of this boot: after another one the kernel holds nothing of ours. */
  bootId: string;
  kernelPath?: string;
};

type Stored = { bootId: string; ours: string };

export class ReservedPorts {
  private constructor(private readonly options: Required<ReservedPortsOptions>, private owned: PortRange[]) {}

  /** A file that cannot be understood counts as empty: then our earlier ports stay reserved until the next boot. */
  static async open(options: ReservedPortsOptions): Promise<ReservedPorts> {
    const stored = await readStored(options.statePath);
    const owned = stored?.bootId === options.bootId ? stored.ours : [];
    return new ReservedPorts({ kernelPath: RESERVED_PORTS_PATH, ...options }, owned);
  }

  /** Ports that we reserved in this boot. */
  get ours(): readonly PortRange[] {
    return this.owned;
  }

  /** Makes `wanted`, and no other ports of ours, reserved. Returns whether the kernel's list had to be changed. */
  async set(wanted: readonly PortRange[]): Promise<boolean> {
    const current = union(parseRanges(await readFile(this.options.kernelPath, 'latin1')));
    const others = difference(current, union(this.owned));
    const ours = difference(union(wanted), others);
    const target = union([...others, ...ours]);
    const isRight = formatRanges(target) === formatRanges(current);
    if (isRight && formatRanges(ours) === formatRanges(this.owned)) return false;
    await this.store(union([...this.owned, ...ours]));
    if (!isRight) await writeFile(this.options.kernelPath, `${formatRanges(target)}\n`);
    await this.store(ours);
    return !isRight;
  }

  private async store(ours: PortRange[]): Promise<void> {
    if (formatRanges(ours) !== formatRanges(this.owned)) {
      await replaceFile(this.options.statePath, `${JSON.stringify({ bootId: this.options.bootId, ours: formatRanges(ours) } satisfies Stored)}\n`);
    }
    this.owned = ours;
  }
}

async function readStored(path: string): Promise<{ bootId: string; ours: PortRange[] } | undefined> {
  try {
    const stored = JSON.parse(await readFile(path, 'utf8')) as Partial<Stored>;
    return { bootId: String(stored.bootId), ours: parseRanges(String(stored.ours)) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || error instanceof SyntaxError) return undefined;
    if (error instanceof Error && !('code' in error)) return undefined;
    throw error;
  }
}

/** Written whole, fsynced, renamed: a reader sees the old text or the new one, also after a power cut. */
async function replaceFile(path: string, text: string): Promise<void> {
  const fresh = `${path}.new`;
  const file = await open(fresh, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(fresh, path);
  const directory = await open(dirname(path), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
