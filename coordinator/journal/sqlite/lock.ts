/** One coordinator per database: a lock that the kernel lets go when the process ends, however it ends. */
import { readFileSync, realpathSync, statSync } from 'node:fs';
import path from 'node:path';
import { CODES, Connection, SqliteError } from './connection.js';

/** Another process, or another journal of this one, has the database. */
export class DatabaseInUse extends Error {
  override readonly name = 'DatabaseInUse';
}

export class DatabaseLock {
  private constructor(private readonly connection: Connection) {}

  /** Locks `databasePath` (which need not exist yet; its folder must) through the file next to it that ends in ".lock". Readers
   *  of the database are not kept out.
   *  @throws DatabaseInUse */
  static async take(databasePath: string): Promise<DatabaseLock> {
    const lockPath = `${resolved(databasePath)}.lock`;
    const connection = await Connection.open(lockPath, 'readWrite');
    try {
      await connection.exec('PRAGMA busy_timeout = 0; BEGIN IMMEDIATE');
    } catch (error) {
      await connection.close();
      if (!(error instanceof SqliteError) || error.code !== CODES.busy) throw error;
      const pid = holderOf(lockPath);
      throw new DatabaseInUse(`database ${databasePath} is in use by ${pid === undefined ? 'another process' : `process ${pid}`} `
        + `(it holds ${lockPath}): stop that coordinator first`);
    }
    return new DatabaseLock(connection);
  }

  async release(): Promise<void> {
    await this.connection.close();
  }
}

function resolved(file: string): string {
  try {
    return realpathSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return path.join(realpathSync(path.dirname(file)), path.basename(file));
  }
}

/** The process with a write lock on `file`, from /proc/locks ("1: POSIX  ADVISORY  WRITE 4711 fe:00:12345 first last"). */
function holderOf(file: string): number | undefined {
  try {
    const inode = String(statSync(file).ino);
    for (const line of readFileSync('/proc/locks', 'utf8').split('\n')) {
      const [, , , access, pid, fileId] = line.trim().split(/\s+/);
      if (access === 'WRITE' && fileId?.split(':')[2] === inode) return Number(pid);
    }
  } catch {
    // Only to help people: without /proc the message names no process.
  }
  return undefined;
}
