import assert from 'node:assert/strict';
import fc from 'fast-check';
import { dailyAt, isTimeZone, parseTimeOfDay } from '../../../coordinator/purge/schedule.js';

const at = (text: string): number => Date.parse(text);
const shown = (ms: number): string => new Date(ms).toISOString().slice(0, 16);

/** The next `count` times after `from`. */
function runs(time: string, timeZone: string, { from, count }: { from: string; count: number }): string[] {
  const { nextMs } = dailyAt(parseTimeOfDay(time) ?? { hour: -1, minute: -1 }, timeZone);
  const times: number[] = [];
  for (let ms = at(from); times.length < count;) times.push(ms = nextMs(ms));
  return times.map(shown);
}

describe('the time of day at which old records go', () => {
  it('is local, and once a day also where a day has 23 or 25 hours', () => {
    assert.deepEqual(runs('02:00', 'Europe/Berlin', { from: '2026-03-27T12:00Z', count: 4 }), ['2026-03-28T01:00', '2026-03-29T01:00', '2026-03-30T00:00', '2026-03-31T00:00']);
    assert.deepEqual(runs('02:00', 'Europe/Berlin', { from: '2026-10-23T12:00Z', count: 4 }), ['2026-10-24T00:00', '2026-10-25T00:00', '2026-10-26T01:00', '2026-10-27T01:00']);
  });

  it('is the first moment after the gap on a day that does not have it', () => {
    assert.deepEqual(runs('02:30', 'Europe/Berlin', { from: '2026-03-28T12:00Z', count: 2 }), ['2026-03-29T01:00', '2026-03-30T00:30']);
    assert.deepEqual(runs('02:30', 'America/New_York', { from: '2026-03-07T12:00Z', count: 2 }), ['2026-03-08T07:00', '2026-03-09T06:30']);
  });

  it('counts once on a day that has it twice', () => {
    assert.deepEqual(runs('02:30', 'Europe/Berlin', { from: '2026-10-24T12:00Z', count: 2 }), ['2026-10-25T00:30', '2026-10-26T01:30']);
    assert.deepEqual(runs('01:30', 'America/New_York', { from: '2026-10-31T12:00Z', count: 2 }), ['2026-11-01T05:30', '2026-11-02T06:30']);
  });

  it('knows the last time as well, which is never after the next', () => {
    const { lastMs } = dailyAt({ hour: 2, minute: 0 }, 'Europe/Berlin');
    assert.equal(shown(lastMs(at('2026-03-29T00:59Z'))), '2026-03-28T01:00');
    assert.equal(shown(lastMs(at('2026-03-29T01:00Z'))), '2026-03-29T01:00');
    assert.equal(shown(lastMs(at('2026-03-30T00:00Z'))), '2026-03-30T00:00');
  });

  it('has one next and one last time at every moment, at most 26 hours apart', () => {
    const zones = fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kolkata', 'Pacific/Apia');
    const moment = fc.integer({ min: at('2026-01-01T00:00Z'), max: at('2027-01-01T00:00Z') });
    fc.assert(fc.property(zones, moment, fc.integer({ min: 0, max: 23 }), fc.integer({ min: 0, max: 59 }), (zone, ms, hour, minute) => {
      const { nextMs, lastMs } = dailyAt({ hour, minute }, zone);
      const [last, next] = [lastMs(ms), nextMs(ms)];
      assert.ok(last <= ms && ms < next && next - last <= 26 * 3_600_000, `${shown(last)} ${shown(ms)} ${shown(next)}`);
      assert.equal(nextMs(last), next);
      assert.equal(lastMs(next), next);
    }), { numRuns: 200 });
  });

  it('is written HH:MM, in a zone that exists', () => {
    assert.deepEqual(parseTimeOfDay('02:00'), { hour: 2, minute: 0 });
    for (const bad of ['', '2:00', '24:00', '02:60', '02:00:00', '02-00', ' 02:00', '02:00\n', '-1:00']) assert.equal(parseTimeOfDay(bad), undefined, bad);
    assert.deepEqual(['Europe/Berlin', 'UTC', 'Nowhere/X', '', 'a\nb'].map(isTimeZone), [true, true, false, false, false]);
  });
});
