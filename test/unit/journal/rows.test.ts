import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { GatewayRecord } from '../../../coordinator/book/types.js';
import { ENVIRONMENT, FORGOTTEN, GATEWAY, HOST, LEASE, MAPPING, OVERRIDE, POOL, REQUEST, type LoadedTable, type Row } from '../../../coordinator/journal/sqlite/rows.js';
import { environment, forgotten, gatewayRecord, host, lease, mapping, override, pool, request } from '../../integration/journal/records.js';

describe('rows of the journal', () => {
  const tables = [
    [GATEWAY, gatewayRecord()], [POOL, pool()], [HOST, host()], [LEASE, lease()], [ENVIRONMENT, environment()], [MAPPING, mapping()],
    [REQUEST, request()], [FORGOTTEN, forgotten()], [OVERRIDE, override()],
  ] as [LoadedTable<Record<string, unknown>>, Record<string, unknown>][];

  for (const [table, example] of tables) {
    it(`carry every field of ${table.name}, whatever its value, there and back`, () => {
      fc.assert(fc.property(anyLike(example), (record) => {
        const row = table.encode('gw', record);
        assert.equal(row.length, table.columns.length);
        const name = table === (GATEWAY as unknown) ? (record as GatewayRecord).gateway : 'gw';
        assert.equal(row[table.columns.indexOf('gateway')], name);
        assert.deepEqual(table.decode(JSON.parse(JSON.stringify(row)) as Row), record);
      }));
    });
  }
});

/** Records with the fields of `example`, each with any value of its type. */
function anyLike(example: Record<string, unknown>): fc.Arbitrary<Record<string, unknown>> {
  return fc.record(Object.fromEntries(Object.entries(example).map(([field, value]) => [field, anyValueLike(field, value)])),
    { noNullPrototype: true });
}

function anyValueLike(field: string, value: unknown): fc.Arbitrary<unknown> {
  if (typeof value === 'number') return fc.nat();
  if (typeof value === 'boolean') return fc.boolean();
  if (typeof value === 'string') return fc.string({ unit: 'grapheme' });
  if (field === 'target') return fc.record({ kind: fc.constant('address'), address: fc.string() }, { noNullPrototype: true });
  if (field === 'limits') return fc.record({ networks: fc.array(fc.string()), maxConnections: fc.nat() }, { noNullPrototype: true });
  if (field === 'labels') return fc.dictionary(fc.stringMatching(/^[a-z./-]{1,9}$/), fc.string()).map((labels) => ({ ...labels }));
  const [first] = value as unknown[];
  return typeof first === 'string' ? fc.array(fc.string()) : fc.array(fc.record({ first: fc.nat(), last: fc.nat() }, { noNullPrototype: true }));
}
