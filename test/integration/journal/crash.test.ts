import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { startWriter, type Writer } from './child.js';
import { Place } from './place.js';

const KILLS = 25;
const SYNC_FAILURES = 8;

/** Each append of the writer adds one row to each of them. */
const TABLES = ['mapping', 'environment', 'request', 'event', 'audit'];

describe('the journal of a coordinator that is killed', () => {
  let place: Place;
  let writer: Writer | undefined;
  let before: Map<string, number>;

  beforeEach(() => {
    place = new Place();
    before = new Map();
  });
  afterEach(async () => {
    await writer?.kill();
    await place.remove();
  });

  /** What every start finds: answers how many appends were written but not acknowledged. */
  async function check({ acknowledged }: { acknowledged: ReadonlyMap<string, number> }): Promise<number> {
    const journal = await place.open();
    let unacknowledged = 0;
    for (const { gateway, sequence } of await journal.gateways()) {
      const known = acknowledged.get(gateway) ?? before.get(gateway) ?? 0;
      assert.ok(sequence === known || sequence === known + 1, `${gateway}: acknowledged ${known}, stored ${sequence}`);
      unacknowledged += sequence - known;
      before.set(gateway, sequence);
      for (const table of TABLES) assert.equal(await place.count(`${table} WHERE gateway = '${gateway}'`), sequence, `${table} of ${gateway}`);
    }
    for (const gateway of acknowledged.keys()) assert.ok(before.has(gateway), gateway);
    assert.deepEqual(await place.select('PRAGMA integrity_check'), [{ integrity_check: 'ok' }]);
    await journal.close();
    return unacknowledged;
  }

  it(`has every append that was acknowledged and none by half, after each of ${KILLS} kills at random moments (S5)`, async () => {
    let unacknowledged = 0;
    for (let kill = 0; kill < KILLS; kill++) {
      writer = await startWriter(place.database);
      const appends = Math.floor(Math.random() * 400);
      await writer.until((said) => said.appends >= appends);
      await writer.kill();
      unacknowledged += await check(writer.said);
    }
    console.log(`      ${KILLS} kills with 4 appends in flight each; ${unacknowledged} of those were written`);
  }).timeout(120_000);

  it(`and whose disk failed to sync before: ${SYNC_FAILURES} times the outcome is unknown, found out, and right`, async () => {
    const library = path.join(place.folder, 'sync-fails.so');
    const failing = path.join(place.folder, 'failing');
    execFileSync('cc', ['-shared', '-fPIC', '-o', library, fileURLToPath(new URL('sync-fails.c', import.meta.url)), '-ldl']);
    for (let failure = 0; failure < SYNC_FAILURES; failure++) {
      writer = await startWriter(place.database, { LD_PRELOAD: library, FAIL_SYNC: failing });
      await writer.until((said) => said.appends >= 50);
      writeFileSync(failing, '');
      await writer.until((said) => said.unknown >= 4);
      assert.equal(writer.said.recovered, 0);
      const { appends } = writer.said;
      if (failure % 2 === 0) {
        rmSync(failing);
        await writer.until((said) => said.recovered >= 4 && said.appends >= appends + 50);
      }
      await writer.kill();
      rmSync(failing, { force: true });
      await check(writer.said);
    }
  }).timeout(120_000);
});
