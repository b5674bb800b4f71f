/** A folder of its own for the database of a test, and views of the database that do not go through the journal. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Connection, type Value } from '../../../coordinator/journal/sqlite/connection.js';
import { SqliteJournal } from '../../../coordinator/journal/sqlite/journal.js';

export class Place {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'portlease-journal-'));
  readonly database = path.join(this.folder, 'portlease.db');
  private readonly journals: SqliteJournal[] = [];

  async open(): Promise<SqliteJournal> {
    const journal = await SqliteJournal.open({ path: this.database });
    this.journals.push(journal);
    return journal;
  }

  /** As an operator's shell would. */
  async select<Row>(sql: string, ...values: Value[]): Promise<Row[]> {
    const reader = await Connection.open(this.database, 'readOnly');
    try {
      return await reader.all<Row>(sql, ...values);
    } finally {
      await reader.close();
    }
  }

  async count(table: string): Promise<number> {
    const [row] = await this.select<{ count: number }>(`SELECT count(*) AS count FROM ${table}`);
    return row?.count ?? 0;
  }

  /** Transactions in the WAL: its frames that carry the size of the database, https://sqlite.org/fileformat2.html#walformat. */
  transactionsInWal(): number {
    const wal = readFileSync(`${this.database}-wal`);
    const frameBytes = 24 + wal.readUInt32BE(8);
    const salt = wal.subarray(16, 24);
    let commits = 0;
    for (let at = 32; at + frameBytes <= wal.length; at += frameBytes) {
      if (!wal.subarray(at + 8, at + 16).equals(salt)) break;
      if (wal.readUInt32BE(at + 4) !== 0) commits += 1;
    }
    return commits;
  }

  async remove(): Promise<void> {
    for (const journal of this.journals) await journal.close();
    rmSync(this.folder, { recursive: true });
  }
}
