import assert from 'node:assert/strict';
import { PoolMeter } from '../../../coordinator/keeper/meter.js';
import type { AllocateCommand, EventKind, EventRecord, MappingRecord, Reply } from '../../../coordinator/book/types.js';
import type { Reason } from '../../../shared/reasons.js';

const command = (over: Partial<AllocateCommand> = {}): AllocateCommand => ({
  kind: 'allocate', actor: 'a', requestId: 'r', bodyHash: 'h', tenant: 't', environment: 'e', host: 'h', labels: {}, dryRun: false, verify: false,
  wants: [{ name: 'ssh', source: { kind: 'pool', pool: 'ssh' }, protocol: undefined, count: 1, contiguous: false, target: { kind: 'address', address: '10.0.0.1' }, internalPort: 22, choice: { kind: 'any' } }],
  ...over,
});
const granted = (pools: readonly string[], replayed = false): Reply => ({
  kind: 'allocated', replayed, made: [], mappings: pools.map((pool) => ({ pool }) as MappingRecord),
  view: { environment: { environment: 'e', tenant: 't', host: 'h', labels: {}, createdAtMs: 0, revision: 1 }, mappings: [] },
});
const refused = (reason: Reason, metadata?: Record<string, string>): Reply => ({ kind: 'refused', reason, message: '', ...(metadata && { metadata }) });
const event = (kind: EventKind, mappingId: string, atMs: number, state: string): EventRecord =>
  ({ sequence: 1, atMs, kind, host: 'h', environment: 'e', mappingId, detail: JSON.stringify({ space: 'gw', pool: 'ssh', port: 1, state }) });

describe('the meter of pools', () => {
  const at = (nowMs: number, tookMs = 1) => ({ askedAtMs: nowMs - tookMs, nowMs });

  it('counts a request once for each of its pools, with how long it took', () => {
    const meter = new PoolMeter();
    meter.answered(command(), granted(['ssh', 'web', 'ssh']), at(1_000, 7));
    for (const pool of ['ssh', 'web']) {
      const { recent, sinceStart } = meter.of(pool, 1_000);
      for (const rates of [recent, sinceStart]) assert.deepEqual([rates.granted, rates.failed, rates.allocation.quantileMs(0.5)], [1, 0, 7]);
    }
    assert.equal(meter.of('other', 1_000).sinceStart.granted, 0);
  });

  it('does not count replays, dry runs and what the caller did wrong', () => {
    const meter = new PoolMeter();
    meter.answered(command(), granted(['ssh'], true), at(1_000));
    meter.answered(command({ dryRun: true }), granted(['ssh']), at(1_000));
    meter.answered(command(), refused('PORT_NOT_IN_POOL', { pool: 'ssh' }), at(1_000));
    meter.answered(command(), refused('PORT_TAKEN', { pool: 'ssh' }), at(1_000));
    const { granted: yes, failed } = meter.of('ssh', 1_000).sinceStart;
    assert.deepEqual([yes, failed], [0, 0]);
  });

  it('counts as failed what the pool or its hosts could not give', () => {
    const meter = new PoolMeter();
    meter.answered(command(), refused('POOL_EXHAUSTED', { pool: 'ssh' }), at(1_000));
    meter.answered(command(), refused('HOST_SUSPECT', { host: 'h' }), at(1_000));
    assert.equal(meter.of('ssh', 1_000).sinceStart.failed, 2);
  });

  it('makes no room for pools that nobody knows', () => {
    const meter = new PoolMeter();
    const source = { kind: 'pool' as const, pool: 'made-up' };
    meter.answered(command({ wants: command().wants.map((want) => ({ ...want, source })) }), refused('HOST_SUSPECT', { host: 'h' }), at(1_000));
    assert.equal(meter.of('made-up', 1_000).sinceStart.failed, 0);
  });

  it('forgets after five minutes what is not of the start', () => {
    const meter = new PoolMeter();
    for (const minute of [0, 1, 4]) meter.answered(command(), granted(['ssh']), at(minute * 60_000 + 1));
    assert.equal(meter.of('ssh', 4 * 60_000 + 1).recent.granted, 3);
    assert.equal(meter.of('ssh', 5.5 * 60_000).recent.granted, 2);
    assert.equal(meter.of('ssh', 20 * 60_000).recent.granted, 0);
    assert.equal(meter.of('ssh', 20 * 60_000).sinceStart.granted, 3);
    meter.answered(command(), granted(['ssh']), at(21 * 60_000));
    assert.equal(meter.of('ssh', 21 * 60_000).recent.granted, 1);
  });

  it('measures a release from when it was asked for to when it is confirmed', () => {
    const meter = new PoolMeter();
    meter.committed([event('PortChanged', 'm1', 1_000, 'releasing'), event('PortChanged', 'm2', 1_000, 'live')]);
    meter.committed([event('PortChanged', 'm1', 1_005, 'releasing'), event('PortReleased', 'm1', 1_012, 'quarantined'), event('PortReleased', 'm2', 1_012, 'quarantined')]);
    const { release } = meter.of('ssh', 1_012).recent;
    assert.deepEqual([release.count, release.quantileMs(0.99)], [1, 12]);
  });
});
