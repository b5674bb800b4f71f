import assert from 'node:assert/strict';
import { batchOf, charactersOf, comparison, valuesOf } from '../../../coordinator/journal/sqlite/batch.js';
import { allocation, changes, gatewayRecord } from '../../integration/journal/records.js';

describe('a batch of changes', () => {
  const first = gatewayRecord();
  const second = gatewayRecord({ gateway: 'gw-2', ordinal: 2 });

  it('joins the rows of several gateways, table by table, and passes null for what none of them has', () => {
    const values = valuesOf([batchOf('gw', 4, allocation(5, first)), batchOf('gw-2', 7, allocation(8, second)), comparison('gw-3', 1, first)])
      .map((value) => value === null ? null : JSON.parse(String(value)) as unknown[][]);
    assert.deepEqual(values.map((rows) => rows?.length ?? null), [3, null, null, null, null, null, null, null, null, null, null, null, null, null, null, 2, 2, 2, null, null, 2, 2]);
    assert.deepEqual(values[0]?.map((row) => row.slice(0, 2)), [[4, 'gw'], [7, 'gw-2'], [1, 'gw-3']]);
    assert.deepEqual(values.at(-1)?.map(([gateway, sequence]) => [gateway, sequence]), [['gw', 5], ['gw-2', 8]]);
  });

  it('names what is removed, with its gateway where names are unique only there', () => {
    const removals = changes(1, { removedPools: ['p'], removedHosts: ['h'], removedLeases: ['l'], removedEnvironments: ['e'], removedRequests: ['r"'] });
    assert.deepEqual(valuesOf([batchOf('gw', 0, removals)]).slice(1, 6), ['[["gw","p"]]', '["h"]', '["l"]', '["e"]', '[["gw","r\\""]]']);
  });

  it('knows how much text it is', () => {
    const batch = batchOf('gw', 0, allocation(1));
    assert.equal(charactersOf(batch), valuesOf([batch]).reduce((sum: number, value) => sum + (value === null ? 0 : String(value).length), 0));
  });
});
