import assert from 'node:assert/strict';
import { closeSync, openSync, writeSync } from 'node:fs';
import { OutcomeUnknown } from '../../../coordinator/journal/journal.js';
import { Connection } from '../../../coordinator/journal/sqlite/connection.js';
import type { SqliteJournal } from '../../../coordinator/journal/sqlite/journal.js';
import { Place } from './place.js';
import { allocation, gatewayRecord } from './records.js';

describe('the journal on SQLite, when the database cannot be written', () => {
  let place: Place;
  let journal: SqliteJournal;

  beforeEach(async () => {
    place = new Place();
    journal = await place.open();
    await journal.createGateway(gatewayRecord());
    await journal.append('gw', 0, allocation(1));
  });
  afterEach(() => place.remove());

  it('answers OutcomeUnknown while another program keeps the write lock, reads on, and works when the lock is gone', async () => {
    const shell = await Connection.open(place.database, 'readWrite');
    await shell.exec('BEGIN IMMEDIATE');
    await assert.rejects(journal.append('gw', 1, allocation(2)), (error) => {
      assert.ok(error instanceof OutcomeUnknown);
      assert.match(error.message, /SQLITE_BUSY/);
      return true;
    });
    assert.match(journal.status(), /SQLITE_BUSY/);
    assert.equal((await journal.load('gw'))?.gateway.sequence, 1);
    await shell.exec('ROLLBACK');
    await shell.close();
    await journal.barrier('gw', 1, gatewayRecord({ sequence: 1 }));
    assert.equal(journal.status(), 'ok');
    await journal.append('gw', 1, allocation(2));
  });

  it('names a damaged file, writes nothing more to it, and says what to do', async () => {
    const [index] = await place.select<{ rootpage: number }>(`SELECT rootpage FROM sqlite_schema WHERE name = 'mapping_name'`);
    assert.ok(index);
    await journal.close();
    const file = openSync(place.database, 'r+');
    writeSync(file, Buffer.alloc(4096, 0xff), 0, 4096, (index.rootpage - 1) * 4096);
    closeSync(file);
    journal = await place.open();
    await assert.rejects(journal.append('gw', 1, allocation(2)), OutcomeUnknown);
    await assert.rejects(journal.append('gw', 1, allocation(2)), /portlease\.db is damaged.*restore the newest copy/);
    assert.match(journal.status(), /is damaged/);
    await assert.rejects(journal.barrier('gw', 1, gatewayRecord({ sequence: 2 })), OutcomeUnknown);
  });

  it('answers every call of a statement that cannot be prepared', async () => {
    const connection = await Connection.open(place.database, 'readOnly');
    for (let n = 0; n < 2; n++) await assert.rejects(connection.all('SELECT * FROM absent'), /no such table: absent/);
    const both = await Promise.allSettled([connection.run('DELETE FROM absent'), connection.run('DELETE FROM absent')]);
    assert.deepEqual(both.map(({ status }) => status), ['rejected', 'rejected']);
    await connection.close();
    await assert.rejects(connection.all('SELECT 1'), /SQLITE_MISUSE/);
  });
});
