import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Histogram } from '../../../shared/histogram.js';

function of(...values: number[]): Histogram {
  const histogram = new Histogram();
  for (const value of values) histogram.add(value);
  return histogram;
}

describe('a histogram', () => {
  it('is exact for short times', () => {
    const histogram = of(...Array.from({ length: 10 }, (_, i) => i + 1));
    assert.deepEqual([0.5, 0.9, 0.99, 1, 0].map((q) => histogram.quantileMs(q)), [5, 9, 10, 10, 1]);
  });

  it('has nothing to say without values', () => {
    assert.deepEqual([new Histogram().quantileMs(0.5), new Histogram().count], [undefined, 0]);
  });

  it('never says less than the truth, and at most a fifth and a millisecond more', () => {
    fc.assert(fc.property(fc.array(fc.integer({ min: 0, max: 4_000_000 }), { minLength: 1, maxLength: 100 }), fc.double({ min: 0.01, max: 1, noNaN: true }), (values, quantile) => {
      const truth = [...values].sort((a, b) => a - b)[Math.max(1, Math.ceil(quantile * values.length)) - 1] as number;
      const said = of(...values).quantileMs(quantile) as number;
      assert.ok(said >= truth && said <= truth * 1.2 + 1, `${said} for ${truth}`);
    }));
  });

  it('takes anything: negative times count as none, and hours as its last class', () => {
    assert.equal(of(-5).quantileMs(1), 0);
    assert.ok((of(1e12).quantileMs(1) ?? 0) > 4_000_000);
  });

  it('adds up to what one histogram of all would be, and can be emptied', () => {
    const sum = of(1, 2, 300);
    sum.addAll(of(4, 5_000));
    const whole = of(1, 2, 300, 4, 5_000);
    for (const quantile of [0.2, 0.5, 0.8, 1]) assert.equal(sum.quantileMs(quantile), whole.quantileMs(quantile));
    assert.equal(sum.count, 5);
    sum.clear();
    assert.deepEqual([sum.count, sum.quantileMs(0.5)], [0, undefined]);
  });
});
