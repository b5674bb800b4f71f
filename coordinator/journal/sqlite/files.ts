/** The open database: the writer's connection, which is the journal's alone, and another one for readers. They are closed one by
 *  one: reads go on while the writer is reopened. */
import type { GatewayRecord } from '../../book/types.js';
import { PREPARE_BATCH } from './batch.js';
import { CODES, Connection, SqliteError } from './connection.js';
import { migrate } from './migrate.js';
import type { MigrationStep } from './schema.js';

/** Milliseconds that a commit waits for a lock of somebody else, such as an operator's shell. */
const BUSY_TIMEOUT_MS = 5_000;

/** 32 MiB of WAL between checkpoints: a page that many commits touch is copied to the database once. */
const WRITER = `PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS};
PRAGMA synchronous = FULL;
PRAGMA foreign_keys = ON;
PRAGMA wal_autocheckpoint = 8192;
PRAGMA journal_size_limit = 67108864;
PRAGMA cache_size = -65536;
PRAGMA temp_store = MEMORY;`;

const CREATE_GATEWAY = `INSERT INTO gateway (gateway, ordinal, scope, public_host, epoch, sequence) VALUES (?, ?, ?, ?, ?, ?)`;
const DELETE_GATEWAY = 'INSERT INTO gateway_removal VALUES (?)';
const PREPARE_REMOVAL = `
CREATE TEMP VIEW gateway_removal (gateway) AS SELECT NULL;
CREATE TEMP TRIGGER remove_gateway INSTEAD OF INSERT ON gateway_removal BEGIN
  SELECT RAISE(ABORT, 'mappings of the gateway are not released')
    WHERE EXISTS (SELECT 1 FROM mapping WHERE gateway = NEW.gateway AND state <> 'released');
  DELETE FROM mapping WHERE gateway = NEW.gateway;
  DELETE FROM environment WHERE gateway = NEW.gateway;
  DELETE FROM request WHERE gateway = NEW.gateway;
  DELETE FROM event WHERE gateway = NEW.gateway;
  DELETE FROM forgotten_host WHERE gateway = NEW.gateway;
  DELETE FROM mass_loss_override WHERE gateway = NEW.gateway;
  DELETE FROM workload WHERE gateway = NEW.gateway;
  DELETE FROM gateway WHERE gateway = NEW.gateway;
END;`;

export class DatabaseFiles {
  private constructor(readonly writer: Connection, readonly reader: Connection) {}

  /** Opens and, where needed, migrates the database.
   *  @throws Error that names the file when it cannot be used */
  static async open(path: string, steps: readonly MigrationStep[]): Promise<DatabaseFiles> {
    const opened: Connection[] = [];
    try {
      const writer = await Connection.open(path, 'readWrite');
      opened.push(writer);
      await writer.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
      await migrate(writer, path, steps);
      await writer.exec(WRITER);
      await useWal(writer, path);
      await writer.exec(PREPARE_BATCH + PREPARE_REMOVAL);
      const reader = await Connection.open(path, 'readOnly');
      opened.push(reader);
      await reader.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}; PRAGMA temp_store = MEMORY`);
      return new DatabaseFiles(writer, reader);
    } catch (error) {
      for (const connection of opened.reverse()) await connection.close();
      throw error;
    }
  }

  /** As open(), after a failure: whatever a failed commit left in the WAL is brought into the database file, or is gone, and the
   *  disk has proven that it takes writes. After a failed fsync the kernel may believe that pages of the WAL are on disk which are
   *  not, so only copying them makes them durable.
   *  @throws Error while the disk fails or a reader keeps the WAL from being emptied */
  static async reopen(path: string, steps: readonly MigrationStep[], mayBeDamaged: boolean): Promise<DatabaseFiles> {
    const files = await DatabaseFiles.open(path, steps);
    try {
      const checkpoint = await files.writer.one<{ busy: number }>('PRAGMA wal_checkpoint(TRUNCATE)');
      if (checkpoint?.busy !== 0) throw new Error(`${path}: the WAL cannot be emptied while another program reads the database`);
      if (mayBeDamaged) await check(files.writer, path);
      return files;
    } catch (error) {
      await files.close();
      throw error;
    }
  }

  createGateway(r: GatewayRecord): Promise<number> {
    return this.writer.run(CREATE_GATEWAY, r.gateway, r.ordinal, r.scope, r.publicHost, r.epoch, r.sequence);
  }

  deleteGateway(gateway: string): Promise<number> {
    return this.writer.run(DELETE_GATEWAY, gateway);
  }

  async close(): Promise<void> {
    try {
      await this.reader.close();
    } finally {
      await this.writer.close();
    }
  }
}

async function useWal(writer: Connection, path: string): Promise<void> {
  const mode = await writer.one<{ journal_mode: string }>('PRAGMA journal_mode = WAL');
  if (mode?.journal_mode !== 'wal') {
    throw new Error(`${path}: the file system does not allow SQLite's WAL mode (it stays in mode ${mode?.journal_mode}): use a local disk`);
  }
}

async function check(writer: Connection, path: string): Promise<void> {
  const found = await writer.one<{ quick_check: string }>('PRAGMA quick_check(1)');
  if (found?.quick_check === 'ok') return;
  throw new Error(`${path} is damaged (${found?.quick_check.replaceAll('\n', ' ')}): restore the newest copy of it`);
}

/** Failures after which nothing of the statement is in the database for certain, and the connection is fit to be used again. */
export function isRefusal(error: unknown): error is SqliteError {
  return error instanceof SqliteError && [CODES.constraint, CODES.mismatch, CODES.tooBig].includes(error.code);
}

export function isCorruption(error: unknown): boolean {
  return error instanceof SqliteError && [CODES.corrupt, CODES.notADatabase].includes(error.code);
}
