import assert from 'node:assert/strict';
import fc from 'fast-check';
import { InvalidField } from '../../../shared/invalid.js';
import { parseTargetText, sameTarget, storedTarget, targetDetail, targetText, type Target } from '../../../shared/target.js';
import { targetFromWire, targetToWire } from '../../../shared/wire.js';

const FIRST = [...'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'];
const name = fc.tuple(fc.constantFrom(...FIRST), fc.array(fc.constantFrom(...FIRST, '_', '.', '-'), { maxLength: 127 })).map(([first, rest]) => first + rest.join(''));
const nameOrNone = fc.oneof(fc.constant(''), name);
const target: fc.Arbitrary<Target> = fc.oneof(
  fc.ipV4().filter((address) => { try { parseTargetText(address, 't'); return true; } catch { return false; } }).map((address) => ({ kind: 'address' as const, address })),
  fc.record({ kind: fc.constant('container' as const), container: nameOrNone, network: nameOrNone, family: fc.constantFrom(0 as const, 4 as const, 6 as const) }, { noNullPrototype: true }),
  fc.record({ kind: fc.constant('published' as const), container: nameOrNone }, { noNullPrototype: true }),
);

describe('the text of a target', () => {
  it('reads as what it was written from, also in two parts, and through the contract', () => {
    fc.assert(fc.property(target, (one) => {
      assert.deepEqual(parseTargetText(targetText(one), 'target'), one);
      assert.deepEqual(storedTarget(one.kind, targetDetail(one)), one);
      assert.deepEqual(targetFromWire(targetToWire(one)), one);
    }));
  });

  it('is the same for the same target only', () => {
    fc.assert(fc.property(target, target, (a, b) => assert.equal(sameTarget(a, b), JSON.stringify(a) === JSON.stringify(b))));
  });

  for (const text of ['container:@', 'container:a@', 'container:a@b@c', 'container:a/5', 'container:-a', 'published:a@b', 'published:a/4', 'container:a b', '127.0.0.1', 'web', '']) {
    it(`is refused: ${JSON.stringify(text)}`, () => {
      assert.throws(() => parseTargetText(text, 'target'), (error) => error instanceof InvalidField && error.field === 'target');
    });
  }
});
