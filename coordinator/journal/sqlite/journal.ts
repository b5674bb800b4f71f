/** The journal on SQLite: a queue of writes, one transaction at a time, appends of several gateways together. */
import type { Changes, GatewayRecord, StoredGateway } from '../../book/types.js';
import { ConstraintViolated, JournalClosed, OutcomeUnknown, SequenceConflict, type EventPage, type EventsAfter, type EventsBefore, type FormerOwner, type FormerOwnersOf,
  type Journal, type PageOf,
  type PurgeBefore, type Purged, type StoredAudit } from '../journal.js';
import { batchOf, charactersOf, comparison, CONFLICT, valuesOf, WRITE_BATCH, type Batch } from './batch.js';
import { Connection } from './connection.js';
import { DatabaseFiles, isCorruption, isRefusal } from './files.js';
import { auditPage, eventPage, eventPageBefore, formerOwners } from './history.js';
import { gateways, loadGateway } from './load.js';
import { DatabaseLock } from './lock.js';
import { countRows, deletions, planPurge } from './purge.js';
import { MIGRATIONS, type MigrationStep } from './schema.js';

export { DatabaseInUse } from './lock.js';

export type SqliteOptions = {
  /** Database file; made when absent. Its folder must exist. */
  path: string;
  /** Other schema steps than portlease's own: for tests of migration. */
  migrations?: readonly MigrationStep[];
};

type Write = { gateway: string; work: Work; resolve: (changedRows: number) => void; reject: (error: Error) => void };
type Work = { kind: 'batch'; batch: Batch } | { kind: 'alone'; run: (files: DatabaseFiles) => Promise<number> };

/** Characters of JSON that one transaction takes, unless a single append has more: keeps commits short. */
const GROUP_CHARACTERS = 4_000_000;

export class SqliteJournal implements Journal {
  private queue: Write[] = [];
  /** undefined from a failure of the writer until it was reopened. */
  private files: DatabaseFiles | undefined;
  /** Of the newest files: reads go on while nothing can be written. */
  private reader: Connection;
  private failure: Error | undefined;
  /** SQLite found the file damaged: the whole of it is checked before it is written to again. */
  private mayBeDamaged = false;
  private writing: Promise<void> | undefined;
  private closing: Promise<void> | undefined;

  private constructor(private readonly path: string, private readonly steps: readonly MigrationStep[], private readonly lock: DatabaseLock,
    files: DatabaseFiles) {
    this.files = files;
    this.reader = files.reader;
  }

  /** @throws DatabaseInUse, or Error that says why the file cannot be used */
  static async open({ path, migrations = MIGRATIONS }: SqliteOptions): Promise<SqliteJournal> {
    const lock = await DatabaseLock.take(path);
    try {
      return new SqliteJournal(path, migrations, lock, await DatabaseFiles.open(path, migrations));
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  async append(gateway: string, expectedSequence: number, changes: Changes): Promise<void> {
    await this.write(gateway, { kind: 'batch', batch: batchOf(gateway, expectedSequence, changes) });
  }

  async barrier(gateway: string, expectedSequence: number, record: GatewayRecord): Promise<void> {
    await this.write(gateway, { kind: 'batch', batch: comparison(gateway, expectedSequence, record) });
  }

  async createGateway(record: GatewayRecord): Promise<void> {
    const copy = { ...record };
    await this.write(record.gateway, { kind: 'alone', run: (files) => files.createGateway(copy) });
  }

  async deleteGateway(gateway: string): Promise<void> {
    await this.write(gateway, { kind: 'alone', run: (files) => files.deleteGateway(gateway) });
  }

  async purge(before: PurgeBefore, goOn: () => Promise<boolean>): Promise<Purged> {
    return this.withReader(async (reader) => {
      const purged: Purged = { events: 0, audits: 0, mappings: 0, owners: 0 };
      const steps = deletions(reader, await planPurge(reader, before));
      for (let step = await steps.next(); step.done !== true;) {
        const { kind, sql, values } = step.value;
        const rows = await this.write('', { kind: 'alone', run: (files) => files.writer.run(sql, ...values) });
        if (kind !== undefined) purged[kind] += rows;
        if (rows > 0 && !await goOn()) break;
        step = await steps.next(rows);
      }
      return purged;
    });
  }

  async countPurgeable(before: PurgeBefore): Promise<Purged> {
    return this.withReader(async (reader) => countRows(reader, await planPurge(reader, before)));
  }

  async gateways(): Promise<GatewayRecord[]> {
    return gateways(this.readable());
  }

  async load(gateway: string): Promise<StoredGateway | undefined> {
    this.readable();
    return loadGateway(this.path, gateway);
  }

  async listAudits(page: PageOf): Promise<StoredAudit[]> {
    return auditPage(this.readable(), page);
  }

  async listEvents(page: EventsAfter): Promise<EventPage> {
    return eventPage(this.readable(), page);
  }

  async listFormerOwners(page: FormerOwnersOf): Promise<FormerOwner[]> {
    return formerOwners(this.readable(), page);
  }

  async listEventsBefore(page: EventsBefore): Promise<EventPage> {
    return eventPageBefore(this.readable(), page);
  }

  status(): string {
    return this.failure === undefined ? 'ok' : this.failure.message;
  }

  close(): Promise<void> {
    this.closing ??= this.closeAll();
    return this.closing;
  }

  private async closeAll(): Promise<void> {
    for (const write of this.queue.splice(0)) write.reject(new JournalClosed('the journal is closed; nothing of this was written'));
    await this.writing;
    try {
      await this.reader.close();
      await this.files?.writer.close();
    } finally {
      await this.lock.release();
    }
  }

  private write(gateway: string, work: Work): Promise<number> {
    if (this.closing) return Promise.reject(new JournalClosed('the journal is closed; nothing of this was written'));
    return new Promise((resolve, reject) => {
      this.queue.push({ gateway, work, resolve, reject });
      this.writing ??= this.writeAll();
    });
  }

  /** Works until the queue is empty. Gives way once first, so that calls of the same turn share a transaction. Nothing may come
   *  between finding the queue empty and saying that nobody works on it any more: a write that is queued there would wait for ever. */
  private async writeAll(): Promise<void> {
    await Promise.resolve();
    for (let group = this.nextGroup(); group.length > 0; group = this.nextGroup()) {
      const files = await this.usable();
      if (files instanceof Error) for (const write of [...group, ...this.queue.splice(0)]) write.reject(unknown(files));
      else await this.writeGroup(files, group);
    }
    this.writing = undefined;
  }

  /** The first of the queue and what may share its transaction: appends of other gateways, one of each. Of one gateway nothing
   *  overtakes anything. */
  private nextGroup(): Write[] {
    const [first, ...others] = this.queue;
    if (first === undefined) return [];
    const group = [first];
    const passed = new Set([first.gateway]);
    let characters = sizeOf(first.work);
    this.queue = first.work.kind === 'alone' ? others : others.filter((write) => {
      const joins = write.work.kind === 'batch' && !passed.has(write.gateway) && characters + sizeOf(write.work) <= GROUP_CHARACTERS;
      passed.add(write.gateway);
      if (!joins) return true;
      characters += sizeOf(write.work);
      group.push(write);
      return false;
    });
    return group;
  }

  private async writeGroup(files: DatabaseFiles, group: readonly Write[]): Promise<void> {
    try {
      const changed = await execute(files, group);
      for (const write of group) write.resolve(changed);
    } catch (error) {
      if (!isRefusal(error)) await this.fail(error as Error, group);
      else if (group.length === 1) for (const write of group) write.reject(refusalOf(write, error));
      else await this.writeSingly(group);
    }
  }

  /** After a refusal that may be meant for any of `group`: each by itself, so that only the offender is refused. */
  private async writeSingly(group: readonly Write[]): Promise<void> {
    for (const write of group) {
      const files = await this.usable();
      if (files instanceof Error) write.reject(unknown(files));
      else await this.writeGroup(files, [write]);
    }
  }

  private async fail(error: Error, group: readonly Write[]): Promise<void> {
    this.failure = error;
    this.mayBeDamaged ||= isCorruption(error);
    await this.files?.writer.close().catch(() => undefined);
    this.files = undefined;
    for (const write of group) write.reject(unknown(error));
  }

  /** The files, reopened and checked when the last transaction failed; the failure when that did not help. */
  private async usable(): Promise<DatabaseFiles | Error> {
    if (this.files) return this.files;
    try {
      const files = await DatabaseFiles.reopen(this.path, this.steps, this.mayBeDamaged);
      await this.reader.close().catch(() => undefined);
      this.reader = files.reader;
      this.files = files;
      this.failure = undefined;
      this.mayBeDamaged = false;
      return files;
    } catch (error) {
      this.failure = error as Error;
      return error as Error;
    }
  }

  /** A connection of its own for what reads for long. */
  private async withReader<T>(read: (reader: Connection) => Promise<T>): Promise<T> {
    this.readable();
    const reader = await Connection.open(this.path, 'readOnly');
    try {
      return await read(reader);
    } finally {
      await reader.close();
    }
  }

  private readable(): Connection {
    if (this.closing) throw new JournalClosed('the journal is closed');
    return this.reader;
  }
}

function sizeOf(work: Work): number {
  return work.kind === 'batch' ? charactersOf(work.batch) : 0;
}

function execute(files: DatabaseFiles, group: readonly Write[]): Promise<number> {
  const batches: Batch[] = [];
  for (const { work } of group) {
    if (work.kind === 'alone') return work.run(files);
    batches.push(work.batch);
  }
  return files.writer.run(WRITE_BATCH, ...valuesOf(batches));
}

function refusalOf({ gateway }: Write, error: Error): Error {
  if (error.message.includes(CONFLICT)) return new SequenceConflict(`gateway ${gateway} is not at the expected sequence`, { cause: error });
  return new ConstraintViolated(error.message, { cause: error });
}

function unknown(error: Error): OutcomeUnknown {
  return new OutcomeUnknown(error.message, { cause: error });
}
