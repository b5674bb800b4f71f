import assert from 'node:assert/strict';
import { benchStart } from '../../bench/start.js';

describe('the figures of a start', () => {
  it('are taken on a database of live mappings, all of which the coordinator has when it serves', async () => {
    const rows = await benchStart(4_000, { runs: 1, samples: 0 });
    assert.deepEqual(rows.map(({ name, unit }) => [name, unit]), [['start.m4000.seconds', 's'], ['start.m4000.rssmb', 'MiB']]);
    for (const { name, value } of rows) assert.ok(value > 0, `${name} is ${value}`);
  });
});
