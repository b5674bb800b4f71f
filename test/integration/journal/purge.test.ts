import assert from 'node:assert/strict';
import type { EventRecord, MappingRecord } from '../../../coordinator/book/types.js';
import type { EventCursor, PurgeBefore } from '../../../coordinator/journal/journal.js';
import type { SqliteJournal } from '../../../coordinator/journal/sqlite/journal.js';
import { Place } from './place.js';
import { allocation, AT_MS, changes, gatewayRecord, mapping, request } from './records.js';

const NOTHING: PurgeBefore = { eventsAtMs: 0, auditsAtMs: 0, releasedAtMs: 0, nowMs: AT_MS + 1_000_000 };
const goOn = () => Promise.resolve(true);

describe('purging the journal on SQLite', () => {
  let place: Place;
  let journal: SqliteJournal;
  beforeEach(async () => {
    place = new Place();
    journal = await place.open();
    await journal.createGateway(gatewayRecord());
  });
  afterEach(() => place.remove());

  const purge = (before: Partial<PurgeBefore>) => journal.purge({ ...NOTHING, ...before }, goOn);
  const event = (sequence: number, atMs: number): EventRecord => ({ sequence, atMs, kind: 'PortAllocated', host: '', environment: '', mappingId: '', detail: '{}' });
  const sequences = async () => (await place.select<{ sequence: number }>('SELECT sequence FROM event ORDER BY id')).map(({ sequence }) => sequence);
  const page = (after: EventCursor) => journal.listEvents({ gateway: 'gw', after, upTo: 9_999, limit: 1_000 });

  /** Appends of one allocation each; each has one event and one audit record, a millisecond after the one before. */
  async function appendMany(count: number, size = 1, from = 0): Promise<void> {
    for (let n = from; n < from + count * size; n += size) {
      const all = Array.from({ length: size }, (_, i) => allocation(n + i + 1));
      await journal.append('gw', n, changes(n + size, {
        environments: all.flatMap((one) => one.environments), mappings: all.flatMap((one) => one.mappings),
        requests: all.flatMap((one) => one.requests), events: all.flatMap((one) => one.events), audits: all.flatMap((one) => one.audits),
      }));
    }
  }

  it('keeps of the old events the newest decision, as the mark of how far was purged', async () => {
    await journal.append('gw', 0, changes(9, { events: [event(1, 10), event(2, 20), event(4, 30), event(4, 30), event(7, 40), event(9, 50)] }));
    assert.equal((await page({ revision: 0, position: 0 })).purgedTo, 0);
    assert.deepEqual(await purge({ eventsAtMs: 35 }), { events: 2, audits: 0, mappings: 0, owners: 0 });
    assert.deepEqual(await sequences(), [4, 4, 7, 9]);
    assert.deepEqual((await page({ revision: 4, position: 0 })).events.map(({ sequence, position }) => [sequence, position]), [[7, 1], [9, 1]]);
    assert.equal((await page({ revision: 0, position: 0 })).purgedTo, 4);
    assert.deepEqual((await journal.listEventsBefore({ gateway: 'gw', before: { revision: 10, position: 1 }, limit: 10 })).events.map(({ sequence }) => sequence), [9, 7]);
    await purge({ eventsAtMs: 1_000 });
    assert.deepEqual(await sequences(), [9], 'the newest event always stays');
    assert.deepEqual(await purge({ eventsAtMs: 1_000 }), { events: 0, audits: 0, mappings: 0, owners: 0 });
  });

  it('leaves no gap when the clock was wrong for a while, and is not held up by it', async () => {
    const nowMs = 1_000;
    await journal.append('gw', 0, changes(6, { events: [event(1, 100), event(2, 999_999), event(3, 110), event(4, 900), event(5, 5), event(6, 910)] }));
    assert.equal((await purge({ eventsAtMs: 500, nowMs })).events, 2);
    assert.deepEqual(await sequences(), [3, 4, 5, 6]);
  });

  it('keeps to each gateway by itself', async () => {
    await journal.createGateway(gatewayRecord({ gateway: 'gw-2', ordinal: 2 }));
    await journal.append('gw', 0, changes(2, { events: [event(1, 10), event(2, 20)] }));
    await journal.append('gw-2', 0, changes(2, { events: [event(1, 900), event(2, 910)] }, gatewayRecord({ gateway: 'gw-2', ordinal: 2 })));
    assert.equal((await purge({ eventsAtMs: 500 })).events, 1);
    assert.equal((await journal.listEvents({ gateway: 'gw-2', after: { revision: 0, position: 0 }, upTo: 9, limit: 9 })).purgedTo, 0);
  });

  it('takes mappings that were released long ago and that no request names, whichever port they had', async () => {
    const released = (mappingId: string, of: Partial<MappingRecord>) => mapping({ mappingId, environment: `env-${mappingId}`, state: 'released', releasedSequence: 1, ...of });
    await journal.append('gw', 0, changes(1, {
      mappings: [released('m1', { port: 100, untilMs: 10 }), released('m2', { port: 100, untilMs: 20 }), released('m3', { port: 200, untilMs: 30 }), released('m4', { port: 300, untilMs: 900 }),
        mapping({ mappingId: 'm5', port: 400, untilMs: 10, environment: 'env-5' }), mapping({ mappingId: 'm6', port: 500, untilMs: 10, environment: 'env-6', state: 'quarantined' })],
      requests: [request({ mappingIds: ['m2', 'm5'] })],
    }));
    assert.deepEqual(await journal.countPurgeable({ ...NOTHING, releasedAtMs: 500 }), { events: 0, audits: 0, mappings: 2, owners: 0 });
    assert.deepEqual(await purge({ releasedAtMs: 500 }), { events: 0, audits: 0, mappings: 2, owners: 0 });
    assert.deepEqual((await place.select<{ id: string }>('SELECT mapping_id AS id FROM mapping ORDER BY id')).map(({ id }) => id), ['m2', 'm4', 'm5', 'm6']);
    await journal.append('gw', 1, changes(2, { removedRequests: ['r1'] }));
    assert.equal((await purge({ releasedAtMs: 500 })).mappings, 1);
  });

  it('puts down who had a port before the events of that time go, and keeps that as long as audit records', async () => {
    const released = (mappingId: string, untilMs: number, of: Partial<MappingRecord> = {}) => mapping({ mappingId, environment: `env-${mappingId}`, port: 100, state: 'released', releasedSequence: 1, createdAtMs: untilMs - 5, untilMs, ...of });
    await journal.append('gw', 0, changes(1, {
      mappings: [released('m1', 10), released('m2', 20), released('m3', 300), released('m4', 900), released('m5', 310, { port: 200 })], requests: [request({ mappingIds: ['m3'] })],
    }));
    const owners = async (limit = 10) => (await journal.listFormerOwners({ space: 'gw', port: 100, limit })).map(({ mappingId, environment, createdAtMs, releasedAtMs }) => `${mappingId} ${environment} ${createdAtMs}-${releasedAtMs}`);
    const before = { eventsAtMs: 500, releasedAtMs: 400, auditsAtMs: 15 };
    assert.deepEqual(await purge(before), { events: 0, audits: 0, mappings: 3, owners: 0 });
    assert.deepEqual(await owners(), ['m3 env-m3 295-300', 'm2 env-m2 15-20'], 'm1 is too old, a request still names m3, m4 is in the events');
    assert.deepEqual(await owners(1), ['m3 env-m3 295-300']);
    assert.deepEqual(await purge(before), { events: 0, audits: 0, mappings: 0, owners: 0 }, 'once is enough');
    assert.equal((await journal.countPurgeable({ ...NOTHING, auditsAtMs: 200 })).owners, 1);
    assert.equal((await purge({ auditsAtMs: 200 })).owners, 1);
    assert.deepEqual(await owners(), ['m3 env-m3 295-300']);
  });

  it('counts what it would take, and takes more than one transaction does, while appends go on', async () => {
    await appendMany(30, 100);
    const before = { ...NOTHING, eventsAtMs: AT_MS + 2_501, auditsAtMs: AT_MS + 11 };
    assert.deepEqual(await journal.countPurgeable(before), { events: 2_499, audits: 10, mappings: 0, owners: 0 });
    const appending = appendMany(30, 10, 3_000);
    assert.deepEqual(await journal.purge(before, goOn), { events: 2_499, audits: 10, mappings: 0, owners: 0 });
    await appending;
    assert.equal((await page({ revision: 0, position: 0 })).purgedTo, 2_500);
    assert.equal((await journal.listAudits({ gateway: 'gw', afterId: 0, limit: 1 }))[0]?.sequence, 11);
    assert.equal(await place.count('event'), 801);
    assert.equal((await journal.load('gw'))?.mappings.length, 3_300);
  });

  it('ends when it is told to, and leaves what is left for the next one', async () => {
    await appendMany(10, 100);
    let steps = 0;
    const before = { ...NOTHING, eventsAtMs: AT_MS + 2_000 };
    const { events } = await journal.purge(before, () => Promise.resolve(++steps < 2));
    assert.ok(events > 0 && events < 999, `${events}`);
    const oldest = (await sequences())[0] ?? 0;
    assert.equal((await page({ revision: 0, position: 0 })).purgedTo, oldest);
    assert.deepEqual(await purge({ eventsAtMs: AT_MS + 2_000 }), { events: 999 - events, audits: 0, mappings: 0, owners: 0 });
  });

  it('does not let a commit wait long', async () => {
    await appendMany(40, 1_000);
    let longest = 0;
    const purging = journal.purge({ ...NOTHING, eventsAtMs: AT_MS + 100_000, auditsAtMs: AT_MS + 100_000 }, () => new Promise((resolve) => { setTimeout(resolve, 2, true); }));
    let isDone = false;
    void purging.then(() => { isDone = true; });
    let appends = 0;
    for (let n = 40_000; !isDone; n += 1, appends += 1) {
      const from = performance.now();
      await journal.append('gw', n, allocation(n + 1));
      longest = Math.max(longest, performance.now() - from);
    }
    const { events, audits } = await purging;
    console.log(`      ${events + audits} rows beside ${appends} appends, of which none took longer than ${longest.toFixed(1)} ms`);
    assert.ok(longest < 200, `an append took ${longest} ms`);
  });
});
