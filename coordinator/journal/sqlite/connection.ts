/** One SQLite connection with promises. Statements are prepared once and belong to it. */
import sqlite3 from 'sqlite3';

export type Mode = 'readWrite' | 'readOnly';
export type Value = string | number | null;

/** What SQLite said, with its result code. */
export class SqliteError extends Error {
  override readonly name = 'SqliteError';
  constructor(readonly code: number, tried: string, cause: Error) {
    super(`${tried}: ${cause.message}`, { cause });
  }
}

export const CODES = { constraint: sqlite3.CONSTRAINT, busy: sqlite3.BUSY, corrupt: sqlite3.CORRUPT, notADatabase: sqlite3.NOTADB,
  mismatch: sqlite3.MISMATCH, tooBig: sqlite3.TOOBIG };

const OPEN_FLAGS = { readWrite: sqlite3.OPEN_READWRITE | sqlite3.OPEN_CREATE, readOnly: sqlite3.OPEN_READONLY };

export class Connection {
  private readonly statements = new Map<string, Promise<sqlite3.Statement>>();
  private constructor(private readonly database: sqlite3.Database, private readonly path: string) {}

  static open(path: string, mode: Mode): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const database = new sqlite3.Database(path, OPEN_FLAGS[mode] | sqlite3.OPEN_FULLMUTEX, (error) => {
        if (error) reject(sqliteError(`open ${path}`, error));
        else resolve(new Connection(database, path));
      });
      database.serialize();
    });
  }

  /** Runs statements without parameters, one after another; stops at the first failure. */
  exec(sql: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.database.exec(sql, (error) => { if (error) reject(this.failed(sql, error)); else resolve(); });
    });
  }

  /** Runs one statement; answers how many rows it changed (triggers not counted). */
  async run(sql: string, ...values: Value[]): Promise<number> {
    const statement = await this.prepared(sql);
    return new Promise((resolve, reject) => {
      const failed = (error: Error) => { reject(this.failed(sql, error)); };
      statement.run(values, function (this: sqlite3.RunResult, error: Error | null) {
        if (error) failed(error); else resolve(this.changes);
      });
    });
  }

  async all<Row>(sql: string, ...values: Value[]): Promise<Row[]> {
    const statement = await this.prepared(sql);
    return new Promise((resolve, reject) => {
      statement.all<Row>(values, (error: Error | null, rows: Row[]) => {
        if (error) reject(this.failed(sql, error)); else resolve(rows);
      });
    });
  }

  async one<Row>(sql: string, ...values: Value[]): Promise<Row | undefined> {
    const [row] = await this.all<Row>(sql, ...values);
    return row;
  }

  /** Resolves when the file is closed; what still runs is finished first. */
  async close(): Promise<void> {
    for (const preparing of this.statements.values()) {
      const statement = await preparing.catch(() => undefined);
      if (statement) await new Promise((done) => statement.finalize(done));
    }
    this.statements.clear();
    await new Promise<void>((resolve, reject) => {
      this.database.close((error) => { if (error) reject(this.failed('close', error)); else resolve(); });
    });
  }

  /** Waits for the preparation: calls on a statement whose preparation fails afterwards are never answered by the package. */
  private prepared(sql: string): Promise<sqlite3.Statement> {
    const known = this.statements.get(sql);
    if (known) return known;
    const preparing = new Promise<sqlite3.Statement>((resolve, reject) => {
      const statement = this.database.prepare(sql, (error) => { if (error) reject(this.failed(sql, error)); else resolve(statement); });
    });
    this.statements.set(sql, preparing);
    preparing.catch(() => this.statements.delete(sql));
    return preparing;
  }

  private failed(sql: string, error: Error): SqliteError {
    return sqliteError(`${this.path}: ${firstLine(sql)}`, error);
  }
}

function firstLine(sql: string): string {
  const line = sql.trim().split('\n', 1)[0] ?? '';
  return line.length > 80 ? `${line.slice(0, 80)}…` : line;
}

function sqliteError(tried: string, error: Error): SqliteError {
  const code = (error as { errno?: unknown }).errno;
  return new SqliteError(typeof code === 'number' ? code : sqlite3.ERROR, tried, error);
}
