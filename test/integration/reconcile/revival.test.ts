/** Connections that were ended stay so when the time is over in which everything of their server was dropped. */
import assert from 'node:assert/strict';
import { eventually } from '../../support/wait.js';
import { ADDRESS } from '../rules/bench.js';
import type { Talker } from '../connections/talker.js';
import { Machine } from './machine.js';
import { lease, mapping, release, route, withdrawal } from './objects.js';

const RANGE = lease({ first: 30_000, last: 30_015 });
const ROUTED = { first: 30_000, last: 30_063 };
const DROP_MS = 1_000;
const TOOL = { v4: 'iptables', v6: 'ip6tables' } as const;
type Family = keyof typeof TOOL;

async function dropTimeIsOver(machine: Machine, family: Family): Promise<void> {
  await eventually('the drop time is over', async () => (await machine.members(`portlease-cut${family[1]}`)).size === 0, { withinMs: 10_000 });
}

/** What the server sends, after `speak` at the latest, is dropped, and the client hears nothing of it. */
async function staysDead(machine: Machine, { name, family, speak }: { name: string; family: Family; speak?: () => Promise<unknown> }): Promise<void> {
  const client = machine.talker('client');
  const { received } = await client.look(name);
  const dropped = await machine.droppedByCut(TOOL[family]);
  await speak?.();
  await eventually('packets of the old server are dropped', async () => await machine.droppedByCut(TOOL[family]) >= dropped + 2,
    { withinMs: 10_000, hint: () => `of ${name}` });
  assert.equal((await client.look(name)).received, received);
}

describe('a connection that was ended, after the drop time, with source NAT on the path and the same port on both ends', () => {
  let machine: Machine;
  afterEach(() => machine.close());

  for (const family of ['v4', 'v6'] as const) {
    it(`is not revived over IP${family} by a UDP server that never stops sending (S12)`, async () => {
      machine = await Machine.start(['host'], { dropMs: DROP_MS });
      const [client, target] = [machine.talker('client'), machine.talker('target')];
      await target.serve('udp', 30_000, 'target', ADDRESS.target[family]);
      const wanted = mapping(30_000, ADDRESS.target[family]);
      await machine.want(RANGE, wanted);
      await client.open('one', 'udp', ADDRESS.host[family], 30_000);
      await machine.want(RANGE, release(wanted, DROP_MS));
      await machine.confirmed('release/m30000');
      await dropTimeIsOver(machine, family);
      await staysDead(machine, { name: 'one', family });
    });

    it(`is not revived over IP${family} by a TCP server that was idle and speaks later (S12)`, async () => {
      machine = await Machine.start(['host'], { dropMs: DROP_MS });
      const [client, target] = [machine.talker('client'), machine.talker('target')];
      await target.serveQuietly(30_000, 'target', ADDRESS.target[family]);
      const wanted = mapping(30_000, ADDRESS.target[family]);
      await machine.want(RANGE, wanted);
      await client.open('one', 'tcp', ADDRESS.host[family], 30_000);
      await machine.want(RANGE, release(wanted, DROP_MS));
      await machine.confirmed('release/m30000');
      await dropTimeIsOver(machine, family);
      await staysDead(machine, { name: 'one', family, speak: () => target.sayAll('it is me') });
    });
  }

  for (const transport of ['tcp', 'udp'] as const) {
    it(`is not revived over ${transport} by the host that a gateway's route led to before, not even after a restart of the agent (S8)`, async () => {
      machine = await Machine.start(['gateway'], { dropMs: DROP_MS });
      const [client, a, b] = [machine.talker('client'), machine.talker('target'), machine.talker('other')];
      if (transport === 'tcp') await a.serveQuietly(30_005, 'host-a', ADDRESS.target.v4);
      else await a.serve('udp', 30_005, 'host-a', ADDRESS.target.v4);
      await b.serve(transport, 30_005, 'host-b', ADDRESS.other.v4);
      await machine.want(route(ROUTED, [ADDRESS.target.v4]));
      assert.equal(await client.openAndListen('old', transport, ADDRESS.host.v4, 30_005), 'host-a');
      const toB = route(ROUTED, [ADDRESS.other.v4], { host: 'host-b', generation: 7, version: 7, fence: true, cutMs: DROP_MS });
      await machine.want(toB);
      await machine.confirmed(toB.key);
      await machine.stopLoop();
      await dropTimeIsOver(machine, 'v4');
      await machine.startLoop();
      await machine.outcome('the rules stand', ({ applied }) => applied.revision === 2);
      await staysDead(machine, { name: 'old', family: 'v4', speak: () => a.sayAll('it is me') });
      assert.equal(await client.open('new', transport, ADDRESS.host.v4, 30_005), 'host-b');
    });
  }

  it('is not revived after a withdrawal, and is remembered anew with each packet', async () => {
    machine = await Machine.start(['gateway'], { dropMs: DROP_MS });
    const [client, a] = [machine.talker('client'), machine.talker('target')];
    await a.serve('udp', 30_005, 'host-a', ADDRESS.target.v4);
    const toA = route(ROUTED, [ADDRESS.target.v4]);
    await machine.want(toA);
    await client.open('old', 'udp', ADDRESS.host.v4, 30_005);
    const gone = withdrawal(toA, DROP_MS);
    await machine.want(gone);
    await machine.confirmed(gone.key);
    await dropTimeIsOver(machine, 'v4');
    const flow = `${ADDRESS.target.v4},udp:30005,${ADDRESS.client.v4}`;
    await machine.bench.onHost('ipset', ['-exist', 'add', 'portlease-flow4', flow, 'timeout', '30']);
    await eventually('the timeout is long again', async () => ((await machine.members('portlease-flow4')).get(flow) ?? 0) > 80_000, { withinMs: 10_000 });
    await staysDead(machine, { name: 'old', family: 'v4' });
  });
});

describe('the port of a connection that was ended', () => {
  let machine: Machine;
  beforeEach(async () => { machine = await Machine.start(['host']); });
  afterEach(() => machine.close());

  it('is free at once for TCP connections that its former target opens from there, to its former client too', async () => {
    const [client, target] = [machine.talker('client'), machine.talker('target')];
    await target.serveQuietly(30_000, 'target', ADDRESS.target.v4);
    await client.serve('tcp', 7_000, 'client', ADDRESS.client.v4);
    const wanted = mapping(30_000, ADDRESS.target.v4);
    await machine.want(RANGE, wanted);
    await client.open('one', 'tcp', ADDRESS.host.v4, 30_000);
    await machine.want(RANGE, release(wanted));
    await machine.confirmed('release/m30000');
    const flow = `${ADDRESS.target.v4},tcp:30000`;
    assert.deepEqual([...(await machine.members('portlease-flow4')).keys()], [`${flow},${ADDRESS.client.v4}`]);
    assert.deepEqual([...(await machine.members('portlease-cut4')).keys()].filter(member => member === flow), [flow]);
    await target.stopServing();
    assert.ok(await target.reaches(ADDRESS.client.v4, 7_000, 5_000, 30_000));
  });

  for (const transport of ['tcp', 'udp'] as const) {
    it(`serves new ${transport} clients when it is mapped again, and the same client, from the same server and from another`, async () => {
      const [client, host, target, other] = (['client', 'host', 'target', 'other'] as const).map(place => machine.talker(place)) as [Talker, Talker, Talker, Talker];
      await target.serve(transport, 30_000, 'target', ADDRESS.target.v4);
      await other.serve(transport, 30_000, 'other', ADDRESS.other.v4);
      const first = mapping(30_000, ADDRESS.target.v4);
      await machine.want(RANGE, first);
      await client.open('one', transport, ADDRESS.host.v4, 30_000);
      await machine.want(RANGE, release(first));
      await machine.confirmed('release/m30000');
      const again = mapping(30_000, ADDRESS.target.v4, { mappingId: 'again', key: 'mapping/again', generation: 5, version: 5 });
      await machine.want(RANGE, again);
      assert.equal(await client.open('two', transport, ADDRESS.host.v4, 30_000), 'target');
      await client.hearsMore('two');
      assert.equal(await host.open('neighbour', transport, ADDRESS.host.v4, 30_000), 'target');
      await machine.want(RANGE, release(again), mapping(30_000, ADDRESS.other.v4, { mappingId: 'third', key: 'mapping/third', generation: 8, version: 8 }));
      await machine.confirmed('release/again');
      assert.equal(await client.open('three', transport, ADDRESS.host.v4, 30_000), 'other');
      await client.hearsMore('three');
    });
  }
});
