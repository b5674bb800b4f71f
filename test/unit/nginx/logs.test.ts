import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { putAside } from '../../../agent/drivers/nginx/logs.js';

describe('logs of nginx', () => {
  let folder = '';
  beforeEach(() => { folder = mkdtempSync(join(tmpdir(), 'portlease-logs-')); });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('are put aside when they are too long, and only the newest are kept', () => {
    const log = join(folder, 'access.log');
    assert.equal(putAside(log, 4), false);
    for (let number = 1; number <= 6; number++) {
      writeFileSync(log, `line ${number}`);
      assert.equal(putAside(log, 6), false);
      assert.equal(putAside(log, 5), true);
    }
    assert.deepEqual(readdirSync(folder).sort(), ['access.log.1', 'access.log.2', 'access.log.3', 'access.log.4']);
    assert.deepEqual([1, 4].map(number => readFileSync(`${log}.${number}`, 'utf8')), ['line 6', 'line 3']);
  });
});
