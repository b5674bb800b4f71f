import assert from 'node:assert/strict';
import fc from 'fast-check';
import { levelOf, type KnownLevel } from '../../../coordinator/book/usage.js';
import { checkWorldsAfterEach, release, shared } from './checked.js';
import { want } from './world.js';

const KNOWN: readonly KnownLevel[] = ['fresh', 'unsure', 'normal', 'warning', 'critical'];

describe('the level of a pool', () => {
  const walk = (from: KnownLevel, ...percents: number[]): KnownLevel[] => {
    let known = from;
    return percents.map((percent) => (known = levelOf(known, percent)));
  };

  it('goes up above a threshold, and down only below a lower one', () => {
    assert.deepEqual(walk('normal', 80, 80.1, 78, 75, 74.9, 78, 81), ['normal', 'warning', 'warning', 'warning', 'normal', 'normal', 'warning']);
    assert.deepEqual(walk('warning', 95, 95.1, 91, 90, 89.9, 94, 100, 10), ['warning', 'critical', 'critical', 'critical', 'warning', 'warning', 'critical', 'normal']);
  });

  it('is not known after a start between the thresholds, until it leaves them', () => {
    assert.deepEqual(walk('fresh', 10), ['normal']);
    assert.deepEqual(walk('fresh', 77, 78, 74), ['unsure', 'unsure', 'normal']);
    assert.deepEqual(walk('fresh', 77, 81), ['unsure', 'warning']);
    assert.deepEqual(walk('fresh', 92, 96), ['unsure', 'critical']);
    assert.deepEqual(walk('fresh', 92, 85), ['unsure', 'warning']);
    assert.deepEqual([walk('fresh', 85), walk('fresh', 99)], [['warning'], ['critical']]);
  });

  it('is never changed by the same usage twice, and never below what the thresholds say', () => {
    fc.assert(fc.property(fc.constantFrom(...KNOWN), fc.double({ min: 0, max: 100, noNaN: true }), (known, percent) => {
      const level = levelOf(known, percent);
      assert.equal(levelOf(level, percent), level);
      if (percent > 95) assert.equal(level, 'critical');
      if (percent < 75) assert.equal(level, 'normal');
      if (percent > 80 && percent < 90) assert.equal(level, 'warning');
    }));
  });
});

describe('the events of a pool that fills', () => {
  checkWorldsAfterEach();

  it('come once for each level, and PoolNormal when it has emptied, also across a start', () => {
    const world = shared({ ranges: [{ first: 30_000, last: 30_019 }] });
    const told = (): string[] => world.tables.events.filter(({ kind }) => ['PoolWarning', 'PoolCritical', 'PoolNormal'].includes(kind)).map(({ kind, detail }) => `${kind} ${(JSON.parse(detail) as { usagePercent: number }).usagePercent}`);
    const fill = (name: string, count: number): void => {
      world.allocate(name, 'a', [want({ count })]);
      world.settle();
      world.pass(1_000);
    };
    fill('e1', 16);
    assert.deepEqual(told(), []);
    fill('e2', 1);
    fill('e3', 1);
    assert.deepEqual(told(), ['PoolWarning 85']);
    fill('e4', 2);
    assert.deepEqual(told(), ['PoolWarning 85', 'PoolCritical 100']);
    world.restart();
    world.pass(1_000);
    assert.deepEqual(told().slice(2), ['PoolCritical 100']);
    release(world, 'e1');
    world.settle();
    world.pass(1_000);
    assert.deepEqual(told().slice(3), ['PoolNormal 20']);
  });
});
