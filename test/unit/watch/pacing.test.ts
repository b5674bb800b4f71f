import assert from 'node:assert/strict';
import { MAX_IN_WINDOW, Pacing } from '../../../agent/drivers/watch/pacing.js';

describe('the pace of rounds that foreign changes cause', () => {
  it('is at once after quiet', () => {
    const pacing = new Pacing();
    assert.deepEqual(pacing.next(0, 5_000), { kind: 'now' });
  });

  it('keeps 50 ms between two', () => {
    const pacing = new Pacing();
    pacing.next(1_000, 0);
    assert.deepEqual(pacing.next(1_010, 0), { kind: 'later', delayMs: 40 });
    assert.deepEqual(pacing.next(1_050, 0), { kind: 'now' });
  });

  it('lets four come one after another, then keeps ten times the duration of a round between two', () => {
    const pacing = new Pacing();
    assert.deepEqual([1_000, 1_050, 1_100, 1_150].map(nowMs => pacing.next(nowMs, 100).kind), ['now', 'now', 'now', 'now']);
    assert.deepEqual(pacing.next(1_500, 100), { kind: 'later', delayMs: 500 });
    assert.deepEqual(pacing.next(2_000, 100), { kind: 'now' });
    assert.deepEqual(pacing.next(2_050, 100), { kind: 'later', delayMs: 950 });
    assert.deepEqual([7_000, 7_050, 7_100, 7_150, 7_200].map(nowMs => pacing.next(nowMs, 100).kind), ['now', 'now', 'now', 'now', 'later']);
  });

  it('asks again within 2 s, however slow a round was, and goes by the newest then', () => {
    const pacing = new Pacing();
    for (const nowMs of [0, 50, 100, 150]) pacing.next(nowMs, 20_000);
    assert.deepEqual(pacing.next(200, 20_000), { kind: 'later', delayMs: 2_000 });
    assert.deepEqual(pacing.next(2_200, 20), { kind: 'now' });
  });

  /** Somebody who changes rules every millisecond, for a minute each; news among the answers. */
  function stormOf(pacing: Pacing, fromMs: number, untilMs = fromMs + 60_000): { rounds: number; news: number } {
    let [rounds, news] = [0, 0];
    for (let nowMs = fromMs; nowMs < untilMs; nowMs++) {
      const pace = pacing.next(nowMs, 1);
      if (pace.kind === 'now') rounds++;
      if (pace.kind === 'tooMany' && pace.isNews) news++;
    }
    return { rounds, news };
  }

  it('ends at a number of rounds a minute, said once while the storm lasts', () => {
    const pacing = new Pacing();
    assert.deepEqual(stormOf(pacing, 0), { rounds: MAX_IN_WINDOW, news: 1 });
    assert.deepEqual(stormOf(pacing, 60_000), { rounds: MAX_IN_WINDOW, news: 0 });
    assert.deepEqual(stormOf(pacing, 120_000, 240_000), { rounds: 2 * MAX_IN_WINDOW, news: 0 });
  });

  it('is as before after a quiet minute, and the next storm is said again', () => {
    const pacing = new Pacing();
    stormOf(pacing, 0);
    assert.deepEqual(pacing.next(130_000, 1), { kind: 'now' });
    assert.deepEqual(stormOf(pacing, 200_000), { rounds: MAX_IN_WINDOW, news: 1 });
  });
});
