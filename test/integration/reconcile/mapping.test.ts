import assert from 'node:assert/strict';
import { eventually } from '../../support/wait.js';
import { ADDRESS } from '../rules/bench.js';
import { Machine } from './machine.js';
import { lease, mapping } from './objects.js';

const RANGE = lease({ first: 30_000, last: 30_015 });

describe('a mapping on a real host', () => {
  let machine: Machine;
  beforeEach(async () => { machine = await Machine.start(['host']); });
  afterEach(() => machine.close());

  for (const transport of ['tcp', 'udp'] as const) {
    it(`that gets another target ends its ${transport} connections to the former one`, async () => {
      const [client, target, other] = [machine.talker('client'), machine.talker('target'), machine.talker('other')];
      await target.serve(transport, 8_000, 'target', ADDRESS.target.v4);
      await other.serve(transport, 8_000, 'other', ADDRESS.other.v4);
      await machine.want(RANGE, mapping(30_001, ADDRESS.target.v4, { internalPort: 8_000 }));
      await client.open('old', transport, ADDRESS.host.v4, 30_001);
      await machine.want(RANGE, mapping(30_001, ADDRESS.other.v4, { internalPort: 8_000, generation: 3, version: 3 }));
      await eventually('packets of the former target are dropped', async () => await machine.droppedByCut() > 2, { withinMs: 10_000 });
      assert.equal(await client.open('new', transport, ADDRESS.host.v4, 30_001), 'other');
    });
  }

  it('takes over a UDP flow that reached the host itself before', async () => {
    const [client, target, host] = [machine.talker('client'), machine.talker('target'), machine.talker('host')];
    await host.serve('udp', 30_002, 'host', ADDRESS.host.v4);
    await target.serve('udp', 8_000, 'target', ADDRESS.target.v4);
    assert.equal(await client.open('one', 'udp', ADDRESS.host.v4, 30_002), 'host');
    const outcome = await machine.want(RANGE, mapping(30_002, ADDRESS.target.v4, { internalPort: 8_000 }));
    assert.deepEqual(outcome.occupied, [{ transport: 'udp', port: 30_002 }]);
    await eventually('the datagrams go to the target', async () => (await client.look('one')).from === 'target', { withinMs: 10_000 });
  });

  it('that vanished without a release ends its connections', async () => {
    const [client, target] = [machine.talker('client'), machine.talker('target')];
    await target.serve('udp', 8_000, 'target', ADDRESS.target.v4);
    await machine.want(RANGE, mapping(30_003, ADDRESS.target.v4, { internalPort: 8_000 }));
    await client.open('one', 'udp', ADDRESS.host.v4, 30_003);
    await machine.want(RANGE);
    await eventually('packets of the target are dropped', async () => await machine.droppedByCut() > 2, { withinMs: 10_000 });
  });

  it('is verified when its target accepts a connection, and not before', async () => {
    const outcome = await machine.want(RANGE, mapping(30_004, ADDRESS.target.v4, { internalPort: 8_000, verify: true, protocol: 'tcp' }));
    assert.deepEqual(outcome.verified, []);
    await machine.talker('target').serve('tcp', 8_000, 'target', ADDRESS.target.v4);
    await machine.outcome('the target has answered', ({ verified }) => verified.includes('m30004'));
  });

  it('keeps every connection when the agent restarts', async () => {
    const [client, target] = [machine.talker('client'), machine.talker('target')];
    await target.serve('tcp', 8_000, 'target', ADDRESS.target.v4);
    await machine.want(RANGE, mapping(30_005, ADDRESS.target.v4, { internalPort: 8_000 }));
    await client.open('one', 'tcp', ADDRESS.host.v4, 30_005);
    await machine.stopLoop();
    await machine.startLoop();
    await machine.outcome('the rules stand', ({ applied }) => applied.revision === 1);
    await client.hearsMore('one');
    assert.equal(machine.outcomes.at(-1)?.outcome.driftRepairs, 0);
  });

  it('leaves the port of a foreign process alone, and exposes none that begins to listen later', async () => {
    const [client, host] = [machine.talker('client'), machine.talker('host')];
    await host.serve('tcp', 30_006, 'foreign', ADDRESS.host.v4);
    const outcome = await machine.want(RANGE);
    assert.deepEqual(outcome.occupied, [{ transport: 'tcp', port: 30_006 }]);
    assert.equal(await client.open('one', 'tcp', ADDRESS.host.v4, 30_006), 'foreign');
    await host.serve('tcp', 30_007, 'later', ADDRESS.host.v4);
    await machine.outcome('both are reported', ({ occupied }) => occupied.length === 2);
    assert.equal(await machine.bench.ask('client', 'tcp', [ADDRESS.host.v4, 30_007]), 'silent');
  });

  it('heals within a round when its rules, sets or cuts are flushed', async () => {
    const [client, target] = [machine.talker('client'), machine.talker('target')];
    await target.serve('tcp', 8_000, 'target', ADDRESS.target.v4);
    await machine.want(RANGE, mapping(30_008, ADDRESS.target.v4, { internalPort: 8_000 }));
    await machine.bench.onHost('iptables', ['-t', 'nat', '-F']);
    await machine.bench.onHost('ipset', ['flush']);
    await machine.outcome('drift is repaired', ({ driftRepairs }) => driftRepairs > 0);
    assert.equal(await client.open('one', 'tcp', ADDRESS.host.v4, 30_008), 'target');
  });
});
