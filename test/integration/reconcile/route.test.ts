import assert from 'node:assert/strict';
import { eventually } from '../../support/wait.js';
import { ADDRESS } from '../rules/bench.js';
import { Machine } from './machine.js';
import { route, withdrawal } from './objects.js';

const PORTS = { first: 30_000, last: 30_063 };
const toA = route(PORTS, [ADDRESS.target.v4, ADDRESS.target.v6]);
const toB = route(PORTS, [ADDRESS.other.v4, ADDRESS.other.v6], { host: 'host-b', generation: 7, version: 7, fence: true });

describe('a route of a real gateway', () => {
  let machine: Machine;
  beforeEach(async () => { machine = await Machine.start(['gateway']); });
  afterEach(() => machine.close());

  for (const transport of ['tcp', 'udp'] as const) {
    it(`re-pointed from one host to another, ends ${transport} connections to the first for good and leads new ones to the second`, async () => {
      const [client, a, b] = [machine.talker('client'), machine.talker('target'), machine.talker('other')];
      await a.serve(transport, 30_005, 'host-a', ADDRESS.target.v4);
      await b.serve(transport, 30_005, 'host-b', ADDRESS.other.v4);
      await machine.want(toA);
      assert.equal(await client.open('old', transport, ADDRESS.host.v4, 30_005), 'host-a');
      const sent = await a.sent();
      await machine.want(toB);
      await machine.confirmed(toB.key);
      const { received } = await client.look('old');
      assert.equal(await client.open('new', transport, ADDRESS.host.v4, 30_005), 'host-b');
      await eventually('the first host goes on sending', async () => await a.sent() > sent + 10, { withinMs: 10_000 });
      await eventually('its packets are dropped', async () => await machine.droppedByCut() > 0, { withinMs: 10_000 });
      const old = await client.look('old');
      if (transport === 'tcp') assert.equal(old.received, received, 'nothing more of the first host');
      else assert.equal((await client.look('old')).from, 'host-b', 'the datagrams of the same client go to the second host');
    });
  }

  it('keeps connections that lead to the new host already', async () => {
    const [client, b] = [machine.talker('client'), machine.talker('other')];
    await b.serve('tcp', 30_005, 'host-b', ADDRESS.other.v4);
    await machine.want(route(PORTS, [ADDRESS.other.v4]));
    await client.open('kept', 'tcp', ADDRESS.host.v4, 30_005);
    await machine.want(toB);
    await machine.confirmed(toB.key);
    await client.hearsMore('kept');
  });

  it('keeps the connections of its parts when a lease splits', async () => {
    const [client, a] = [machine.talker('client'), machine.talker('target')];
    await a.serve('tcp', 30_005, 'host-a', ADDRESS.target.v4);
    await machine.want(toA);
    await client.open('kept', 'tcp', ADDRESS.host.v4, 30_005);
    await machine.want(route({ first: 30_000, last: 30_031 }, toA.addresses), route({ first: 30_032, last: 30_063 }, toB.addresses, { fence: true, generation: 8 }));
    await machine.confirmed('route/l30032');
    await client.hearsMore('kept');
  });

  it('that is withdrawn reaches nobody, and its connections are dead when that is confirmed', async () => {
    const [client, a] = [machine.talker('client'), machine.talker('target')];
    await a.serve('udp', 30_005, 'host-a', ADDRESS.target.v4);
    await machine.want(toA);
    await client.open('old', 'udp', ADDRESS.host.v4, 30_005);
    await machine.want(withdrawal({ ...toA, generation: 9 }));
    await machine.confirmed('withdrawal/l30000');
    const { received } = await client.look('old');
    const dropped = await machine.droppedByCut();
    await eventually('packets of the first host are dropped', async () => await machine.droppedByCut() > dropped + 2, { withinMs: 10_000 });
    assert.equal((await client.look('old')).received, received);
    assert.equal((await machine.bench.onHost('conntrack', ['-L', '-p', 'udp', '--orig-port-dst', '30005'])).stdout, '');
  });

  it('that changed while no agent ran is confirmed by the next one, which cuts what leads elsewhere', async () => {
    const [client, a, b] = [machine.talker('client'), machine.talker('target'), machine.talker('other')];
    await a.serve('tcp', 30_005, 'host-a', ADDRESS.target.v4);
    await b.serve('tcp', 30_005, 'host-b', ADDRESS.other.v4);
    await machine.want(toA);
    await client.open('old', 'tcp', ADDRESS.host.v4, 30_005);
    await machine.stopLoop();
    await client.hearsMore('old');
    machine.accept(toB);
    await machine.startLoop();
    await machine.confirmed(toB.key);
    const { received } = await client.look('old');
    await eventually('packets of the first host are dropped', async () => await machine.droppedByCut() > 0, { withinMs: 10_000 });
    assert.equal((await client.look('old')).received, received);
    assert.equal(await client.open('new', 'tcp', ADDRESS.host.v4, 30_005), 'host-b');
  });

  it('without a fence is cut as well when it changed while no agent ran', async () => {
    const [client, a] = [machine.talker('client'), machine.talker('target')];
    await a.serve('udp', 30_005, 'host-a', ADDRESS.target.v4);
    await machine.want(toA);
    await client.open('old', 'udp', ADDRESS.host.v4, 30_005);
    await machine.stopLoop();
    machine.accept({ ...toB, fence: false });
    await machine.startLoop();
    await eventually('packets of the first host are dropped', async () => await machine.droppedByCut() > 0, { withinMs: 10_000 });
  });
});
