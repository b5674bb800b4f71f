import assert from 'node:assert/strict';
import { ConstraintViolated, JournalClosed, SequenceConflict } from '../../../coordinator/journal/journal.js';
import type { SqliteJournal } from '../../../coordinator/journal/sqlite/journal.js';
import { Place } from './place.js';
import { AT_MS, allocation, changes, environment, forgotten, gatewayRecord, host, lease, mapping, override, pool, request, tunnel, workload } from './records.js';

describe('an append to the journal on SQLite', () => {
  let place: Place;
  let journal: SqliteJournal;

  beforeEach(async () => {
    place = new Place();
    journal = await place.open();
    await journal.createGateway(gatewayRecord());
  });
  afterEach(() => place.remove());

  it('is loaded again as it was, every field of every record', async () => {
    const stored = {
      pools: [pool()], hosts: [host({ replaceable: true, lostAtMs: 7 })], leases: [lease({ state: 'expired', expiredAtMs: 9 })],
      environments: [environment({ labels: { 'a/b': "it's \"x\" \u2028 ü" } })],
      mappings: [mapping({ state: 'held', reason: 'host lost', untilMs: 5, releasedSequence: 0 })], requests: [request()], forgotten: [forgotten()], overrides: [override()], workloads: [workload()],
      tunnels: [tunnel(), tunnel({ spec: { ...tunnel().spec, tunnel: 'plain', engine: undefined, probe: undefined, options: {} } })],
    };
    await journal.append('gw', 0, changes(4, stored, gatewayRecord({ epoch: 2, publicHost: 'other.example.com' })));
    assert.deepEqual(await journal.load('gw'), { gateway: gatewayRecord({ epoch: 2, sequence: 4, publicHost: 'other.example.com' }), ...stored, epochs: [{ epoch: 2, sequence: 4 }] });
    assert.deepEqual(await journal.gateways(), [gatewayRecord({ epoch: 2, sequence: 4, publicHost: 'other.example.com' })]);
    assert.equal(await journal.load('absent'), undefined);
  });

  it('overwrites what it names again, and removes before it writes', async () => {
    await journal.append('gw', 0, changes(1, { pools: [pool()], hosts: [host()], leases: [lease()], environments: [environment()],
      mappings: [mapping()], requests: [request()], forgotten: [forgotten()], overrides: [override()], workloads: [workload()], tunnels: [tunnel()] }));
    const next = { pools: [pool({ description: 'new' })], hosts: [host({ session: 4 })], leases: [lease({ last: 30_007 })],
      environments: [environment({ host: 'host-b' })], mappings: [mapping({ state: 'blocked', reason: 'occupied' })], requests: [request({ mappingIds: [] })],
      forgotten: [forgotten({ session: 9 })], overrides: [override({ untilMs: 9 })], workloads: [workload({ phase: 'ready', failure: undefined })],
      tunnels: [tunnel({ restart: 9, isStopped: false, isOfConfig: false, told: 'up', toldFlapping: false })] };
    await journal.append('gw', 1, changes(2, { ...next, removedPools: ['ssh'], removedRequests: ['r1'] }));
    assert.deepEqual(await journal.load('gw'), { gateway: gatewayRecord({ sequence: 2 }), ...next, epochs: [] });
    await journal.append('gw', 2, changes(3, { removedPools: ['ssh'], removedHosts: ['host-a'], removedLeases: ['l1'],
      removedEnvironments: ['env-1'], removedRequests: ['r1'], removedForgotten: ['host-z'], removedOverrides: ['domain/rack-1'], removedWorkloads: ['env-1'], removedTunnels: ['host-a/db'],
      mappings: [mapping({ state: 'quarantined' })] }));
    assert.deepEqual(await journal.load('gw'), { gateway: gatewayRecord({ sequence: 3 }), pools: [], hosts: [], leases: [], environments: [],
      mappings: [mapping({ state: 'quarantined' })], requests: [], forgotten: [], workloads: [], tunnels: [], overrides: [], epochs: [] });
  });

  it('takes what it needs before it returns: the book may change its records at once', async () => {
    const mine = mapping();
    const all = changes(1, { mappings: [mine] });
    const appended = journal.append('gw', 0, all);
    mine.state = 'released';
    all.gateway.sequence = 99;
    await appended;
    const stored = await journal.load('gw');
    assert.equal(stored?.mappings[0]?.state, 'live');
    assert.equal(stored?.gateway.sequence, 1);
  });

  it('is refused with SequenceConflict when the gateway is elsewhere or absent, and nothing of it is written', async () => {
    await journal.append('gw', 0, allocation(1));
    await assert.rejects(journal.append('gw', 0, allocation(2)), SequenceConflict);
    await assert.rejects(journal.append('gw', 2, allocation(3)), SequenceConflict);
    await assert.rejects(journal.append('absent', 0, allocation(4)), SequenceConflict);
    await assert.rejects(journal.barrier('gw', 0, gatewayRecord({ sequence: 5 })), SequenceConflict);
    assert.equal(await place.count('mapping'), 1);
    assert.equal(journal.status(), 'ok');
  });

  it('shares one transaction with the appends of other gateways that wait at the same time', async () => {
    const others = Array.from({ length: 40 }, (_, i) => gatewayRecord({ gateway: `gw-${i}`, ordinal: 10 + i }));
    for (const other of others) await journal.createGateway(other);
    const before = place.transactionsInWal();
    await Promise.all(others.map((other) => journal.append(other.gateway, 0, allocation(1, other))));
    assert.equal(place.transactionsInWal() - before, 1);
    await Promise.all(others.flatMap((other) => [2, 3].map((n) => journal.append(other.gateway, n - 1, allocation(n, other)))));
    assert.ok(place.transactionsInWal() - before <= 4, 'two appends of a gateway follow one another, each with those of the others');
    assert.equal(await place.count('audit'), 120);
  });

  it('that breaks a rule, or expects another sequence, is refused alone: those in the same transaction are written', async () => {
    const others = Array.from({ length: 6 }, (_, i) => gatewayRecord({ gateway: `gw-${i}`, ordinal: 10 + i }));
    for (const other of others) await journal.createGateway(other);
    const bad = changes(1, { mappings: [mapping({ mappingId: 'a' }), mapping({ mappingId: 'b', environment: 'env-2' })] }, others[2]);
    const outcomes = await Promise.allSettled(others.map((other, i) =>
      journal.append(other.gateway, i === 4 ? 7 : 0, i === 2 ? bad : allocation(1, other))));
    const names = outcomes.map((one) => one.status === 'fulfilled' ? 'written' : (one.reason as Error).name);
    assert.deepEqual(names, ['written', 'written', 'ConstraintViolated', 'written', 'SequenceConflict', 'written']);
    assert.equal(await place.count('mapping'), 4);
    assert.equal(await place.count("audit WHERE gateway IN ('gw-2', 'gw-4')"), 0);
    await journal.append('gw-2', 0, allocation(1, others[2]));
  });

  it('writes audit records and events in its transaction: a refused one leaves neither', async () => {
    const event = { sequence: 1, atMs: AT_MS, kind: 'PortAllocated' as const, host: 'host-a', environment: 'env-1', mappingId: 'm1', detail: '{}' };
    const audit = { sequence: 1, atMs: AT_MS, actor: 'uid:0', action: 'AllocatePorts', outcome: 'ok', environment: 'env-1', requestId: 'r1', detail: '{}' };
    await assert.rejects(journal.append('gw', 0, changes(1, { events: [event], audits: [audit], mappings: [mapping({ port: 0 })] })), ConstraintViolated);
    assert.deepEqual([await place.count('event'), await place.count('audit')], [0, 0]);
    const before = place.transactionsInWal();
    await journal.append('gw', 0, changes(1, { events: [event, event], audits: [audit], mappings: [mapping()] }));
    assert.equal(place.transactionsInWal() - before, 1);
    assert.deepEqual(await journal.listEvents({ gateway: 'gw', after: { revision: 0, position: 0 }, upTo: 1, limit: 10 }),
      { events: [{ gateway: 'gw', position: 1, ...event }, { gateway: 'gw', position: 2, ...event }], purgedTo: 0 });
    assert.deepEqual(await journal.listAudits({ gateway: undefined, afterId: 0, limit: 10 }), [{ id: 1, gateway: 'gw', ...audit }]);
    assert.deepEqual((await journal.listEvents({ gateway: 'gw', after: { revision: 1, position: 1 }, upTo: 1, limit: 10 })).events, [{ gateway: 'gw', position: 2, ...event }]);
    assert.deepEqual(await journal.listAudits({ gateway: 'other', afterId: 0, limit: 10 }), []);
  });

  it('is answered with JournalClosed after close(), also when it waited in the queue', async () => {
    const outcomes = Promise.allSettled([1, 2, 3].map((n) => journal.append('gw', n - 1, allocation(n))));
    await Promise.resolve();
    await journal.close();
    const [first, ...others] = await outcomes;
    assert.equal(first?.status, 'fulfilled');
    for (const other of others) assert.ok(other.status === 'rejected' && other.reason instanceof JournalClosed);
    await assert.rejects(journal.append('gw', 1, allocation(2)), JournalClosed);
    await assert.rejects(journal.load('gw'), JournalClosed);
    assert.equal(await (await place.open()).load('gw').then((stored) => stored?.gateway.sequence), 1);
  });
});
