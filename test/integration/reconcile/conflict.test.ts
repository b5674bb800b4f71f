import assert from 'node:assert/strict';
import type { RoundOutcome } from '../../../agent/reconcile/loop.js';
import { Occupier, SECRET, type Place } from '../holders/occupier.js';
import { ADDRESS } from '../rules/bench.js';
import { Machine } from './machine.js';
import { lease, mapping } from './objects.js';

const RANGE = lease({ first: 30_000, last: 30_015 });
const ANY = '0.0.0.0';

function blocked({ problems }: RoundOutcome): string[] {
  return problems.map(({ key, reason }) => `${key} ${reason}`);
}

describe('a foreign process on a real host with rules', () => {
  let machine: Machine;
  const occupiers: Occupier[] = [];
  beforeEach(async () => { machine = await Machine.start(['host']); });
  afterEach(async () => {
    for (const occupier of occupiers.splice(0)) await occupier.end();
    await machine.close();
  });

  const occupy = async (...places: Place[]): Promise<Occupier> => {
    const occupier = await Occupier.start(places, { namespace: machine.bench.namespace('host') });
    occupiers.push(occupier);
    return occupier;
  };
  const serve = async (port: number): Promise<void> => {
    await machine.talker('target').serve('tcp', port, 'target', ADDRESS.target.v4);
  };

  it('that takes the port of a mapping is found and named; clients keep reaching the target, never the process, and it is over when the process ends', async () => {
    const client = machine.talker('client');
    await serve(8_000);
    assert.deepEqual((await machine.want(RANGE, mapping(30_001, ADDRESS.target.v4, { internalPort: 8_000, protocol: 'tcp' }))).problems, []);
    await client.open('before', 'tcp', ADDRESS.host.v4, 30_001);
    const occupier = await occupy({ transport: 'tcp', address: ANY, port: 30_001 });
    const outcome = await machine.outcome('the mapping is in conflict', ({ problems }) => problems.length > 0);
    assert.deepEqual(blocked(outcome), ['mapping/m30001 PORT_CONFLICT']);
    assert.equal(outcome.problems[0]?.message, `node (pid ${occupier.pid}, user nobody) listens on tcp 0.0.0.0:30001`);
    assert.deepEqual(outcome.occupied, [{ transport: 'tcp', port: 30_001 }]);
    const [conflict] = outcome.conflicts ?? [];
    assert.deepEqual([conflict?.uid, conflict?.user, conflict?.holder?.pid, conflict?.holder?.program], [65_534, 'nobody', occupier.pid, 'node']);
    assert.ok(!JSON.stringify(outcome).includes(SECRET));
    await client.hearsMore('before');
    assert.equal(await client.open('during', 'tcp', ADDRESS.host.v4, 30_001), 'target');
    await occupier.end();
    const after = await machine.outcome('the mapping is in conflict no more', ({ problems }) => problems.length === 0);
    assert.deepEqual([after.occupied, after.conflicts], [[], []]);
    await client.hearsMore('before');
  });

  it('that was there before the mapping is found in the same round, and clients of the mapping do not reach it', async () => {
    await serve(8_000);
    const occupier = await occupy({ transport: 'tcp', address: ADDRESS.host.v4, port: 30_002 });
    const outcome = await machine.want(RANGE, mapping(30_002, ADDRESS.target.v4, { internalPort: 8_000, protocol: 'tcp' }), mapping(30_003, ADDRESS.target.v4, { internalPort: 8_000, protocol: 'tcp' }));
    assert.deepEqual(blocked(outcome), ['mapping/m30002 PORT_CONFLICT']);
    assert.equal(outcome.conflicts?.[0]?.holder?.pid, occupier.pid);
    assert.equal(await machine.talker('client').open('one', 'tcp', ADDRESS.host.v4, 30_002), 'target');
  });

  it('is a conflict with UDP and with IPv6 alone, but not on loopback, nor beside the lease', async () => {
    await machine.want(RANGE, mapping(30_004, ADDRESS.target.v4), mapping(30_005, ADDRESS.target.v6), mapping(30_006, ADDRESS.target.v4), mapping(30_007, ADDRESS.target.v4, { protocol: 'tcp' }));
    await occupy({ transport: 'tcp', address: '127.0.0.1', port: 30_006 }, { transport: 'tcp', address: '::1', port: 30_006 }, { transport: 'tcp', address: ANY, port: 40_000 });
    await occupy({ transport: 'udp', address: ANY, port: 30_004 }, { transport: 'tcp', address: '::', port: 30_005, ipv6Only: true }, { transport: 'udp', address: ANY, port: 30_007 });
    const outcome = await machine.outcome('all are found', ({ conflicts = [] }) => conflicts.length === 3);
    assert.deepEqual(blocked(outcome).sort(), ['mapping/m30004 PORT_CONFLICT', 'mapping/m30005 PORT_CONFLICT']);
    assert.deepEqual(outcome.conflicts?.map(({ transport, port, address }) => `${transport} ${port} ${address}`), ['tcp 30005 ::', 'udp 30004 0.0.0.0', 'udp 30007 0.0.0.0']);
  });

  it('is found again by an agent that was started anew, whose rules stay', async () => {
    const client = machine.talker('client');
    await serve(8_000);
    await machine.want(RANGE, mapping(30_008, ADDRESS.target.v4, { internalPort: 8_000, protocol: 'tcp' }));
    await client.open('one', 'tcp', ADDRESS.host.v4, 30_008);
    await machine.stopLoop();
    await occupy({ transport: 'tcp', address: ANY, port: 30_008 });
    await machine.startLoop();
    await machine.outcome('it is found', (outcome) => blocked(outcome).includes('mapping/m30008 PORT_CONFLICT'));
    await client.hearsMore('one');
  });
});
