/** What was known of quiet mappings at the last look, on disk: written whole and renamed, so that a reader sees the old text or the new one. */
import { readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncFolder, writeNewFile } from '../state/files.js';
import type { Quiet } from './quiet.js';

/** `sinceBootMs`: when the last look was, by the kernel's monotonic clock in that boot. */
export type QuietTable = { readonly bootId: string; readonly sinceBootMs: number; readonly mappings: ReadonlyMap<string, Quiet> };

/** Mapping, generation, quiet for so many ms, a connection tracked (1) or not (0), connections begun over TCP and over UDP (null: not served). */
type Row = [id: string, generation: number, quietMs: number, isTracked: 0 | 1, tcp: number | null, udp: number | null];
type Stored = { format: 1; bootId: string; sinceBootMs: number; mappings: Row[] };

/** Undefined when there is none. Throws when it cannot be read or is not understood. */
export async function loadQuiet(path: string): Promise<QuietTable | undefined> {
  const text = await readIfThere(path);
  if (text === undefined) return undefined;
  const stored = JSON.parse(text) as unknown;
  if (!isStored(stored)) throw new Error(`${path} is not understood`);
  return { bootId: stored.bootId, sinceBootMs: stored.sinceBootMs, mappings: new Map(stored.mappings.map(row => [row[0], fromRow(row)])) };
}

export async function saveQuiet(path: string, { bootId, sinceBootMs, mappings }: QuietTable): Promise<void> {
  const stored: Stored = { format: 1, bootId, sinceBootMs, mappings: Array.from(mappings, ([id, quiet]) => toRow(id, quiet)) };
  const fresh = `${path}.new`;
  const handle = await writeNewFile(fresh, Buffer.from(`${JSON.stringify(stored)}\n`));
  await handle.close();
  await rename(fresh, path);
  await syncFolder(dirname(path));
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function toRow(id: string, { generation, quietMs, isTracked, begun: { tcp, udp } }: Quiet): Row {
  return [id, generation, quietMs, isTracked ? 1 : 0, tcp ?? null, udp ?? null];
}

function fromRow([, generation, quietMs, isTracked, tcp, udp]: Row): Quiet {
  return { generation, quietMs, isTracked: isTracked === 1, begun: { ...(tcp === null ? {} : { tcp }), ...(udp === null ? {} : { udp }) } };
}

function isStored(value: unknown): value is Stored {
  const { format, bootId, sinceBootMs, mappings } = (value ?? {}) as Partial<Stored>;
  return format === 1 && typeof bootId === 'string' && isAmount(sinceBootMs) && Array.isArray(mappings) && mappings.every(isRow);
}

function isRow(row: unknown): row is Row {
  if (!Array.isArray(row) || row.length !== 6) return false;
  const [id, generation, quietMs, isTracked, tcp, udp] = row as unknown[];
  return typeof id === 'string' && [generation, quietMs, isTracked].every(isAmount) && [tcp, udp].every(begun => begun === null || isAmount(begun));
}

function isAmount(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}
