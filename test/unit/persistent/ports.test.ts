import assert from 'node:assert/strict';
import fc from 'fast-check';
import { differingPorts, PortMap } from '../../../agent/persistent/ports.js';

type Fill = { first: number; size: number; value: number | undefined };
const anyFills: fc.Arbitrary<Fill[]> = fc.array(fc.record({
  first: fc.oneof(fc.integer({ min: 1, max: 2_000 }), fc.integer({ min: 65_000, max: 65_535 })), size: fc.constantFrom(1, 1, 2, 16, 255, 256, 600), value: fc.option(fc.nat(2), { nil: undefined }),
}), { maxLength: 12 });

function filled(map: PortMap<number>, fills: readonly Fill[]): PortMap<number> {
  const edit = map.edit();
  for (const { first, size, value } of fills) edit.fill({ first, last: Math.min(65_535, first + size - 1) }, value);
  return edit.done();
}

function model(fills: readonly Fill[], before: readonly (number | undefined)[] = new Array<undefined>(65_536).fill(undefined)): (number | undefined)[] {
  const ports = [...before];
  for (const { first, size, value } of fills) ports.fill(value, first, Math.min(65_536, first + size));
  return ports;
}

describe('a map by port', () => {
  it('has what was put there, tells what differs, and leaves earlier ones as they were', () => {
    fc.assert(fc.property(anyFills, anyFills, (one, two) => {
      const a = filled(PortMap.empty(), one);
      const b = filled(a, two);
      const [first, second] = [model(one), model(two, model(one))];
      for (let port = 0; port <= 65_535; port++) if (a.get(port) !== first[port] || b.get(port) !== second[port]) assert.fail(`port ${port}`);
      const expected = Array.from(first.keys()).filter(port => first[port] !== second[port]);
      assert.deepEqual([...differingPorts(a, b)], expected);
      assert.deepEqual([...differingPorts(filled(PortMap.empty(), one), b)], expected);
    }), { numRuns: 60 });
  });

  it('gives its ports as ranges, as neighbours of one value, and by aligned block', () => {
    fc.assert(fc.property(anyFills, fills => {
      const map = filled(PortMap.empty(), fills);
      const ports = model(fills);
      const covered = new Set(map.ranges().flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, index) => first + index)));
      assert.deepEqual(covered, new Set(Array.from(ports.keys()).filter(port => ports[port] !== undefined)));
      assert.ok(map.ranges().every(({ first }, index, all) => index === 0 || first > (all[index - 1]?.last ?? 0) + 1));
      for (const { first, last, value } of map.runs()) assert.ok(ports[first] === value && ports[last] === value && ports[first - 1] !== value && ports[last + 1] !== value);
      for (const size of [16, 256, 4_096, 65_536]) {
        for (let first = 0; first < 65_536; first += size) assert.equal(map.isEmpty(first, size), ports.slice(first, first + size).every(value => value === undefined));
      }
    }), { numRuns: 60 });
  });

  it('is itself when nothing is changed', () => {
    const map = filled(PortMap.empty(), [{ first: 5, size: 1, value: 1 }]);
    assert.equal(filled(map, [{ first: 5, size: 1, value: 1 }, { first: 9, size: 300, value: undefined }]), map);
    assert.deepEqual([...PortMap.unshared(PortMap.empty<number>(), filled(map, [{ first: 5, size: 1, value: undefined }]))], [], 'a page without ports is none');
  });
});
