import assert from 'node:assert/strict';
import { Wakes } from '../../../coordinator/feed/wakes.js';
import { Life, Time } from '../../simulation/time.js';

describe('waking those who wait for events', () => {
  const setUp = () => {
    const time = new Time();
    const timers = { after: (delayMs: number, act: () => void) => time.plan(delayMs, new Life(), act), soon: (act: () => void) => { time.plan(0, new Life(), act); } };
    const wakes = new Wakes({ clock: { nowMs: () => time.nowMs }, timers });
    const run = (untilMs: number): void => {
      while (time.nextMs() <= untilMs) time.step();
      time.nowMs = untilMs;
    };
    return { time, wakes, run };
  };

  it('is left to later turns, some of them in each', () => {
    const { time, wakes } = setUp();
    let woken = 0;
    for (let i = 0; i < 100; i += 1) wakes.add(() => { woken += 1; });
    wakes.wakeAll();
    assert.equal(woken, 0);
    time.step();
    assert.ok(woken > 0 && woken < 100, `${woken}`);
    while (time.step());
    assert.equal(woken, 100);
  });

  it('rests nine times as long as it took, so that it takes a tenth of the time', () => {
    const { time, wakes, run } = setUp();
    const wokenAt: number[] = [];
    const again = (): void => {
      wokenAt.push(time.nowMs);
      time.nowMs += 10;
      wakes.add(again);
    };
    wakes.add(again);
    for (let ms = 1; ms <= 1_000; ms += 1) {
      wakes.wakeAll();
      run(Math.max(ms, time.nowMs));
    }
    assert.ok(wokenAt.length >= 9 && wokenAt.length <= 11, wokenAt.join(' '));
  });

  it('forgets nobody who began to wait, or was due again, in the midst of a round', () => {
    const { time, wakes, run } = setUp();
    let late = 0;
    wakes.add(() => {
      wakes.add(() => { late += 1; });
      wakes.wakeAll();
    });
    wakes.wakeAll();
    run(time.nowMs + 5_000);
    assert.equal(late, 1);
  });

  it('wakes nobody who has called it off', () => {
    const { time, wakes, run } = setUp();
    let woken = 0;
    const cancels = Array.from({ length: 3 }, () => wakes.add(() => { woken += 1; cancels[2]?.(); }));
    cancels[0]?.();
    wakes.wakeAll();
    run(time.nowMs + 100);
    assert.equal(woken, 1);
  });
});
