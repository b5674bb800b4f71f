import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import { Connection } from '../../../coordinator/journal/sqlite/connection.js';
import type { SqliteJournal } from '../../../coordinator/journal/sqlite/journal.js';
import { Place } from './place.js';
import { allocation, changes, gatewayRecord, mapping, request } from './records.js';

describe('reading from the journal on SQLite', () => {
  let place: Place;
  let journal: SqliteJournal;

  beforeEach(async () => {
    place = new Place();
    journal = await place.open();
    await journal.createGateway(gatewayRecord());
  });
  afterEach(() => place.remove());

  it('shows whole commits only, while appends go on', async () => {
    const appending = appendMany(400, 25);
    let reads = 0;
    const distinct = new Set<number>();
    while (!await isSettled(appending)) {
      const [row] = await place.select<{ sequence: number; mappings: number; events: number; audits: number }>(`SELECT sequence,
        (SELECT count(*) FROM mapping) AS mappings, (SELECT count(*) FROM event) AS events, (SELECT count(*) FROM audit) AS audits FROM gateway`);
      assert.deepEqual(row, { sequence: row?.sequence, mappings: row?.sequence, events: row?.sequence, audits: row?.sequence });
      const stored = await journal.load('gw');
      assert.equal(stored?.mappings.length, stored?.gateway.sequence);
      assert.equal(stored?.requests.length, stored?.gateway.sequence);
      distinct.add(stored?.gateway.sequence ?? 0);
      reads += 1;
    }
    await appending;
    assert.ok(reads > 3 && distinct.size > 3, `${reads} reads saw ${distinct.size} states`);
  });

  it('shows nothing of a transaction that another connection has not committed', async () => {
    const shell = await Connection.open(place.database, 'readWrite');
    await shell.exec(`BEGIN IMMEDIATE; UPDATE gateway SET sequence = 77`);
    assert.equal((await journal.load('gw'))?.gateway.sequence, 0);
    assert.equal((await journal.gateways())[0]?.sequence, 0);
    const waiting = journal.append('gw', 0, allocation(1));
    await shell.exec('ROLLBACK');
    await waiting;
    await shell.close();
  });

  it('loads of the released mappings those that a request names and the newest of each port', async () => {
    const released = (mappingId: string, port: number, releasedSequence: number) =>
      mapping({ mappingId, port, releasedSequence, environment: `env-${mappingId}`, state: 'released' });
    await journal.append('gw', 0, changes(1, {
      mappings: [released('m1', 100, 1), released('m2', 100, 3), released('m3', 100, 2), released('m4', 200, 1), released('m5', 200, 2),
        mapping({ mappingId: 'm6', port: 200 }), mapping({ mappingId: 'm7', port: 300, environment: 'env-7', state: 'quarantined' })],
      requests: [request({ mappingIds: ['m3', 'm6'] })],
    }));
    const ids = async () => (await journal.load('gw'))?.mappings.map(({ mappingId }) => mappingId);
    assert.deepEqual(await ids(), ['m2', 'm3', 'm5', 'm6', 'm7']);
  });

  it('loads 100,000 mappings in pages, and lets other work go on in between', async () => {
    await appendMany(50, 2_000);
    let longest = 0;
    let last = performance.now();
    const ticks = setInterval(() => { longest = Math.max(longest, performance.now() - last); last = performance.now(); }, 1);
    const from = performance.now();
    const stored = await journal.load('gw');
    const whole = performance.now() - from;
    clearInterval(ticks);
    assert.equal(stored?.mappings.length, 100_000);
    assert.equal(stored.environments.length, 100_000);
    assert.equal(stored.requests.length, 100_000);
    assert.ok(longest < whole / 5, `the event loop stood still for ${longest} of ${whole} ms`);
    console.log(`      loaded in ${Math.round(whole)} ms, event loop held for ${Math.round(longest)} ms at most`);
  });

  /** `count` appends of `size` allocations each, one after the other. */
  async function appendMany(count: number, size: number, from = 0): Promise<void> {
    for (let n = from; n < from + count * size; n += size) {
      const all = Array.from({ length: size }, (_, i) => allocation(n + i + 1));
      await journal.append('gw', n, changes(n + size, {
        environments: all.flatMap((one) => one.environments), mappings: all.flatMap((one) => one.mappings),
        requests: all.flatMap((one) => one.requests), events: all.flatMap((one) => one.events), audits: all.flatMap((one) => one.audits),
      }));
    }
  }
});

function isSettled(work: Promise<unknown>): Promise<boolean> {
  return Promise.race([work.then(() => true), new Promise<boolean>((resolve) => { setImmediate(resolve, false); })]);
}
