import assert from 'node:assert/strict';
import { startWriter } from './child.js';
import { Place } from './place.js';

const KILLS = 25;

/** Rows of a gateway that an allocation wrote in part: each writes one row in each of these tables, at one sequence. */
const TABLES = ['mapping', 'environment', 'request', 'event', 'audit'];

describe('the journal of a coordinator that is killed', () => {
  let place: Place;
  beforeEach(() => { place = new Place(); });
  afterEach(() => place.remove());

  it(`has every append that was acknowledged and none by half, after each of ${KILLS} kills at random moments (S5)`, async () => {
    let inFlight = 0;
    let last = 0;
    for (let kill = 0; kill < KILLS; kill++) {
      const writer = await startWriter(place.database);
      await writer.reached(Math.floor(Math.random() * 400));
      await writer.kill();
      const journal = await place.open();
      let total = 0;
      for (const { gateway, sequence } of await journal.gateways()) {
        const acknowledged = writer.acknowledged.get(gateway) ?? 0;
        assert.ok(sequence >= acknowledged, `${gateway}: acknowledged ${acknowledged}, stored ${sequence}`);
        assert.ok(sequence <= acknowledged + 1 || acknowledged === 0, `${gateway}: acknowledged ${acknowledged}, stored ${sequence}`);
        inFlight += sequence > acknowledged && acknowledged > 0 ? 1 : 0;
        total += sequence;
        for (const table of TABLES) assert.equal(await place.count(`${table} WHERE gateway = '${gateway}'`), sequence, `${table} of ${gateway}`);
      }
      assert.ok(total >= last);
      last = total;
      assert.deepEqual(await place.select('PRAGMA integrity_check'), [{ integrity_check: 'ok' }]);
      await journal.close();
    }
    console.log(`      ${KILLS} kills, ${last} appends, ${inFlight} of them written but not acknowledged`);
  }).timeout(120_000);
});
