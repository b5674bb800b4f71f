import assert from 'node:assert/strict';
import { InvalidField } from '../../../shared/invalid.js';
import { Refused } from '../../../coordinator/keeper/refused.js';
import { pageSize, pageToken, positionOf } from '../../../coordinator/rpc/pages.js';

describe('page tokens', () => {
  const about = { list: 'mappings', filter: { tenant: 'acme' } };

  it('lead back to where the page before ended', () => {
    assert.equal(positionOf(pageToken({ ...about, after: 'm0001' }), about), 'm0001');
    assert.equal(positionOf('', about), '');
  });

  it('are refused for another list, another filter, and when they are spoilt', () => {
    const token = pageToken({ ...about, after: 'm0001' });
    const forged = Buffer.from(JSON.stringify(['x', 'm0002'])).toString('base64url');
    for (const [bad, where] of [[token, { ...about, list: 'leases' }], [token, { ...about, filter: {} }], [forged, about], ['%%%', about], ['x'.repeat(600), about]] as const) {
      assert.throws(() => positionOf(bad, where), (error) => error instanceof Refused && error.refusal.reason === 'PAGE_TOKEN_INVALID');
    }
  });

  it('pages have 100 elements when nothing is said, and at most 1,000', () => {
    assert.deepEqual([pageSize(0), pageSize(1), pageSize(1000)], [100, 1, 1000]);
    assert.throws(() => pageSize(1001), InvalidField);
  });
});
