import assert from 'node:assert/strict';
import { eventually } from '../../support/wait.js';
import { ADDRESS } from '../rules/bench.js';
import { Machine } from './machine.js';
import { lease, mapping, release } from './objects.js';

const RANGE = lease({ first: 30_000, last: 30_015 });

/** The server has tried to go on, in vain: its packets were dropped, and the client heard nothing of them. */
async function staysDead(machine: Machine, name: string, tool = 'iptables'): Promise<void> {
  const client = machine.talker('client');
  const { received } = await client.look(name);
  const dropped = await machine.droppedByCut(tool);
  await eventually('packets of the old server are dropped', async () => await machine.droppedByCut(tool) >= dropped + 2, { withinMs: 10_000 });
  assert.equal((await client.look(name)).received, received);
}

describe('a released port, on a real host', () => {
  let machine: Machine;
  beforeEach(async () => { machine = await Machine.start(['host']); });
  afterEach(() => machine.close());

  for (const transport of ['tcp', 'udp'] as const) {
    for (const family of ['v4', 'v6'] as const) {
      it(`ends an established ${transport} connection over IP${family}, with the same port on both ends and a server that goes on sending`, async () => {
        const [client, target] = [machine.talker('client'), machine.talker('target')];
        await target.serve(transport, 30_000, 'target', ADDRESS.target[family]);
        const wanted = mapping(30_000, ADDRESS.target[family]);
        await machine.want(RANGE, wanted);
        assert.equal(await client.open('one', transport, ADDRESS.host[family], 30_000), 'target');
        await machine.want(RANGE, release(wanted));
        await machine.confirmed('release/m30000');
        await staysDead(machine, 'one', family === 'v4' ? 'iptables' : 'ip6tables');
      });
    }

    it(`leaves a ${transport} connection of another mapping to the same target alone`, async () => {
      const [client, target] = [machine.talker('client'), machine.talker('target')];
      await target.serve(transport, 8_000, 'target', ADDRESS.target.v4);
      const [gone, kept] = [30_001, 30_002].map(port => mapping(port, ADDRESS.target.v4, { internalPort: 8_000 })) as [ReturnType<typeof mapping>, ReturnType<typeof mapping>];
      await machine.want(RANGE, gone, kept);
      await client.open('gone', transport, ADDRESS.host.v4, 30_001);
      await client.open('kept', transport, ADDRESS.host.v4, 30_002);
      await machine.want(RANGE, release(gone), kept);
      await machine.confirmed('release/m30001');
      await client.hearsMore('kept');
      await staysDead(machine, 'gone');
      assert.equal((await client.look('kept')).end, '');
    });

    it(`ends a ${transport} connection to a target that is the host itself, and no other connection of that server`, async () => {
      const [client, host] = [machine.talker('client'), machine.talker('host')];
      await host.serve(transport, 8_000, 'host', ADDRESS.bridge.v4);
      const wanted = mapping(30_003, ADDRESS.bridge.v4, { internalPort: 8_000 });
      await machine.want(RANGE, wanted);
      await client.open('mapped', transport, ADDRESS.host.v4, 30_003);
      await client.open('direct', transport, ADDRESS.bridge.v4, 8_000);
      await machine.want(RANGE, release(wanted));
      await machine.confirmed('release/m30003');
      if (transport === 'tcp') await eventually('the client is told', async () => (await client.look('mapped')).end === 'ECONNRESET', { withinMs: 10_000 });
      else await staysDead(machine, 'mapped');
      await client.hearsMore('direct');
    });
  }

  for (const transport of ['tcp', 'udp'] as const) {
    it(`ends a ${transport} connection to another address of the host with the same port on both ends`, async () => {
      const [client, host] = [machine.talker('client'), machine.talker('host')];
      const wanted = mapping(30_004, ADDRESS.bridge.v4);
      await machine.want(RANGE, wanted);
      await host.serve(transport, 30_004, 'host', ADDRESS.bridge.v4);
      assert.equal(await client.open('one', transport, ADDRESS.host.v4, 30_004), 'host');
      await machine.want(RANGE, release(wanted));
      await machine.confirmed('release/m30004');
      if (transport === 'tcp') await eventually('the client is told', async () => (await client.look('one')).end === 'ECONNRESET', { withinMs: 10_000 });
      else await staysDead(machine, 'one');
    });
  }

  it('revives the connection when nothing but the rule and the entry go: the bench bites', async () => {
    const [client, target] = [machine.talker('client'), machine.talker('target')];
    await target.serve('udp', 30_000, 'target', ADDRESS.target.v4);
    await machine.want(RANGE, mapping(30_000, ADDRESS.target.v4));
    await client.open('one', 'udp', ADDRESS.host.v4, 30_000);
    await machine.stopLoop();
    await machine.bench.rules('*nat\n-F PORTLEASE\n-F PORTLEASE-U753\n-F PORTLEASE-T753\nCOMMIT\n');
    await machine.bench.onHost('conntrack', ['-D', '-p', 'udp', '--orig-port-dst', '30000']);
    await client.hearsMore('one');
  });
});
