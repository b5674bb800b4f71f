/** The port table: a row for each port of the pool, and how many of them were given away. */
import type pg from 'pg';
import { POOL_RANGES } from '../rpc.js';

/** Beside the primary key: what such tables usually have, or what serves SKIP LOCKED best. */
const INDEX_OF = {
  status: 'CREATE INDEX port_status ON port (status)',
  available: "CREATE INDEX port_available ON port (port) WHERE status = 'available'",
};

/** Makes it anew with every port available, and leaves nothing of that to be written later. */
export async function fillTable(admin: pg.Client, index: keyof typeof INDEX_OF): Promise<void> {
  await admin.query('DROP TABLE IF EXISTS port');
  await admin.query("CREATE TABLE port (port integer PRIMARY KEY, status text NOT NULL DEFAULT 'available', environment text, allocated_at timestamptz)");
  for (const [first, last] of POOL_RANGES) await admin.query('INSERT INTO port (port) SELECT generate_series($1::integer, $2::integer)', [first, last]);
  await admin.query(INDEX_OF[index]);
  await admin.query('VACUUM ANALYZE port');
  await admin.query('CHECKPOINT');
}

/** Throws unless exactly as many ports are taken as allocations were answered. */
export async function checkTable(admin: pg.Client, answered: number): Promise<void> {
  const { rows } = await admin.query<{ taken: number }>("SELECT count(*)::integer AS taken FROM port WHERE status = 'allocated'");
  const taken = rows[0]?.taken;
  if (taken !== answered) throw new Error(`${answered} allocations were answered, and ${taken} ports of the table are taken`);
}
