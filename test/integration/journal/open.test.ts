import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Connection } from '../../../coordinator/journal/sqlite/connection.js';
import { DatabaseInUse, SqliteJournal } from '../../../coordinator/journal/sqlite/journal.js';
import { MIGRATIONS, type MigrationStep } from '../../../coordinator/journal/sqlite/schema.js';
import { startWriter } from './child.js';
import { Place } from './place.js';
import { allocation, gatewayRecord } from './records.js';

const NEWEST = MIGRATIONS.at(-1)?.version ?? 0;
const NEXT: MigrationStep = { version: NEWEST + 1, description: "adds the operators' notes", sql: `ALTER TABLE mapping ADD COLUMN note TEXT NOT NULL DEFAULT ''` };

describe('opening the journal on SQLite', () => {
  let place: Place;
  beforeEach(() => { place = new Place(); });
  afterEach(() => place.remove());

  it('is refused while another journal has the database, also by another name, and the error names path and process', async () => {
    const first = await place.open();
    const other = path.join(place.folder, 'link.db');
    symlinkSync(place.database, other);
    for (const one of [place.database, other]) {
      await assert.rejects(SqliteJournal.open({ path: one }), (error) => {
        assert.ok(error instanceof DatabaseInUse);
        assert.ok(error.message.includes(one) && error.message.includes(`process ${process.pid}`), error.message);
        return true;
      });
    }
    await first.createGateway(gatewayRecord());
    await first.close();
    assert.equal((await (await place.open()).gateways()).length, 1);
  });

  it('is refused while another process has the database, and works at once when that one was killed', async () => {
    const writer = await startWriter(place.database);
    await assert.rejects(place.open(), (error: Error) => error.message.includes(`process ${writer.pid}`));
    await writer.kill();
    await place.open();
  });

  it('lets an operator read with another program at the same time', async () => {
    const journal = await place.open();
    await journal.createGateway(gatewayRecord());
    await journal.append('gw', 0, allocation(1));
    assert.deepEqual(await place.select('SELECT port, state FROM mapping'), [{ port: 1_001, state: 'pending' }]);
    assert.deepEqual(await place.select('SELECT max(version) AS version FROM schema_version'), [{ version: NEWEST }]);
  });

  it('migrates a database of an earlier version and keeps what is in it', async () => {
    const old = await place.open();
    await old.createGateway(gatewayRecord());
    await old.append('gw', 0, allocation(1));
    await old.close();
    const journal = await SqliteJournal.open({ path: place.database, migrations: [...MIGRATIONS, NEXT] });
    await journal.append('gw', 1, allocation(2));
    assert.equal((await journal.load('gw'))?.mappings.length, 2);
    await journal.close();
    assert.deepEqual(await place.select(`SELECT version, description FROM schema_version WHERE version > ${NEWEST}`), [{ version: NEXT.version, description: NEXT.description }]);
    assert.deepEqual(await place.select('SELECT DISTINCT note FROM mapping'), [{ note: '' }]);
  });

  it('changes nothing when a step of the migration fails, and says which', async () => {
    await (await place.open()).close();
    const broken = { ...NEXT, sql: `${NEXT.sql}; INSERT INTO absent VALUES (1)` };
    await assert.rejects(SqliteJournal.open({ path: place.database, migrations: [...MIGRATIONS, broken] }), new RegExp(`schema version ${NEXT.version}.*nothing was changed`));
    assert.deepEqual(await place.select('PRAGMA user_version'), [{ user_version: NEWEST }]);
    const journal = await SqliteJournal.open({ path: place.database, migrations: [...MIGRATIONS, NEXT] });
    await journal.close();
  });

  it('refuses a database of a newer portlease', async () => {
    await (await SqliteJournal.open({ path: place.database, migrations: [...MIGRATIONS, { ...NEXT, version: NEWEST + 6 }] })).close();
    await assert.rejects(place.open(), new RegExp(`schema version ${NEWEST + 6}, newer than ${NEWEST}`));
  });

  it('refuses a database of another program and leaves it as it was', async () => {
    const foreign = await Connection.open(place.database, 'readWrite');
    await foreign.exec('CREATE TABLE theirs (x)');
    await foreign.close();
    const before = readFileSync(place.database);
    await assert.rejects(place.open(), /of another program/);
    assert.deepEqual(readFileSync(place.database), before);
  });

  it('says what is wrong with a path that is no database', async () => {
    writeFileSync(place.database, 'not a database, but long enough to be looked at as one. '.repeat(20));
    await assert.rejects(place.open(), /portlease\.db.*SQLITE_NOTADB/);
    rmSync(place.database);
    mkdirSync(place.database);
    await assert.rejects(place.open(), /portlease\.db.*SQLITE_CANTOPEN/);
    await assert.rejects(SqliteJournal.open({ path: path.join(place.folder, 'absent', 'x.db') }), /ENOENT.*absent/);
  });
});
