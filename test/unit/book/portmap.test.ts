import assert from 'node:assert/strict';
import fc from 'fast-check';
import { PortMap } from '../../../coordinator/book/portmap.js';

describe('PortMap', () => {
  it('is a map of ports, in order of port', () => {
    const port = fc.oneof(fc.integer({ min: 0, max: 65_535 }), fc.integer({ min: 250, max: 260 }));
    const step = fc.record({ port, value: fc.option(fc.integer(), { nil: undefined }) });
    fc.assert(fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const map = new PortMap<number>();
      const model = new Map<number, number>();
      for (const { port: at, value } of steps) {
        if (value === undefined) {
          map.delete(at);
          model.delete(at);
        } else {
          map.set(at, value);
          model.set(at, value);
        }
        assert.equal(map.get(at), model.get(at));
        assert.equal(map.size, model.size);
      }
      assert.deepEqual([...map], [...model].sort(([a], [b]) => a - b));
    }));
  });
});
