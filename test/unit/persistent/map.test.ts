import assert from 'node:assert/strict';
import fc from 'fast-check';
import { differences, PersistentMap } from '../../../agent/persistent/map.js';

const anyChanges = fc.array(fc.tuple(fc.nat(2_000).map(number => `key/${number}`), fc.option(fc.nat(3), { nil: undefined })), { maxLength: 60 });

function changed(map: ReadonlyMap<string, number>, changes: readonly (readonly [string, number | undefined])[]): Map<string, number> {
  const copy = new Map(map);
  for (const [key, value] of changes) {
    if (value === undefined) copy.delete(key);
    else copy.set(key, value);
  }
  return copy;
}

const sorted = (map: ReadonlyMap<string, number>): [string, number][] => [...map].sort(([a], [b]) => (a < b ? -1 : 1));

describe('a persistent map', () => {
  it('is as a map that is copied for each change, and the earlier ones stay as they were', () => {
    fc.assert(fc.property(fc.array(anyChanges, { maxLength: 8 }), steps => {
      let [map, model] = [PersistentMap.empty<number>(), new Map<string, number>()];
      const all = [{ map, model }];
      for (const changes of steps) {
        [map, model] = [map.with(changes), changed(model, changes)];
        all.push({ map, model });
      }
      for (const { map: one, model: its } of all) {
        assert.deepEqual(sorted(one), sorted(its));
        assert.equal(one.size, its.size);
        assert.deepEqual([...one.keys(), ...one.values()].length, 2 * its.size);
        for (const key of ['key/0', ...its.keys()]) assert.deepEqual([one.get(key), one.has(key)], [its.get(key), its.has(key)]);
      }
    }));
  });

  it('tells what differs from another one, whether it was made from it or not', () => {
    fc.assert(fc.property(anyChanges, anyChanges, (first, second) => {
      const [one, model] = [PersistentMap.empty<number>().with(first), changed(new Map(), first)];
      const [two, other] = [one.with(second), changed(model, second)];
      const expected = [...new Set([...model.keys(), ...other.keys()])].filter(key => model.get(key) !== other.get(key)).sort();
      for (const [a, b] of [[one, two], [PersistentMap.of(model), two], [model, two], [one, other], [model, other]] as const) assert.deepEqual(differences(a, b).sort(), expected);
    }));
  });

  it('is itself when a change changes nothing', () => {
    const map = PersistentMap.of([['a', 1], ['b', 2]]);
    assert.equal(map.with([['a', 1], ['c', undefined]]), map);
    assert.deepEqual(differences(map, map.with([['a', 2], ['a', 1]])), []);
  });

  it('of 20,000 entries gets another one in microseconds', () => {
    const map = PersistentMap.of(Array.from({ length: 20_000 }, (_, number) => [`mapping/m-${number}`, number] as const));
    const times = Array.from({ length: 200 }, (_, number) => {
      const startMs = performance.now();
      const next = map.with([[`mapping/x-${number}`, number]]);
      assert.equal(differences(map, next).length, 1);
      return performance.now() - startMs;
    });
    assert.ok(Math.min(...times) < 0.5, `${Math.min(...times)} ms`);
  });
});
