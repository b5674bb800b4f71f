import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, rmdirSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { OutcomeUnknown, SequenceConflict } from '../../../coordinator/journal/journal.js';
import { SqliteJournal } from '../../../coordinator/journal/sqlite/journal.js';
import { allocation, gatewayRecord } from './records.js';

describe('the journal on a disk that fills up', () => {
  let disk: string;
  let filler: string;
  let journal: SqliteJournal;
  let sequence: number;

  beforeEach(async () => {
    disk = mkdtempSync(path.join(tmpdir(), 'portlease-disk-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=32m', 'portlease-test', disk]);
    filler = path.join(disk, 'filler');
    journal = await SqliteJournal.open({ path: path.join(disk, 'portlease.db') });
    await journal.createGateway(gatewayRecord());
    sequence = 0;
  });
  afterEach(async () => {
    await journal.close();
    execFileSync('umount', [disk]);
    rmdirSync(disk);
  });

  /** Appends until one fails; answers how it failed. */
  async function appendUntilFailure(): Promise<unknown> {
    for (let left = 10_000; left > 0; left--) {
      try {
        await journal.append('gw', sequence, allocation(sequence + 1));
        sequence += 1;
      } catch (error) {
        return error;
      }
    }
    throw new Error('the disk did not fill up');
  }

  it('says OutcomeUnknown, goes on reading, and works again when there is space, with all that was acknowledged', async () => {
    for (; sequence < 300; sequence++) await journal.append('gw', sequence, allocation(sequence + 1));
    fill(filler); // The WAL cannot grow, nor can the database take over what is in the WAL.
    const failure = await appendUntilFailure();
    assert.ok(failure instanceof OutcomeUnknown, String(failure));
    assert.match(failure.message, /SQLITE_FULL|SQLITE_IOERR/);
    assert.match(journal.status(), /portlease\.db.*(SQLITE_FULL|SQLITE_IOERR)/);

    const waiting = await Promise.allSettled([1, 2, 3].map((n) => journal.append('gw', sequence, allocation(sequence + n))));
    assert.deepEqual(waiting.map((one) => one.status === 'rejected' && (one.reason as Error).name), Array(3).fill('OutcomeUnknown'));
    assert.equal((await journal.load('gw'))?.gateway.sequence, sequence);
    assert.equal((await journal.listAudits({ gateway: 'gw', afterId: 0, limit: 10_000 })).length, sequence);
    assert.notEqual(journal.status(), 'ok');

    rmSync(filler);
    const stored = await journal.load('gw');
    assert.ok(stored);
    await journal.barrier('gw', stored.gateway.sequence, { ...stored.gateway, sequence: stored.gateway.sequence + 1 });
    assert.equal(journal.status(), 'ok');
    assert.equal(stored.gateway.sequence, sequence);
    sequence += 1;
    await assert.rejects(journal.append('gw', sequence - 1, allocation(sequence)), SequenceConflict);
    for (let n = 0; n < 10; n++) await journal.append('gw', sequence++, allocation(sequence));
    const after = await journal.load('gw');
    assert.equal(after?.gateway.sequence, sequence);
    assert.equal(after.mappings.length, sequence - 1, 'each acknowledged allocation; the barrier wrote none');
  });

  it('keeps what was acknowledged also when it is closed and opened again while the disk is full', async () => {
    fill(filler);
    assert.ok(await appendUntilFailure() instanceof OutcomeUnknown);
    await journal.close();
    rmSync(filler);
    journal = await SqliteJournal.open({ path: path.join(disk, 'portlease.db') });
    assert.equal((await journal.load('gw'))?.mappings.length, sequence);
  });
});

/** Writes into `file` until there is no space left. */
function fill(file: string): void {
  const descriptor = openSync(file, 'w');
  try {
    for (let size = 1 << 20; size >= 4096;) {
      try {
        writeSync(descriptor, Buffer.alloc(size));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
        size /= 2;
      }
    }
  } finally {
    closeSync(descriptor);
  }
}
