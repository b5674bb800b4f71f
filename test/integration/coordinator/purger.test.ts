import assert from 'node:assert/strict';
import type { PurgeBefore } from '../../../coordinator/journal/journal.js';
import type { SqliteJournal } from '../../../coordinator/journal/sqlite/journal.js';
import { Purger, type PurgerOptions } from '../../../coordinator/purge/purger.js';
import { dailyAt } from '../../../coordinator/purge/schedule.js';
import { createLogger } from '../../../shared/log.js';
import { within } from '../../support/wait.js';
import { Life, Time } from '../../simulation/time.js';
import { Place } from '../journal/place.js';
import { changes, gatewayRecord, mapping } from '../journal/records.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const at = (text: string): number => Date.parse(text);
const shown = (ms: number): string => new Date(ms).toISOString().slice(0, 16);

describe('purging on a schedule, with a database and a clock that is stepped', () => {
  let place: Place;
  let journal: SqliteJournal;
  let time: Time;
  let purger: Purger | undefined;
  let runs: { actor: string; at: string; before: PurgeBefore }[];
  let lines: string[];
  let sequence: number;
  beforeEach(async () => {
    place = new Place();
    journal = await place.open();
    await journal.createGateway(gatewayRecord());
    time = new Time();
    runs = [];
    lines = [];
    sequence = 0;
    purger = undefined;
  });
  afterEach(async () => {
    await purger?.close();
    await place.remove();
  });

  function start(at: number, of: Partial<PurgerOptions> = {}): Purger {
    time.nowMs = at;
    purger = new Purger({
      journal, schedule: dailyAt({ hour: 2, minute: 0 }, 'Europe/Berlin'), ages: { releasedAfterMs: 7 * DAY, eventsAfterMs: 7 * DAY, auditAfterMs: 180 * DAY },
      audit: (actor, before) => { runs.push({ actor, at: shown(time.nowMs), before }); return Promise.resolve(); },
      clock: { nowMs: () => time.nowMs }, log: createLogger({ name: 'test', level: 'info', destination: { write: (line: string) => { lines.push(line); } } }),
      timers: { after: (delayMs, act) => time.plan(delayMs, new Life(), act), soon: (act) => { time.plan(0, new Life(), act); } }, ...of,
    });
    purger.start();
    return purger;
  }

  /** A port that was released then, with an event and an audit record of that time. */
  async function released(atMs: number): Promise<void> {
    sequence += 1;
    const about = { sequence, atMs, environment: 'e', detail: '{}' };
    await journal.append('gw', sequence - 1, changes(sequence, {
      mappings: [mapping({ mappingId: `m${sequence}`, environment: `env-${sequence}`, state: 'released', untilMs: atMs, releasedSequence: sequence })],
      events: [{ ...about, kind: 'PortReleased', host: '', mappingId: '' }], audits: [{ ...about, actor: 'x', action: 'ReleasePorts', outcome: 'ok', requestId: '' }],
    }));
  }

  const left = async () => [await place.count('mapping'), await place.count('event'), await place.count('audit')];

  /** Steps the clock; the database works in real time. */
  async function pass(until: number): Promise<void> {
    while (time.nextMs() <= until) {
      time.step();
      for (let turn = 0; turn < 40; turn += 1) await new Promise((resolve) => { setTimeout(resolve, 1); });
    }
    time.nowMs = until;
  }

  it('begins at 02:00 local time, on the days on which the clocks change as well', async () => {
    start(at('2026-03-27T12:00Z'));
    await pass(at('2026-03-31T12:00Z'));
    assert.deepEqual(runs.map((run) => run.at), ['2026-03-28T01:00', '2026-03-29T01:00', '2026-03-30T00:00', '2026-03-31T00:00']);
    assert.deepEqual(new Set(runs.map(({ actor }) => actor)), new Set(['schedule']));
  });

  it('takes what was released more than 7 days before, and keeps the audit records for 180 days', async () => {
    const now = at('2026-06-10T12:00Z');
    for (const days of [200, 100, 9, 8, 6, 1]) await released(now - days * DAY);
    start(now);
    await pass(now + DAY);
    assert.deepEqual(await left(), [2, 3, 5], 'mappings, events (one as the mark), audit records');
    assert.ok(lines.some((line) => line.includes('"mappings":4') && line.includes('purged')), lines.join(''));
  });

  it('makes up for what was missed while the coordinator was off, some minutes after the start', async () => {
    const now = at('2026-06-10T12:00Z');
    await released(now - 9 * DAY);
    start(now);
    await pass(now + 4 * 60_000);
    assert.equal(runs.length, 0);
    await pass(now + 6 * 60_000);
    assert.deepEqual(runs.map((run) => run.at), ['2026-06-10T12:05']);
    assert.equal((await left())[0], 0);
  });

  it('does not make up for what was not due at the last time', async () => {
    const now = at('2026-06-10T12:00Z');
    await released(now - 7 * DAY - HOUR);
    start(now);
    await pass(now + HOUR);
    assert.deepEqual([runs, (await left())[0]], [[], 1]);
    await pass(now + DAY);
    assert.deepEqual([runs.length, (await left())[0]], [1, 0]);
  });

  it('counts without taking, purges when it is told to, and is one purge when it is told twice', async () => {
    const now = at('2026-06-10T12:00Z');
    for (let i = 0; i < 5; i += 1) await released(now - 8 * DAY);
    const one = start(now);
    assert.deepEqual((await one.count()).purged, { mappings: 5, events: 4, audits: 0, owners: 0 });
    assert.deepEqual(await left(), [5, 5, 5]);
    const both = Promise.all([one.run('operator:a'), one.run('operator:b')]);
    for (let done = false; !done; done = await Promise.race([both.then(() => true), new Promise<boolean>((resolve) => { setTimeout(resolve, 1, false); })])) time.step();
    const [first, second] = await both;
    assert.equal(first, second);
    assert.deepEqual(runs.map(({ actor }) => actor), ['operator:a']);
    assert.deepEqual(first.purged, { mappings: 5, events: 4, audits: 0, owners: 0 });
  });

  it('takes nothing when its audit record cannot be written', async () => {
    const now = at('2026-06-10T12:00Z');
    await released(now - 8 * DAY);
    const one = start(now, { audit: () => Promise.reject(new Error('the disk is full')) });
    await assert.rejects(one.run('operator:a'), /disk is full/);
    assert.deepEqual((await left())[0], 1);
  });

  it('ends at once when it is closed, in the midst of a purge', async () => {
    const now = at('2026-06-10T12:00Z');
    for (let i = 0; i < 3; i += 1) await released(now - 8 * DAY);
    const one = start(now);
    const running = one.run('operator:a');
    await within('the purge to be closed', one.close(), { withinMs: 5_000 });
    const { isFinished, purged } = await running;
    assert.equal(isFinished, false);
    assert.ok(purged.events + purged.mappings < 6);
    await pass(now + 3 * DAY);
    assert.equal(runs.length, 1);
  });
});
