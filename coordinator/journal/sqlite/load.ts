/** Reads what a book starts from: one snapshot, in pages, so that neither SQLite's thread nor the event loop is held for long. */
import type { GatewayRecord, StoredGateway } from '../../book/types.js';
import { Connection } from './connection.js';
import { ENVIRONMENT, GATEWAY, HOST, LEASE, MAPPING, POOL, REQUEST, type LoadedTable, type Row } from './rows.js';

const PAGE_ROWS = 2_000;

/** Released mappings that a request names (its replay answers with them), and the newest of each port (the order of reuse). */
const REMEMBERED = `
CREATE TEMP TABLE remembered AS SELECT mapping_id FROM mapping WHERE gateway = ?1 AND state = 'released' AND (
  mapping_id IN (SELECT named.value FROM request, json_each(request.mapping_ids) named WHERE request.gateway = ?1)
  OR mapping_id IN (SELECT mapping_id FROM
    (SELECT mapping_id, max(released_sequence) FROM mapping WHERE gateway = ?1 AND state = 'released' GROUP BY space, protocol, port)))`;

export async function gateways(reader: Connection): Promise<GatewayRecord[]> {
  const rows = await reader.all<{ row: string }>(`SELECT ${asArray(GATEWAY.columns)} AS row FROM gateway ORDER BY gateway`);
  return rows.map(({ row }) => GATEWAY.decode(JSON.parse(row) as Row));
}

/** On a connection of its own, so that the snapshot is nobody else's. */
export async function loadGateway(path: string, gateway: string): Promise<StoredGateway | undefined> {
  const reader = await Connection.open(path, 'readOnly');
  try {
    await reader.exec('PRAGMA busy_timeout = 2000; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384; BEGIN');
    const [record] = await readAll(reader, gateway, GATEWAY);
    if (!record) return undefined;
    await reader.run(REMEMBERED, gateway);
    return {
      gateway: record,
      pools: await readAll(reader, gateway, POOL),
      hosts: await readAll(reader, gateway, HOST),
      leases: await readAll(reader, gateway, LEASE),
      environments: await readAll(reader, gateway, ENVIRONMENT),
      mappings: await readAll(reader, gateway, MAPPING, `AND (state <> 'released' OR mapping_id IN (SELECT mapping_id FROM remembered))`),
      requests: await readAll(reader, gateway, REQUEST),
    };
  } finally {
    await reader.close();
  }
}

/** All rows in the order of the table's key. */
async function readAll<Record>(reader: Connection, gateway: string, table: LoadedTable<Record>, filter = ''): Promise<Record[]> {
  const { name, key, columns } = table;
  const page = `SELECT json_group_array(${asArray(columns)}) AS rows, max(${key}) AS last FROM
    (SELECT ${columns.join(', ')} FROM ${name} WHERE gateway = ?1 AND ${key} > ?2 ${filter} ORDER BY ${key} LIMIT ${PAGE_ROWS})`;
  const records: Record[] = [];
  for (let after: string | null | undefined = ''; after !== null && after !== undefined;) {
    const answer: { rows: string; last: string | null } | undefined = await reader.one(page, gateway, after);
    for (const row of JSON.parse(answer?.rows ?? '[]') as Row[]) records.push(table.decode(row));
    after = answer?.last;
  }
  return records;
}

function asArray(columns: readonly string[]): string {
  return `json_array(${columns.join(', ')})`;
}
