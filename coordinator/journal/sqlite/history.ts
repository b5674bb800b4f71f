/** Events and audit records: pages of them. */
import type { AuditRecord, EventKind } from '../../book/types.js';
import type { EventPage, EventsAfter, EventsBefore, FormerOwner, FormerOwnersOf, PageOf, StoredAudit, StoredEvent } from '../journal.js';
import type { Connection } from './connection.js';

type EventRow = { gateway: string; sequence: number; at_ms: number; kind: EventKind; host: string; environment: string;
  mapping_id: string; detail: string };
type AuditRow = { id: number; gateway: string; sequence: number; at_ms: number; actor: string; action: string; outcome: string;
  environment: string; request_id: string; detail: string };

/** A cursor in the midst of a decision skips that many of its rows, and never a row of another one. */
const EVENTS_AFTER = `SELECT gateway, sequence, at_ms, kind, host, environment, mapping_id, detail FROM event
  WHERE gateway = ?1 AND sequence >= ?2 AND sequence <= ?3 ORDER BY sequence, id LIMIT ?4
  OFFSET min(?5, (SELECT count(*) FROM event WHERE gateway = ?1 AND sequence = ?2))`;

export async function eventPage(reader: Connection, { gateway, after, upTo, limit }: EventsAfter): Promise<EventPage> {
  const from = after.position === 0 ? after.revision + 1 : after.revision;
  const rows = await reader.all<EventRow>(EVENTS_AFTER, gateway, from, upTo, limit, after.position);
  const purgedTo = await purgedToOf(reader, gateway);
  let { revision: sequence, position } = after;
  const events = rows.map(({ at_ms, mapping_id, ...row }): StoredEvent => {
    position = row.sequence === sequence ? position + 1 : 1;
    sequence = row.sequence;
    return { ...row, atMs: at_ms, mappingId: mapping_id, position };
  });
  return { events, purgedTo };
}

/** The events of a decision have ids in a row. */
const EVENTS_BEFORE = `SELECT gateway, sequence, at_ms, kind, host, environment, mapping_id, detail,
  id - (SELECT min(id) FROM event f WHERE f.gateway = e.gateway AND f.sequence = e.sequence) + 1 AS position FROM event e
  WHERE gateway = ?1 AND sequence <= ?2 AND (sequence < ?2 OR id < (SELECT min(id) FROM event WHERE gateway = ?1 AND sequence = ?2) + ?3 - 1)
  ORDER BY sequence DESC, id DESC LIMIT ?4`;

export async function eventPageBefore(reader: Connection, { gateway, before, limit }: EventsBefore): Promise<EventPage> {
  const rows = await reader.all<EventRow & { position: number }>(EVENTS_BEFORE, gateway, before.revision, before.position, limit);
  const purgedTo = await purgedToOf(reader, gateway);
  const kept = rows.filter(({ sequence }) => sequence > purgedTo);
  return { events: kept.map(({ at_ms, mapping_id, ...row }): StoredEvent => ({ ...row, atMs: at_ms, mappingId: mapping_id })), purgedTo };
}

/** Asked after a page was read: had something of the page been purged by then, this says so. The first event of a gateway has sequence 1. A purge leaves the newest of the decisions that it may delete, as the mark of how far
 *  it went; it may have lost some of its events. */
async function purgedToOf(reader: Connection, gateway: string): Promise<number> {
  const row = await reader.one<{ oldest: number | null }>('SELECT min(sequence) AS oldest FROM event WHERE gateway = ?', gateway);
  const oldest = row?.oldest ?? 0;
  return oldest <= 1 ? 0 : oldest;
}

type OwnerRow = { mapping_id: string; environment: string; tenant: string; name: string; host: string; protocol: FormerOwner['protocol']; created_at_ms: number; released_at_ms: number };

export async function formerOwners(reader: Connection, { space, port, limit }: FormerOwnersOf): Promise<FormerOwner[]> {
  const rows = await reader.all<OwnerRow>(`SELECT mapping_id, environment, tenant, name, host, protocol, created_at_ms, released_at_ms FROM former_owner
    WHERE space = ? AND port = ? ORDER BY released_at_ms DESC, mapping_id DESC LIMIT ?`, space, port, limit);
  return rows.map(({ mapping_id, created_at_ms, released_at_ms, ...row }) => ({ ...row, mappingId: mapping_id, createdAtMs: created_at_ms, releasedAtMs: released_at_ms }));
}

export async function auditPage(reader: Connection, page: PageOf): Promise<StoredAudit[]> {
  const rows = await readPage<AuditRow>(reader, 'audit', page);
  return rows.map(({ at_ms, request_id, ...row }) => ({ ...row, atMs: at_ms, requestId: request_id }) satisfies AuditRecord);
}

function readPage<Row>(reader: Connection, table: 'audit', { gateway, afterId, limit }: PageOf): Promise<Row[]> {
  const mine = gateway === undefined ? '' : 'AND gateway = ?3';
  return reader.all<Row>(`SELECT * FROM ${table} WHERE id > ?1 ${mine} ORDER BY id LIMIT ?2`, afterId, limit,
    ...(gateway === undefined ? [] : [gateway]));
}
