/** Brings a database to the newest schema; refuses files that are somebody else's or from a newer portlease. */
import type { Connection } from './connection.js';
import type { MigrationStep } from './schema.js';

/** "PLSE", in the header of every database of portlease. */
const APPLICATION_ID = 0x504c_5345;

/** @throws Error that names the file and what to do, when it cannot be used as it is */
export async function migrate(connection: Connection, path: string, steps: readonly MigrationStep[]): Promise<void> {
  await refuseForeign(connection, path);
  const current = await pragma(connection, 'user_version');
  const newest = steps.at(-1)?.version ?? 0;
  if (current > newest) {
    throw new Error(`database ${path} has schema version ${current}, newer than ${newest}, the newest that this portlease knows: `
      + 'start the portlease version that wrote it, or restore a copy from before the upgrade');
  }
  for (const step of steps) if (step.version > current) await apply(connection, path, step);
}

async function refuseForeign(connection: Connection, path: string): Promise<void> {
  const id = await pragma(connection, 'application_id');
  const tables = await connection.one<{ count: number }>('SELECT count(*) AS count FROM sqlite_schema');
  if (id !== APPLICATION_ID && (id !== 0 || tables?.count !== 0)) {
    throw new Error(`${path} is an SQLite database of another program: choose another path for portlease's database`);
  }
}

async function apply(connection: Connection, path: string, step: MigrationStep): Promise<void> {
  const description = step.description.replaceAll("'", "''");
  try {
    await connection.exec(`BEGIN IMMEDIATE; ${step.sql};
      INSERT INTO schema_version (version, description) VALUES (${step.version}, '${description}');
      PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${step.version}; COMMIT`);
  } catch (error) {
    await connection.exec('ROLLBACK').catch(() => undefined);
    throw new Error(`database ${path}: step to schema version ${step.version} (${step.description}) failed, nothing was changed`, { cause: error });
  }
}

async function pragma(connection: Connection, name: 'user_version' | 'application_id'): Promise<number> {
  const row = await connection.one<Record<string, number>>(`PRAGMA ${name}`);
  return row?.[name] ?? 0;
}
