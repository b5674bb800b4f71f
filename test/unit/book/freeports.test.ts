import assert from 'node:assert/strict';
import fc from 'fast-check';
import { FreePorts } from '../../../coordinator/book/freeports.js';
import { MinHeap } from '../../../coordinator/book/minheap.js';
import type { Strategy } from '../../../coordinator/book/types.js';
import { seeded } from './world.js';

const command = fc.oneof(
  fc.record({ kind: fc.constant('add' as const), port: fc.integer({ min: 1, max: 80 }), used: fc.boolean() }),
  fc.record({ kind: fc.constant('remove' as const), port: fc.integer({ min: 1, max: 80 }) }),
  fc.record({ kind: fc.constant('take' as const) }),
  fc.record({ kind: fc.constant('findRun' as const), length: fc.integer({ min: 1, max: 6 }) }),
  // What an undone draft does: takes a port and puts it back as it was.
  fc.record({ kind: fc.constant('takeAndUndo' as const) }),
);

/** Free ports with the sequence of their last release, 0 when they were never used. */
type Model = Map<number, number>;

function expected(strategy: Strategy, model: Model): number[] {
  const ports = [...model.keys()].sort((a, b) => a - b);
  if (strategy === 'random') return ports;
  if (strategy === 'sequential') return ports.slice(0, 1);
  return ports.sort((a, b) => (model.get(a) as number) - (model.get(b) as number) || a - b).slice(0, 1);
}

function checkedTake(free: FreePorts, strategy: Strategy, model: Model): [port: number, sequence: number] | undefined {
  const allowed = expected(strategy, model);
  const port = free.take();
  if (port === undefined) {
    assert.equal(model.size, 0, 'refuses only when nothing is free');
    return undefined;
  }
  assert.ok(allowed.includes(port), `gave ${port}, the strategy says ${allowed.join()}`);
  const sequence = model.get(port) as number;
  model.delete(port);
  return [port, sequence];
}

function runOf(model: Model, length: number): number | undefined {
  const ports = [...model.keys()].sort((a, b) => a - b);
  return ports.find((first) => Array.from({ length }, (_, i) => first + i).every((port) => model.has(port)));
}

describe('FreePorts, against a Map', () => {
  for (const strategy of ['sequential', 'random', 'leastRecentlyUsed'] as const) {
    it(`gives out what is free, by the strategy ${strategy}`, () => {
      fc.assert(fc.property(fc.array(command, { maxLength: 250 }), fc.nat(), (commands, seed) => {
        const free = new FreePorts(strategy, seeded(seed));
        const model: Model = new Map();
        let sequence = 0;
        for (const step of commands) {
          switch (step.kind) {
            case 'add':
              sequence += 1;
              free.add(step.port, step.used ? sequence : 0);
              if (!model.has(step.port)) model.set(step.port, step.used ? sequence : 0);
              break;
            case 'remove':
              assert.equal(free.remove(step.port), model.delete(step.port));
              break;
            case 'take':
              checkedTake(free, strategy, model);
              break;
            case 'takeAndUndo': {
              const taken = checkedTake(free, strategy, model);
              if (taken === undefined) break;
              free.add(...taken);
              model.set(...taken);
              break;
            }
            case 'findRun':
              assert.equal(free.findRun(step.length), runOf(model, step.length));
          }
          assert.equal(free.size, model.size);
        }
        assert.deepEqual([...free.within(1, 80)], [...model.keys()].sort((a, b) => a - b));
      }));
    });
  }

  it('reaches every free port at random', () => {
    const free = new FreePorts('random', seeded(7));
    for (let port = 1; port <= 20; port += 1) free.add(port, 0);
    const seen = new Set<number>();
    for (let n = 0; n < 500; n += 1) {
      const port = free.take() as number;
      seen.add(port);
      free.add(port, 0);
    }
    assert.equal(seen.size, 20);
  });

  it('finds the stretch of free ports around one of them, within a limit', () => {
    fc.assert(fc.property(fc.uniqueArray(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), fc.nat(), fc.integer({ min: 1, max: 50 }), (ports, pick, limit) => {
      const free = new FreePorts('sequential', seeded(1));
      for (const port of ports) free.add(port, 0);
      const port = ports[pick % ports.length] as number;
      const { first, last } = free.runAround(port, limit);
      assert.ok(first <= port && port <= last && last - first + 1 <= limit);
      for (let p = first; p <= last; p += 1) assert.ok(ports.includes(p));
      if (last - first + 1 < limit) assert.ok(!ports.includes(first - 1) && !ports.includes(last + 1), 'it is as long as it can be');
    }));
  });
});

describe('MinHeap, against a sorted array', () => {
  it('gives the smallest key first, however pushes and pops are mixed', () => {
    fc.assert(fc.property(fc.array(fc.option(fc.integer({ min: 0, max: 50 }), { nil: undefined }), { maxLength: 200 }), (steps) => {
      const heap = new MinHeap<string>();
      const keys: number[] = [];
      for (const key of steps) {
        if (key === undefined) {
          keys.sort((a, b) => a - b);
          assert.deepEqual(heap.pop()?.key, keys.shift());
        } else {
          heap.push(key, `value of ${key}`);
          keys.push(key);
        }
        assert.equal(heap.size, keys.length);
        assert.equal(heap.peek()?.key, keys.length === 0 ? undefined : Math.min(...keys));
      }
      for (const key of keys.sort((a, b) => a - b)) assert.deepEqual(heap.pop(), { key, value: `value of ${key}` });
      assert.equal(heap.pop(), undefined);
    }));
  });
});
