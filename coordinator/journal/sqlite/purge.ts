/** What a purge takes, and in which transactions: each small, so that no append waits long. */
import type { PurgeBefore, Purged } from '../journal.js';
import type { Connection, Value } from './connection.js';

/** Rows that one transaction deletes. */
const ROWS = 100;

/** `kind`: what it deletes; undefined: nothing. */
type Statement = { kind: keyof Purged | undefined; sql: string; values: Value[] };

/** Events and audit records go from the oldest on, up to the first that is young: so what is left has no gaps, also where the clock was
 *  set back. A time that has not come yet was a wrong clock, and counts as old between old ones. */
type Plan = Pick<PurgeBefore, 'eventsAtMs' | 'auditsAtMs' | 'releasedAtMs'> & { events: { gateway: string; below: number }[]; auditsBelow: number };

/** `reader` is used for the purge alone: it gets tables of its own. */
export async function planPurge(reader: Connection, { eventsAtMs, auditsAtMs, releasedAtMs, nowMs }: PurgeBefore): Promise<Plan> {
  await reader.exec(`PRAGMA busy_timeout = 2000; PRAGMA temp_store = MEMORY;
    CREATE TEMP TABLE named (mapping_id TEXT PRIMARY KEY) WITHOUT ROWID;
    INSERT OR IGNORE INTO named SELECT named.value FROM request, json_each(request.mapping_ids) named`);
  const gateways = await reader.all<{ gateway: string }>('SELECT gateway FROM gateway ORDER BY gateway');
  const events: Plan['events'] = [];
  for (const { gateway } of gateways) {
    const young = await reader.one<{ at: number }>('SELECT sequence AS at FROM event WHERE gateway = ? AND at_ms BETWEEN ? AND ? ORDER BY sequence LIMIT 1', gateway, eventsAtMs, nowMs);
    // The newest decision of the old ones stays: it tells how far was purged.
    const mark = await reader.one<{ at: number | null }>('SELECT max(sequence) AS at FROM event WHERE gateway = ? AND sequence < ?', gateway, young?.at ?? Number.MAX_SAFE_INTEGER);
    events.push({ gateway, below: mark?.at ?? 0 });
  }
  const young = await reader.one<{ at: number }>('SELECT id AS at FROM audit WHERE at_ms BETWEEN ? AND ? ORDER BY id LIMIT 1', auditsAtMs, nowMs);
  const newest = await reader.one<{ at: number | null }>('SELECT max(id) AS at FROM audit');
  return { events, auditsBelow: young?.at ?? newest?.at ?? 0, eventsAtMs, auditsAtMs, releasedAtMs };
}

/** Released for long enough, and no request is answered with it any more. It stays so once it is. */
const RELEASED = `state = 'released' AND until_ms < ? AND mapping_id NOT IN (SELECT mapping_id FROM named)`;

export async function countRows(reader: Connection, { events, auditsBelow, auditsAtMs, releasedAtMs }: Plan): Promise<Purged> {
  const count = async (sql: string, ...values: Value[]): Promise<number> => (await reader.one<{ count: number }>(`SELECT count(*) AS count FROM ${sql}`, ...values))?.count ?? 0;
  let ofEvents = 0;
  for (const { gateway, below } of events) ofEvents += await count('event WHERE gateway = ? AND sequence < ?', gateway, below);
  return {
    events: ofEvents, audits: await count('audit WHERE id < ?', auditsBelow), mappings: await count(`mapping WHERE ${RELEASED}`, releasedAtMs),
    owners: await count('former_owner WHERE released_at_ms < ?', auditsAtMs),
  };
}

/** The deletions one by one, each a transaction of its own. The caller says how many rows each took: none, and the next kind follows. */
export async function* deletions(reader: Connection, plan: Plan): AsyncGenerator<Statement, void, number> {
  const { events, auditsBelow, auditsAtMs, releasedAtMs } = plan;
  yield* puttingDown(reader, plan);
  for (const { gateway, below } of events) {
    const sql = `DELETE FROM event WHERE id IN (SELECT id FROM event WHERE gateway = ? AND sequence < ? ORDER BY sequence, id LIMIT ${ROWS})`;
    while (below > 0 && (yield { kind: 'events', sql, values: [gateway, below] }) === ROWS);
  }
  const audits = `DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id < ? ORDER BY id LIMIT ${ROWS})`;
  while ((yield { kind: 'audits', sql: audits, values: [auditsBelow] }) === ROWS);
  const owners = `DELETE FROM former_owner WHERE id IN (SELECT id FROM former_owner WHERE released_at_ms < ? LIMIT ${ROWS})`;
  while ((yield { kind: 'owners', sql: owners, values: [auditsAtMs] }) === ROWS);
  for await (const ids of pages(reader, RELEASED, releasedAtMs)) {
    yield { kind: 'mappings', sql: `DELETE FROM mapping WHERE state = 'released' AND mapping_id IN (SELECT value FROM json_each(?))`, values: [ids] };
  }
}

const COLUMNS = 'mapping_id, gateway, space, port, protocol, environment, tenant, name, host, created_at_ms';

/** Before the events and mappings of that time go. One that a request still names is in both tables for a while. */
async function* puttingDown(reader: Connection, { eventsAtMs, releasedAtMs, auditsAtMs }: Plan): AsyncGenerator<Statement, void, number> {
  const isDue = `state = 'released' AND until_ms < ? AND mapping_id NOT IN (SELECT mapping_id FROM former_owner)`;
  for await (const ids of pages(reader, isDue, Math.max(eventsAtMs, releasedAtMs))) {
    const sql = `INSERT OR IGNORE INTO former_owner (${COLUMNS}, released_at_ms)
      SELECT ${COLUMNS}, until_ms FROM mapping WHERE state = 'released' AND until_ms >= ? AND mapping_id IN (SELECT value FROM json_each(?))`;
    yield { kind: undefined, sql, values: [auditsAtMs, ids] };
  }
}

/** Ids of mappings in JSON arrays, for as many rows as a transaction has. */
async function* pages(reader: Connection, condition: string, beforeMs: number): AsyncGenerator<string, void, void> {
  for (let after = ''; ;) {
    const page = await reader.all<{ mapping_id: string }>(`SELECT mapping_id FROM mapping WHERE mapping_id > ? AND ${condition} ORDER BY mapping_id LIMIT ${ROWS}`, after, beforeMs);
    const last = page.at(-1);
    if (last === undefined) return;
    after = last.mapping_id;
    yield JSON.stringify(page.map((row) => row.mapping_id));
  }
}
