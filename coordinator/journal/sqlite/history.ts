/** Events and audit records: pages of them, and the end of what nobody needs any more. */
import type { AuditRecord, EventKind, EventRecord } from '../../book/types.js';
import type { PageOf, StoredAudit, StoredEvent } from '../journal.js';
import type { Connection } from './connection.js';

type EventRow = { id: number; gateway: string; sequence: number; at_ms: number; kind: EventKind; host: string; environment: string;
  mapping_id: string; detail: string };
type AuditRow = { id: number; gateway: string; sequence: number; at_ms: number; actor: string; action: string; outcome: string;
  environment: string; request_id: string; detail: string };

export async function eventPage(reader: Connection, page: PageOf): Promise<StoredEvent[]> {
  const rows = await readPage<EventRow>(reader, 'event', page);
  return rows.map(({ at_ms, mapping_id, ...row }) => ({ ...row, atMs: at_ms, mappingId: mapping_id }) satisfies EventRecord);
}

export async function auditPage(reader: Connection, page: PageOf): Promise<StoredAudit[]> {
  const rows = await readPage<AuditRow>(reader, 'audit', page);
  return rows.map(({ at_ms, request_id, ...row }) => ({ ...row, atMs: at_ms, requestId: request_id }) satisfies AuditRecord);
}

function readPage<Row>(reader: Connection, table: 'event' | 'audit', { gateway, afterId, limit }: PageOf): Promise<Row[]> {
  const mine = gateway === undefined ? '' : 'AND gateway = ?3';
  return reader.all<Row>(`SELECT * FROM ${table} WHERE id > ?1 ${mine} ORDER BY id LIMIT ?2`, afterId, limit,
    ...(gateway === undefined ? [] : [gateway]));
}

/** Rows that a purge deletes in one transaction, so that appends do not wait long. */
const PURGE_ROWS = 1_000;

/** Released mappings that load() leaves out: no request names them, and their port has had a later one. They stay superfluous once
 *  they are, so they may be looked for outside of the transaction that deletes them. */
const SUPERFLUOUS = `SELECT mapping_id AS id FROM mapping WHERE state = 'released'
  AND mapping_id NOT IN (SELECT named.value FROM request, json_each(request.mapping_ids) named)
  AND mapping_id NOT IN (SELECT mapping_id FROM
    (SELECT mapping_id, max(released_sequence) FROM mapping WHERE state = 'released' GROUP BY gateway, space, protocol, port))`;

export type Deletion = { sql: string; value: string };

/** The deletions, each a transaction of its own, that `before` asks for. */
export async function deletions(reader: Connection, before: { eventsAtMs: number; auditsAtMs: number }): Promise<Deletion[]> {
  const events = await ids(reader, 'SELECT id FROM event WHERE at_ms < ? ORDER BY id', before.eventsAtMs);
  const audits = await ids(reader, 'SELECT id FROM audit WHERE at_ms < ? ORDER BY id', before.auditsAtMs);
  const mappings = await ids(reader, SUPERFLUOUS);
  return [...inChunks('event', 'id', events), ...inChunks('audit', 'id', audits), ...inChunks('mapping', 'mapping_id', mappings)];
}

async function ids(reader: Connection, sql: string, ...values: number[]): Promise<(string | number)[]> {
  const rows = await reader.all<{ id: string | number }>(sql, ...values);
  return rows.map(({ id }) => id);
}

function inChunks(table: string, key: string, all: readonly (string | number)[]): Deletion[] {
  const sql = `DELETE FROM ${table} WHERE ${key} IN (SELECT value FROM json_each(?))`;
  const chunks: Deletion[] = [];
  for (let i = 0; i < all.length; i += PURGE_ROWS) chunks.push({ sql, value: JSON.stringify(all.slice(i, i + PURGE_ROWS)) });
  return chunks;
}
