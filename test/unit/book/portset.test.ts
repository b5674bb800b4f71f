import assert from 'node:assert/strict';
import fc from 'fast-check';
import { PortSet } from '../../../coordinator/book/portset.js';

/** Ports near the edges of words, pages and the whole range are as likely as all the others. */
const port = fc.oneof(
  fc.integer({ min: 0, max: 65_535 }),
  fc.constantFrom(0, 1, 30, 31, 32, 33, 63, 64, 1_022, 1_023, 1_024, 1_025, 32_767, 32_768, 64_511, 64_512, 65_503, 65_504, 65_534, 65_535),
  fc.integer({ min: 30_000, max: 30_100 }),
);
const range = fc.tuple(port, fc.integer({ min: 0, max: 90 })).map(([first, more]) => ({ first, last: Math.min(65_535, first + more) }));
const change = fc.oneof(
  fc.record({ kind: fc.constant('add' as const), port }),
  fc.record({ kind: fc.constant('delete' as const), port }),
  fc.record({ kind: fc.constant('addRange' as const), range }),
  fc.record({ kind: fc.constant('deleteRange' as const), range }),
);
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

function apply(set: PortSet, model: Set<number>, step: Change): void {
  switch (step.kind) {
    case 'add':
      assert.equal(set.add(step.port), !model.has(step.port));
      model.add(step.port);
      return;
    case 'delete':
      assert.equal(set.delete(step.port), model.delete(step.port));
      return;
    case 'addRange':
      set.addRange(step.range.first, step.range.last);
      for (let p = step.range.first; p <= step.range.last; p += 1) model.add(p);
      return;
    case 'deleteRange':
      set.deleteRange(step.range.first, step.range.last);
      for (let p = step.range.first; p <= step.range.last; p += 1) model.delete(p);
      return;
  }
}

function filled(changes: readonly Change[]): { set: PortSet; sorted: number[] } {
  const set = new PortSet();
  const model = new Set<number>();
  for (const step of changes) apply(set, model, step);
  return { set, sorted: [...model].sort((a, b) => a - b) };
}

function naiveRun(sorted: readonly number[], length: number): number | undefined {
  const members = new Set(sorted);
  return sorted.find((first) => Array.from({ length }, (_, i) => first + i).every((p) => members.has(p)));
}

const changes = fc.array(change, { maxLength: 40 });

describe('PortSet, against a Set of numbers', () => {
  it('has what was added and not deleted since, and counts it', () => {
    fc.assert(fc.property(changes, port, (steps, probe) => {
      const { set, sorted } = filled(steps);
      assert.equal(set.size, sorted.length);
      assert.equal(set.has(probe), sorted.includes(probe));
      for (const p of sorted) assert.ok(set.has(p));
    }));
  });

  it('finds the nearest port at or above and at or below', () => {
    fc.assert(fc.property(changes, port, (steps, probe) => {
      const { set, sorted } = filled(steps);
      assert.equal(set.atOrAbove(probe), sorted.find((p) => p >= probe));
      assert.equal(set.atOrBelow(probe), sorted.findLast((p) => p <= probe));
    }), { numRuns: 300 });
  });

  it('has nothing above the last port', () => {
    const set = new PortSet();
    set.add(65_535);
    assert.equal(set.atOrAbove(65_536), undefined);
    assert.equal(set.atOrAbove(65_535), 65_535);
  });

  it('gives the port of each rank, and refuses a rank beyond its size', () => {
    fc.assert(fc.property(changes, (steps) => {
      const { set, sorted } = filled(steps);
      for (const [rank, p] of sorted.entries()) assert.equal(set.nth(rank), p);
      assert.throws(() => set.nth(sorted.length), RangeError);
    }));
  });

  it('counts and lists the ports of any range', () => {
    fc.assert(fc.property(changes, port, port, (steps, a, b) => {
      const { set, sorted } = filled(steps);
      const [first, last] = [Math.min(a, b), Math.max(a, b)];
      const expected = sorted.filter((p) => p >= first && p <= last);
      assert.equal(set.countIn(first, last), expected.length);
      assert.deepEqual([...set.within(first, last)], expected);
    }), { numRuns: 300 });
  });

  it('finds the lowest run of a length', () => {
    fc.assert(fc.property(changes, fc.integer({ min: 1, max: 70 }), (steps, length) => {
      const { set, sorted } = filled(steps);
      assert.equal(set.findRun(length), naiveRun(sorted, length));
    }));
  });

  it('may be changed while its ports are listed', () => {
    const set = new PortSet();
    set.addRange(100, 200);
    for (const p of set.within(100, 200)) set.delete(p);
    assert.equal(set.size, 0);
  });

  it('holds every port there is', () => {
    const set = new PortSet();
    set.addRange(0, 65_535);
    assert.equal(set.size, 65_536);
    assert.equal(set.nth(65_535), 65_535);
    assert.equal(set.countIn(0, 65_535), 65_536);
    assert.equal(set.findRun(65_536), 0);
    set.deleteRange(0, 65_535);
    assert.equal(set.atOrAbove(0), undefined);
    assert.equal(set.atOrBelow(65_535), undefined);
  });
});
