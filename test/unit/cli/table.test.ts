import assert from 'node:assert/strict';
import { properties, table } from '../../../cli/table.js';

const COLUMNS = [
  { header: 'NAME', cell: ([name]: [string, number]) => name },
  { header: 'N', cell: ([, count]: [string, number]) => count, align: 'right' as const },
];

describe('a table', () => {
  it('is aligned, numbers at the right, with - for what is empty', () => {
    assert.equal(table(COLUMNS, [['a-long-name', 7], ['', 1_000]]), 'NAME            N\na-long-name     7\n-            1000\n');
  });

  it('has its header when there are no rows', () => {
    assert.equal(table(COLUMNS, []), 'NAME  N\n');
  });

  it('keeps one line a row, whatever the text holds', () => {
    assert.equal(table(COLUMNS, [['a\nb\x1b[1m\u202e', 1]]), 'NAME      N\na?b?[1m?  1\n');
  });

  it('holds 60,000 rows', () => {
    assert.equal(table(COLUMNS, Array.from({ length: 60_000 }, (_, i) => [`n${i}`, i])).split('\n').length, 60_002);
  });
});

describe('properties', () => {
  it('stand in two columns', () => {
    assert.equal(properties([['host', 'a'], ['labels', '']]), 'host    a\nlabels  -\n');
  });
});
