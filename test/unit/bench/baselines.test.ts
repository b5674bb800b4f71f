import assert from 'node:assert/strict';
import { rowsOf, tableOf, type RunResults } from '../../bench/baselines/figures.js';

const RATES = {
  'portlease.c1m1': 2_000, 'portlease.c4m64': 20_000, 'portlease.batch64': 48_000, 'homemade.c1': 1_500, 'homemade.c64': 1_600,
  'skiplocked.c4': 8_000, 'skiplocked.c16': 11_000, 'skiplocked.c64': 6_000, 'etcd.put': 20_000, 'etcd.grant': 5_000,
};

function runWith(rates: Partial<typeof RATES> = {}): RunResults {
  return new Map(Object.entries({ ...RATES, ...rates }).map(([name, callsPerSecond]) => [name, { callsPerSecond, p50Ms: 1, p99Ms: 2 }]));
}

function valueOf(name: string, runs: readonly RunResults[]): number | undefined {
  return rowsOf(runs).find((row) => row.name === `baselines.${name}`)?.value;
}

describe('the figures of the comparison', () => {
  it('counts for a port in etcd both the lease and the key', () => {
    assert.equal(valueOf('etcd.both', [runWith()]), 4_000);
  });

  it('divides the best of portlease by the best of the table, and by the best of the others', () => {
    assert.equal(valueOf('ratio.homemade', [runWith()]), 12.5);
    assert.equal(valueOf('ratio.others', [runWith()]), 1.818);
    assert.equal(valueOf('ratio.homemade.batch64', [runWith()]), 30);
    assert.equal(valueOf('ratio.others.batch64', [runWith()]), 4.364);
    assert.equal(valueOf('ratio.others', [runWith({ 'etcd.put': 50_000, 'etcd.grant': 50_000 })]), 0.8);
  });

  it('takes a ratio within each run, and then the median of the runs', () => {
    const runs = [runWith({ 'portlease.c4m64': 10_000, 'skiplocked.c16': 10_000 }), runWith({ 'portlease.c4m64': 22_000, 'skiplocked.c16': 11_000 }), runWith({ 'portlease.c4m64': 27_000, 'skiplocked.c16': 9_000 })];
    assert.equal(valueOf('ratio.others', runs), 2);
  });

  it('names the number of clients at which SKIP LOCKED was best', () => {
    assert.equal(valueOf('skiplocked.best.clients', [runWith()]), 16);
    assert.equal(valueOf('skiplocked.best.clients', [runWith({ 'skiplocked.c4': 12_000 })]), 4);
    assert.equal(valueOf('skiplocked.best', [runWith({ 'skiplocked.c4': 12_000 })]), 12_000);
  });

  it('says of each goal whether it is met', () => {
    const table = tableOf(rowsOf([runWith()]));
    assert.match(table, /home-made table +12\.50 +10 +met/);
    assert.match(table, /best of the others +1\.82 +2 +missed/);
  });

  it('fails rather than leaves out what was not measured', () => {
    assert.throws(() => rowsOf([new Map([...runWith()].filter(([name]) => name !== 'etcd.put'))]), /etcd\.put was not measured/);
  });
});
