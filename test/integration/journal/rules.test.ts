import assert from 'node:assert/strict';
import type { Changes, MappingRecord } from '../../../coordinator/book/types.js';
import { ConstraintViolated } from '../../../coordinator/journal/journal.js';
import { Connection } from '../../../coordinator/journal/sqlite/connection.js';
import type { SqliteJournal } from '../../../coordinator/journal/sqlite/journal.js';
import { Place } from './place.js';
import { allocation, changes, environment, forgotten, gatewayRecord, host, lease, mapping, override, pool, request } from './records.js';

const OWNING: MappingRecord['state'][] = ['pending', 'live', 'blocked', 'held', 'releasing', 'quarantined'];

describe('the rules of the database', () => {
  let place: Place;
  let journal: SqliteJournal;
  let sequence: number;

  beforeEach(async () => {
    place = new Place();
    journal = await place.open();
    await journal.createGateway(gatewayRecord());
    sequence = 0;
  });
  afterEach(() => place.remove());

  async function accepts(of: Partial<Changes>): Promise<void> {
    await journal.append('gw', sequence, changes(sequence + 1, of));
    sequence += 1;
  }
  async function refuses(of: Partial<Changes>, why: RegExp): Promise<void> {
    const before = await journal.load('gw');
    await assert.rejects(journal.append('gw', sequence, changes(sequence + 1, of)), (error) => {
      assert.ok(error instanceof ConstraintViolated, String(error));
      assert.match(error.message, why);
      return true;
    });
    assert.deepEqual(await journal.load('gw'), before);
  }

  it('give a port of a space and transport to one mapping, in each state in which it owns its port (S2)', async () => {
    for (const state of OWNING) {
      await accepts({ mappings: [mapping({ state })] });
      const rival = mapping({ mappingId: 'm2', environment: 'env-2', state: 'pending' });
      await refuses({ mappings: [rival] }, /UNIQUE.*mapping\.space, mapping\.port/);
      await refuses({ mappings: [{ ...rival, protocol: 'tcp+udp' }] }, /UNIQUE/);
      await accepts({ mappings: [{ ...rival, protocol: 'udp' }] });
      await refuses({ mappings: [{ ...rival, mappingId: 'm3', environment: 'env-3', protocol: 'tcp+udp', space: 'gw' }] }, /UNIQUE/);
      await accepts({ mappings: [{ ...rival, space: 'gw/host-b' }] });
    }
    await accepts({ mappings: [mapping({ state: 'released' }), mapping({ mappingId: 'm3', environment: 'env-3', protocol: 'tcp+udp' })] });
  });

  it('give a name of an environment to one mapping that is not being released', async () => {
    await accepts({ mappings: [mapping()] });
    const second = mapping({ mappingId: 'm2', port: 30_001 });
    await refuses({ mappings: [second] }, /UNIQUE.*mapping\.environment/);
    await accepts({ mappings: [mapping({ state: 'releasing' }), second] });
    await accepts({ mappings: [mapping({ state: 'quarantined' }), { ...second, state: 'held' }] });
    await refuses({ mappings: [mapping({ mappingId: 'm3', port: 30_002 })] }, /UNIQUE/);
    await accepts({ mappings: [mapping({ mappingId: 'm3', port: 30_002, index: 1 })] });
  });

  it('let a port, a name or a range pass from one row to another in one append, whatever the order of the rows', async () => {
    const next = mapping({ mappingId: 'm0', name: 'ssh', state: 'live' });
    await accepts({ mappings: [mapping()], leases: [lease(), lease({ leaseId: 'l2', first: 30_016, last: 30_031 })] });
    await accepts({ mappings: [next, mapping({ state: 'released' })],
      leases: [lease({ leaseId: 'l0', first: 30_008, last: 30_019 }), lease({ last: 30_007 }), lease({ leaseId: 'l2', first: 30_020, last: 30_031 })] });
    await accepts({ mappings: [{ ...next, port: 30_001 }, mapping({ mappingId: 'm2', environment: 'env-2' })] });
    await accepts({ mappings: [{ ...next, port: 30_000 }, mapping({ mappingId: 'm2', environment: 'env-2', port: 30_001 })] });
    assert.deepEqual((await journal.load('gw'))?.leases.map(({ leaseId, first, last }) => [leaseId, first, last]),
      [['l0', 30_008, 30_019], ['l1', 30_000, 30_007], ['l2', 30_020, 30_031]]);
  });

  it('refuse a lease that overlaps another one of its space (S2)', async () => {
    await accepts({ leases: [lease({ first: 30_016, last: 30_031 }), lease({ leaseId: 'l2', first: 30_064, last: 30_127, state: 'withdrawing' })] });
    const overlapping = [[30_016, 30_031], [30_000, 30_016], [30_031, 30_040], [30_020, 30_021], [30_000, 30_063], [30_000, 40_000], [30_127, 30_200], [30_063, 30_064]];
    for (const [first, last] of overlapping) {
      await refuses({ leases: [lease({ leaseId: 'l3', first: first!, last: last!, protocol: 'udp', state: 'fencing' })] }, /leases overlap/);
    }
    for (const [first, last] of [[1, 30_015], [30_032, 30_063], [30_128, 65_535]]) {
      await accepts({ leases: [lease({ leaseId: `free-${first}`, first: first!, last: last! })] });
    }
    await refuses({ leases: [lease({ first: 30_016, last: 30_032 })] }, /leases overlap/);
    await refuses({ leases: [lease({ leaseId: 'l4', first: 500, last: 600 })] }, /leases overlap/);
    await accepts({ leases: [lease({ leaseId: 'l4', first: 500, last: 600, space: 'gw/host-b' })] });
    await accepts({ leases: [lease({ first: 30_016, last: 30_030 }), lease({ leaseId: 'l5', first: 30_031, last: 30_031 })] });
  });

  it('hold for whoever writes to the file, not only for the journal', async () => {
    await accepts({ leases: [lease(), lease({ leaseId: 'l2', first: 31_000, last: 31_001 })], ...historyOf(1) });
    await journal.close();
    const shell = await Connection.open(place.database, 'readWrite');
    await assert.rejects(shell.exec(`UPDATE lease SET first = 30015 WHERE lease_id = 'l2'`), /leases overlap/);
    await assert.rejects(shell.exec(`UPDATE lease SET last = 31000 WHERE lease_id = 'l1'`), /leases overlap/);
    await assert.rejects(shell.exec(`INSERT INTO lease SELECT 'l3', gateway, space, pool, host, 30004, 30005, protocol, state, epoch, generation, 0, 0, 1, '[]' FROM lease`), /leases overlap/);
    await assert.rejects(shell.exec(`UPDATE event SET kind = 'PortReleased'`), /events are never changed/);
    await assert.rejects(shell.exec(`UPDATE audit SET actor = 'nobody'`), /audit records are never changed/);
    await shell.exec(`UPDATE lease SET last = 30007 WHERE lease_id = 'l1'; DELETE FROM event; DELETE FROM audit`);
    await shell.close();
  });

  it('refuse values that no record may have, and name the column', async () => {
    await refuses({ mappings: [mapping({ port: 65_536 })] }, /CHECK.*port/);
    await refuses({ mappings: [mapping({ internalPort: 0 })] }, /CHECK.*internal_port/);
    await refuses({ mappings: [mapping({ state: 'gone' as 'live' })] }, /CHECK.*state/);
    await refuses({ mappings: [mapping({ protocol: 'sctp' as 'tcp' })] }, /CHECK.*protocol/);
    await refuses({ mappings: [mapping({ createdAtMs: 1.5 })] }, /created_at_ms/);
    await refuses({ mappings: [mapping({ tenant: undefined as unknown as string })] }, /NOT NULL.*tenant/);
    await refuses({ leases: [lease({ first: 30_001, last: 30_000 })] }, /CHECK/);
    await refuses({ leases: [lease({ first: 0 })] }, /CHECK/);
    await refuses({ pools: [pool({ strategy: 'lucky' as 'random' })] }, /CHECK.*strategy/);
  });

  it('keep what belongs to one gateway from another', async () => {
    const other = gatewayRecord({ gateway: 'gw-2', ordinal: 2 });
    await journal.createGateway(other);
    await accepts({ environments: [environment()], hosts: [host()], pools: [pool()], requests: [request()] });
    const append = (of: Partial<Changes>) => journal.append('gw-2', 0, changes(1, of, other));
    await assert.rejects(append({ environments: [environment({ tenant: 'thief' })] }), ConstraintViolated);
    await assert.rejects(append({ hosts: [host()] }), ConstraintViolated);
    await append({ pools: [pool()], requests: [request()], removedPools: ['ssh'], removedRequests: ['r1'] });
    assert.deepEqual((await journal.load('gw'))?.pools, [pool()]);
    assert.deepEqual((await journal.load('gw'))?.requests, [request()]);
    await assert.rejects(journal.createGateway(other), ConstraintViolated);
    await assert.rejects(journal.createGateway({ ...other, gateway: 'gw-3' }), ConstraintViolated);
  });

  it('refuse to delete a gateway that is in use; afterwards only its audit records are left', async () => {
    await accepts({ pools: [pool()], hosts: [host()], leases: [lease()], forgotten: [forgotten()], overrides: [override()], ...historyOf(1) });
    await assert.rejects(journal.deleteGateway('gw'), ConstraintViolated);
    await accepts({ removedPools: ['ssh'], removedHosts: ['host-a'], removedLeases: ['l1'] });
    await assert.rejects(journal.deleteGateway('gw'), /not released/);
    await accepts({ mappings: historyOf(1).mappings!.map((one) => ({ ...one, state: 'released' })) });
    await journal.deleteGateway('gw');
    await journal.deleteGateway('gw');
    assert.deepEqual(await journal.gateways(), []);
    for (const table of ['mapping', 'environment', 'request', 'event', 'forgotten_host', 'mass_loss_override', 'workload']) assert.equal(await place.count(table), 0, table);
    assert.equal(await place.count('audit'), 1);
    await journal.createGateway(gatewayRecord());
    await journal.append('gw', 0, allocation(1));
  });
});

function historyOf(n: number): Partial<Changes> {
  const { environments, mappings, requests, events, audits } = allocation(n);
  return { environments, mappings, requests, events, audits };
}
