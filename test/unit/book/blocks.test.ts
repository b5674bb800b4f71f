import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Blocks } from '../../../coordinator/book/blocks.js';
import type { PortRange } from '../../../shared/ports.js';

const FIRST = 30_000;
const LAST = 30_299;

const command = fc.oneof(
  fc.record({ kind: fc.constant('take' as const), order: fc.integer({ min: 0, max: 7 }) }),
  fc.record({ kind: fc.constant('takeRange' as const), first: fc.integer({ min: FIRST, max: LAST }), more: fc.integer({ min: 0, max: 40 }) }),
  fc.record({ kind: fc.constant('release' as const), from: fc.nat(), more: fc.integer({ min: 0, max: 40 }) }),
);
type BlockCommand = typeof command extends fc.Arbitrary<infer T> ? T : never;

/** The largest aligned block of free ports that contains none but free ports, as a buddy system must keep it. */
function largestAligned(free: ReadonlySet<number>): number {
  for (let size = 512; size >= 1; size /= 2) {
    for (let first = Math.floor(FIRST / size) * size; first <= LAST; first += size) {
      if (Array.from({ length: size }, (_, i) => first + i).every((port) => free.has(port))) return size;
    }
  }
  return 0;
}

const portsIn = ({ first, last }: PortRange): number[] => Array.from({ length: last - first + 1 }, (_, i) => first + i);

function check(blocks: Blocks, free: ReadonlySet<number>): void {
  assert.equal(blocks.size, free.size);
  assert.equal(blocks.largest, largestAligned(free), 'buddies that are both free are merged');
  const listed = [...blocks.all()].flatMap(portsIn).sort((a, b) => a - b);
  assert.deepEqual(listed, [...free].sort((a, b) => a - b), 'each free port is in one block');
  for (const { first, last } of blocks.all()) assert.equal(first % (last - first + 1), 0, 'blocks are aligned');
}

function run(blocks: Blocks, free: Set<number>, step: BlockCommand): void {
  switch (step.kind) {
    case 'take': {
      const taken = blocks.take(step.order);
      assert.equal(taken === undefined, largestAligned(free) < 2 ** step.order, 'refuses only when no aligned block is left');
      if (taken === undefined) return;
      assert.equal(taken.last - taken.first + 1, 2 ** step.order);
      for (const port of portsIn(taken)) assert.ok(free.delete(port), `port ${port} was free`);
      return;
    }
    case 'takeRange': {
      const wanted = portsIn({ first: step.first, last: step.first + step.more });
      const possible = wanted.every((port) => free.has(port));
      assert.equal(blocks.takeRange(step.first, step.first + step.more), possible);
      if (possible) for (const port of wanted) free.delete(port);
      return;
    }
    case 'release': {
      const taken = portsIn({ first: FIRST, last: LAST }).filter((port) => !free.has(port));
      const first = taken[step.from % Math.max(1, taken.length)];
      if (first === undefined) return;
      let last = first;
      while (last - first < step.more && last < LAST && !free.has(last + 1)) last += 1;
      blocks.release(first, last);
      for (const port of portsIn({ first, last })) free.add(port);
    }
  }
}

describe('Blocks, against a Set of numbers', () => {
  it('takes, splits, gives back and merges as a naive pool of ports would', () => {
    fc.assert(fc.property(fc.array(command, { maxLength: 40 }), (commands) => {
      const blocks = new Blocks();
      blocks.release(FIRST, LAST);
      const free = new Set(portsIn({ first: FIRST, last: LAST }));
      for (const step of commands) {
        run(blocks, free, step);
        check(blocks, free);
      }
      for (const port of portsIn({ first: FIRST, last: LAST })) assert.equal(blocks.has(port), free.has(port));
    }), { numRuns: 60 });
  });

  it('gives its largest block again once everything is back, in whatever order it came (B1)', () => {
    fc.assert(fc.property(fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 60 }), fc.infiniteStream(fc.nat()), (orders, chance) => {
      const blocks = new Blocks();
      blocks.release(FIRST, LAST);
      const { largest, size } = blocks;
      const taken = orders.map((order) => blocks.take(order)).filter((block) => block !== undefined);
      while (taken.length > 0) {
        const [back] = taken.splice((chance.next().value as number) % taken.length, 1) as [PortRange];
        blocks.release(back.first, back.last);
      }
      assert.equal(blocks.size, size);
      assert.equal(blocks.largest, largest);
    }));
  });

  it('takes the smallest block that is large enough, lowest first, so that large ones stay whole', () => {
    const blocks = new Blocks();
    blocks.release(1_024, 1_024 + 63);
    blocks.release(2_048, 2_048 + 7);
    assert.deepEqual(blocks.take(2), { first: 2_048, last: 2_051 });
    assert.deepEqual(blocks.take(2), { first: 2_052, last: 2_055 });
    assert.deepEqual(blocks.take(2), { first: 1_024, last: 1_027 });
    assert.equal(blocks.largest, 32);
  });

  it('is empty until something is given to it', () => {
    const blocks = new Blocks();
    assert.equal(blocks.take(0), undefined);
    assert.equal(blocks.largest, 0);
    assert.equal(blocks.takeRange(1, 1), false);
  });
});
