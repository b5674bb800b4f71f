import assert from 'node:assert/strict';
import fc from 'fast-check';
import { nextQuiet, type Gap, type Look, type Quiet } from '../../../agent/idle/quiet.js';

const MINUTE = 60_000;
const SHORT: Gap = { kind: 'short', ms: MINUTE };
const LONG: Gap = { kind: 'long', ms: 60 * MINUTE };
const UNKNOWN: Gap = { kind: 'unknown' };

const look = (tcp: number | undefined, more: Partial<Look> & { isTracked?: boolean } = {}): Look => {
  const { isTracked = false, ...rest } = more;
  return { generation: 1, transports: ['tcp'], traffic: tcp === undefined ? undefined : { begun: { tcp }, isTracked }, gap: SHORT, ...rest };
};

/** Quiet for 10 minutes, with so many connections before that. */
const quiet = (tcp: number, more: Partial<Quiet> = {}): Quiet => ({ generation: 1, quietMs: 10 * MINUTE, begun: { tcp }, isTracked: false, ...more });

describe('for how long a mapping has been quiet', () => {
  it('is counted from when it was first seen, and anew for another generation', () => {
    assert.equal(nextQuiet(undefined, look(7)).quietMs, 0);
    assert.equal(nextQuiet(quiet(7), look(7, { generation: 2 })).quietMs, 0);
  });

  it('grows with the time between two looks as long as nothing begins', () => {
    assert.equal(nextQuiet(quiet(0), look(0)).quietMs, 11 * MINUTE);
    assert.equal(nextQuiet(quiet(7), look(7)).quietMs, 11 * MINUTE);
  });

  it('ends with a connection that begins, also after its rule was made anew', () => {
    assert.equal(nextQuiet(quiet(7), look(8)).quietMs, 0);
    assert.equal(nextQuiet(quiet(7), look(3)).quietMs, 0, 'the three have come since the rule was made');
    assert.equal(nextQuiet(nextQuiet(quiet(7), look(undefined)), look(7)).quietMs, 0, 'the rule was gone in between');
  });

  it('does not begin before a connection that is open has ended: an open one is not idle, however silent', () => {
    const open = nextQuiet(quiet(7), look(7, { isTracked: true }));
    assert.equal(open.quietMs, 0);
    const still = nextQuiet(open, look(7, { isTracked: true, gap: LONG }));
    assert.equal(still.quietMs, 0);
    const ended = nextQuiet(still, look(7));
    assert.equal(ended.quietMs, 0, 'it may have ended a moment ago');
    assert.equal(nextQuiet(ended, look(7)).quietMs, MINUTE);
  });

  it('goes on when counters are reset: that is no traffic', () => {
    assert.equal(nextQuiet(quiet(7), look(0)).quietMs, 11 * MINUTE);
  });

  it('does not count time in which nobody looked, unless the counter proves that nothing came', () => {
    assert.equal(nextQuiet(quiet(7), look(7, { gap: LONG })).quietMs, 70 * MINUTE);
    assert.equal(nextQuiet(quiet(7), look(0, { gap: LONG })).quietMs, 10 * MINUTE, 'it was reset: nobody knows');
    assert.equal(nextQuiet(quiet(0), look(0, { gap: LONG })).quietMs, 10 * MINUTE, 'it may have counted and been reset');
  });

  it('stands still over a reboot', () => {
    assert.equal(nextQuiet(quiet(7), look(0, { gap: UNKNOWN })).quietMs, 10 * MINUTE);
    assert.equal(nextQuiet(quiet(7), look(1, { gap: UNKNOWN })).quietMs, 0);
  });

  it('stands still while the mapping is not served, as a whole', () => {
    assert.equal(nextQuiet(quiet(7), look(undefined)).quietMs, 10 * MINUTE);
    const half: Look = { generation: 1, transports: ['tcp', 'udp'], traffic: { begun: { tcp: 7 }, isTracked: false }, gap: SHORT };
    assert.equal(nextQuiet(quiet(7), half).quietMs, 10 * MINUTE);
  });

  it('ends with either of two transports', () => {
    const both = (tcp: number, udp: number): Look => ({ generation: 1, transports: ['tcp', 'udp'], traffic: { begun: { tcp, udp }, isTracked: false }, gap: SHORT });
    const before = quiet(7, { begun: { tcp: 7, udp: 2 } });
    assert.deepEqual([both(7, 2), both(8, 2), both(7, 3)].map(next => nextQuiet(before, next).quietMs), [11 * MINUTE, 0, 0]);
  });
});

/** What happens between two looks, in this order: the rule is made anew, connections begin, some stay open. */
type Interval = { gap: Gap; reset: boolean; begin: number; staysOpen: boolean; served: boolean };

const gap = fc.oneof(
  fc.integer({ min: 1, max: 5 * MINUTE }).map((ms): Gap => ({ kind: 'short', ms })),
  fc.integer({ min: 5 * MINUTE, max: 500 * MINUTE }).map((ms): Gap => ({ kind: 'long', ms })),
  fc.constant(UNKNOWN),
);
const interval: fc.Arbitrary<Interval> = fc.record({ gap, reset: fc.boolean(), begin: fc.oneof(fc.constant(0), fc.nat({ max: 3 })), staysOpen: fc.boolean(), served: fc.oneof(fc.constant(true), fc.boolean()) });

/** A kernel that counts, and what is known of its mapping after each interval. */
function watched(start: number, intervals: readonly Interval[]): { before: Quiet; after: Quiet; interval: Interval; used: boolean }[] {
  let [counter, wasOpen] = [start, false];
  let known = nextQuiet(undefined, look(counter));
  return intervals.map(one => {
    const shown = counter;
    // A reboot resets, and so does a rule that is gone.
    if (one.reset || one.gap.kind === 'unknown' || !one.served) counter = 0;
    const begin = one.served ? one.begin : 0;
    counter += begin;
    // As many again as there had been before the reset nobody could tell from none.
    if (begin > 0 && counter === shown) counter++;
    const isTracked = one.served && one.staysOpen && (wasOpen || begin > 0);
    const used = begin > 0 || isTracked || wasOpen;
    const before = known;
    known = nextQuiet(known, look(one.served ? counter : undefined, { gap: one.gap, isTracked }));
    wasOpen = isTracked;
    return { before, after: known, interval: one, used };
  });
}

describe('for how long a mapping has been quiet, whatever happens', () => {
  it('is never shortened by counters that are reset, by reboots, or while it is not served', () => {
    const silent = interval.map(one => ({ ...one, begin: 0 }));
    fc.assert(fc.property(fc.nat({ max: 5 }), fc.array(silent), (start, intervals) => {
      for (const { before, after } of watched(start, intervals)) assert.ok(after.quietMs >= before.quietMs);
    }));
  });

  it('is nothing after an interval with a connection, and never more than the time since the last one', () => {
    fc.assert(fc.property(fc.nat({ max: 5 }), fc.array(interval), (start, intervals) => {
      let sinceMs = 0;
      for (const { after, used, interval: { gap: passed } } of watched(start, intervals)) {
        sinceMs = used ? 0 : sinceMs + (passed.kind === 'unknown' ? 0 : passed.ms);
        assert.ok(used ? after.quietMs === 0 : after.quietMs <= sinceMs);
      }
    }), { numRuns: 500 });
  });

  it('is all of the time since the last connection when somebody looked all the time', () => {
    const seen = interval.map((one): Interval => ({ ...one, served: true, gap: { kind: 'short', ms: one.gap.kind === 'short' ? one.gap.ms : 1 } }));
    fc.assert(fc.property(fc.nat({ max: 5 }), fc.array(seen), (start, intervals) => {
      let sinceMs = 0;
      for (const { after, used, interval: { gap: passed } } of watched(start, intervals)) {
        sinceMs = used || passed.kind === 'unknown' ? 0 : sinceMs + passed.ms;
        assert.equal(after.quietMs, sinceMs);
      }
    }), { numRuns: 500 });
  });
});
