/** Reads what a book starts from: one snapshot, in pages, so that neither SQLite's thread nor the event loop is held for long. */
import type { EpochStart, GatewayRecord, StoredGateway } from '../../book/types.js';
import { Connection } from './connection.js';
import { ENVIRONMENT, FORGOTTEN, GATEWAY, HOST, LEASE, MAPPING, OVERRIDE, POOL, REQUEST, TUNNEL, WORKLOAD, type LoadedTable, type Row } from './rows.js';

const PAGE_ROWS = 2_000;

/** Of the released mappings those that a request names (its replay answers with them), and the newest of each port (the order of reuse). */
const RELEASED = `
CREATE TEMP TABLE released AS SELECT mapping_id, space, protocol, port, released_sequence FROM mapping WHERE gateway = ?1 AND state = 'released'`;
/** More than an agent that comes back has missed. */
const NEWEST_EPOCHS = 'SELECT epoch, sequence FROM epoch WHERE gateway = ?1 ORDER BY epoch DESC LIMIT 1000';
const REMEMBERED = 'CREATE TEMP TABLE remembered (mapping_id TEXT PRIMARY KEY) WITHOUT ROWID';
const REMEMBER = `
INSERT INTO remembered SELECT mapping_id FROM released WHERE
  mapping_id IN (SELECT named.value FROM request, json_each(request.mapping_ids) named WHERE request.gateway = ?1)
  OR mapping_id IN (SELECT mapping_id FROM (SELECT mapping_id, max(released_sequence) FROM released GROUP BY space, protocol, port))`;

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
    await reader.run(RELEASED, gateway);
    await reader.run(REMEMBERED);
    await reader.run(REMEMBER, gateway);
    return {
      gateway: record,
      epochs: (await reader.all<EpochStart>(NEWEST_EPOCHS, gateway)).reverse(),
      pools: await readAll(reader, gateway, POOL),
      hosts: await readAll(reader, gateway, HOST),
      leases: await readAll(reader, gateway, LEASE),
      environments: await readAll(reader, gateway, ENVIRONMENT),
      mappings: await readAll(reader, gateway, MAPPING, `AND (state <> 'released' OR mapping_id IN (SELECT mapping_id FROM remembered))`),
      requests: await readAll(reader, gateway, REQUEST),
      forgotten: await readAll(reader, gateway, FORGOTTEN),
      overrides: await readAll(reader, gateway, OVERRIDE),
      workloads: await readAll(reader, gateway, WORKLOAD),
      tunnels: await readAll(reader, gateway, TUNNEL),
    };
  } finally {
    await reader.close();
  }
}

type Page = { rows: string; last: string | null };

/** All rows in the order of the table's key. SQLite's thread reads a page while the one before is decoded. */
async function readAll<Record>(reader: Connection, gateway: string, table: LoadedTable<Record>, filter = ''): Promise<Record[]> {
  const { name, key, columns } = table;
  const sql = `SELECT json_group_array(${asArray(columns)}) AS rows, max(${key}) AS last FROM
    (SELECT ${columns.join(', ')} FROM ${name} WHERE gateway = ?1 AND ${key} > ?2 ${filter} ORDER BY ${key} LIMIT ${PAGE_ROWS})`;
  const pageAfter = (after: string): Promise<Page | undefined> => reader.one<Page>(sql, gateway, after);
  const records: Record[] = [];
  for (let page = await pageAfter(''); typeof page?.last === 'string';) {
    const next = pageAfter(page.last);
    next.catch(() => undefined);
    for (const row of JSON.parse(page.rows) as Row[]) records.push(table.decode(row));
    page = await next;
  }
  return records;
}

function asArray(columns: readonly string[]): string {
  return `json_array(${columns.join(', ')})`;
}
