/** Rules and sets on the real kernel, as seen by connections. */
import assert from 'node:assert/strict';
import { RulesDriver } from '../../../agent/drivers/rules/driver.js';
import type { Forward, RulesSpec } from '../../../agent/drivers/rules/spec.js';
import { ADDRESS, Bench } from './bench.js';

const TRANSPORTS = ['tcp', 'udp'] as const;
const FAMILIES = ['v4', 'v6'] as const;
const EVERY = TRANSPORTS.flatMap(transport => FAMILIES.map(family => [transport, family] as const));

const MAPPED = 30_001;
const LEASED = 30_002;
const TO_HOST = 30_003;
const SAME_PORT = 30_004;
const TO_LEASE = 30_007;
const FREE = 40_000;
const PRIVATE = 8_080;

const port = (id: string, number: number, more: Partial<Forward>): Forward =>
  ({ id, generation: 7, transport: 'tcp', ports: { first: number, last: number }, to: ADDRESS.target.v4, toPort: PRIVATE, hairpin: true, ...more });

export function specOf(forwards: readonly Forward[], more: Partial<RulesSpec> = {}): RulesSpec {
  const leased = TRANSPORTS.map(transport => ({ transport, ports: { first: 30_000, last: 30_255 } }));
  return { addresses: [ADDRESS.host.v4, ADDRESS.host.v6], leased, forwards, snat: false, ...more };
}

describe('traffic through the rules', function () {
  let bench: Bench;
  let driver: RulesDriver;
  const forwards = EVERY.flatMap(([transport, family]) => [
    port('m-mapped', MAPPED, { transport, to: ADDRESS.target[family] }),
    port('m-to-host', TO_HOST, { transport, to: ADDRESS.bridge[family] }),
    port('m-to-lease', TO_LEASE, { transport, to: ADDRESS.host[family], toPort: LEASED }),
    port('m-same', SAME_PORT, { transport, to: ADDRESS.bridge[family], toPort: SAME_PORT }),
  ]);
  const spec = specOf(forwards);

  before(async () => {
    bench = await Bench.start();
    await bench.onHost('iptables', ['-P', 'FORWARD', 'DROP']);
    await bench.onHost('ip6tables', ['-P', 'FORWARD', 'DROP']);
    driver = new RulesDriver({ run: bench.onHost });
    for (const [transport, family] of EVERY) {
      await bench.listen('target', transport, PRIVATE, ADDRESS.target[family]);
      for (const number of [MAPPED, LEASED, FREE]) await bench.listen('host', transport, number, ADDRESS.host[family]);
      for (const number of [PRIVATE, SAME_PORT]) await bench.listen('host', transport, number, ADDRESS.bridge[family]);
    }
    await driver.apply(spec, { observe: true });
  });
  after(() => bench?.close());

  for (const [transport, family] of EVERY) {
    const what = `${transport} over ${family}`;
    const at = (number: number, from: 'client' | 'host' | 'target' | 'other' = 'client'): Promise<string> =>
      bench.ask(from, transport, [ADDRESS.host[family], number]);

    it(`${what} reaches the target with the address of the client, though the policy of FORWARD is DROP`, async () => {
      assert.equal(await at(MAPPED), `target sees ${ADDRESS.client[family]}`);
    });

    it(`${what} reaches the target from the host itself`, async () => {
      assert.equal(await at(MAPPED, 'host'), `target sees ${ADDRESS.host[family]}`);
    });

    it(`${what} reaches a target that calls its own public port`, async () => {
      assert.equal(await at(MAPPED, 'target'), `target sees ${ADDRESS.bridge[family]}`);
    });

    it(`${what} of a leased port without a mapping reaches no listener, from anywhere`, async () => {
      for (const from of ['client', 'host', 'target'] as const) assert.ok(await bench.isSilent(from, transport, [ADDRESS.host[family], LEASED]), from);
    });

    it(`${what} of other ports is not touched`, async () => {
      assert.equal(await at(FREE), `host sees ${ADDRESS.client[family]}`);
      assert.equal(await at(FREE, 'host'), `host sees ${ADDRESS.host[family]}`);
    });

    it(`${what} reaches a target on the host: another address, another port, the same port of another address`, async () => {
      assert.equal(await at(TO_HOST), `host sees ${ADDRESS.client[family]}`);
      assert.equal(await at(SAME_PORT), `host sees ${ADDRESS.client[family]}`);
      assert.equal(await at(TO_LEASE), `host sees ${ADDRESS.client[family]}`);
      assert.equal(await at(SAME_PORT, 'host'), `host sees ${ADDRESS.host[family]}`);
    });
  }

  for (const [at, set] of ['portlease-cut4', 'portlease-wide4'].entries()) it(`from an entry of ${set} is dropped when it is new`, async () => {
    const own = 6_000 + at * 100;
    await bench.listen('client', 'udp', 5_000 + at, ADDRESS.client.v4);
    const push = (fromPort: number) => ['host', 'udp', [ADDRESS.client.v4, 5_000 + at], { fromPort, from: ADDRESS.host.v4 }] as const;
    assert.equal(await bench.ask(...push(own + 1)), `client sees ${ADDRESS.host.v4}`);
    await bench.onHost('ipset', ['add', set, `${ADDRESS.host.v4},udp:${own + 2}`, 'timeout', '60']);
    assert.ok(await bench.isSilent(...push(own + 2)));
    await bench.listen('host', 'udp', FREE + 1 + at, ADDRESS.host.v4);
    await bench.onHost('ipset', ['add', set, `${ADDRESS.client.v4},udp:${own + 3}`, 'timeout', '60']);
    const call = (fromPort: number) => ['client', 'udp', [ADDRESS.host.v4, FREE + 1 + at], { fromPort, from: ADDRESS.client.v4 }] as const;
    assert.ok(await bench.isSilent(...call(own + 3)));
    assert.equal(await bench.ask(...call(own + 4)), `host sees ${ADDRESS.client.v4}`);
    assert.equal((await driver.apply(spec, { observe: true })).changed, 0, 'its entries belong to others');
  });

  it('between two targets of the host goes through the host, so that the answer finds its way back', async () => {
    const more = { ...spec, forwards: [...forwards, port('m-other', 30_005, { to: ADDRESS.other.v4 })] };
    await driver.apply(more, { observe: false });
    assert.equal(await bench.ask('other', 'tcp', [ADDRESS.host.v4, MAPPED]), `target sees ${ADDRESS.bridge.v4}`);
    await driver.apply(spec, { observe: false });
  });

  it('that is established goes on while rules of its chain change, are flushed and are healed', async () => {
    const client = bench.guest('client');
    const expected = `target sees ${ADDRESS.client.v4}`;
    assert.equal(await bench.ask('client', 'tcp', [ADDRESS.host.v4, MAPPED], { keep: 'open' }), expected);
    await driver.apply({ ...spec, forwards: [...forwards, port('m-more', 30_006, {})] }, { observe: false });
    assert.equal(await client.tell({ do: 'again', keep: 'open' }), expected);
    await driver.apply(spec, { observe: false });
    assert.equal(await client.tell({ do: 'again', keep: 'open' }), expected);
    await bench.onHost('iptables', ['-t', 'nat', '-F']);
    assert.equal(await client.tell({ do: 'again', keep: 'open' }), expected);
    await driver.apply(spec, { observe: true });
    assert.equal(await client.tell({ do: 'again', keep: 'open' }), expected);
  });

  it('stays closed to local listeners while the nat table is flushed, and goes on when it is healed', async () => {
    for (const tool of ['iptables', 'ip6tables']) await bench.onHost(tool, ['-t', 'nat', '-F']);
    for (const [transport, family] of EVERY) {
      for (const from of ['client', 'host', 'target'] as const) {
        assert.ok(await bench.isSilent(from, transport, [ADDRESS.host[family], MAPPED]), `${transport} ${family} ${from}`);
      }
    }
    const { changed, repaired } = await driver.apply(spec, { observe: true });
    assert.ok(repaired > 0 && repaired === changed);
    for (const [transport, family] of EVERY) assert.equal(await bench.ask('client', transport, [ADDRESS.host[family], MAPPED]), `target sees ${ADDRESS.client[family]}`);
  });
});

describe('ranges through the rules', () => {
  let bench: Bench;
  before(async () => { bench = await Bench.start(); });
  after(() => bench?.close());

  it('lead to a host with the port kept, over the edges of blocks, and with SNAT where it is asked for', async () => {
    const driver = new RulesDriver({ run: bench.onHost });
    const route = (id: string, first: number, last: number, to: string): Forward => ({ id, generation: 9, transport: 'tcp', ports: { first, last }, to, toPort: undefined, hairpin: false });
    const forwards = [route('l-1', 30_000, 30_255, ADDRESS.target.v4), route('l-2', 30_256, 30_256, ADDRESS.other.v4)];
    await driver.apply(specOf(forwards), { observe: true });
    for (const number of [30_000, 30_207, 30_208, 30_255]) {
      await bench.listen('target', 'tcp', number);
      assert.equal(await bench.ask('client', 'tcp', [ADDRESS.host.v4, number]), `target sees ${ADDRESS.client.v4}`);
    }
    await bench.listen('other', 'tcp', 30_256);
    assert.equal(await bench.ask('client', 'tcp', [ADDRESS.host.v4, 30_256]), `other sees ${ADDRESS.client.v4}`);
    await driver.apply(specOf(forwards, { snat: true }), { observe: false });
    assert.equal(await bench.ask('client', 'tcp', [ADDRESS.host.v4, 30_255]), `target sees ${ADDRESS.bridge.v4}`);
    assert.equal(await bench.ask('client', 'tcp', [ADDRESS.host.v4, 30_256]), `other sees ${ADDRESS.bridge.v4}`);
  });

  it('are re-pointed for new connections in one step', async () => {
    const driver = new RulesDriver({ run: bench.onHost });
    const route = (to: string): Forward => ({ id: 'l-1', generation: 9, transport: 'tcp', ports: { first: 30_000, last: 30_255 }, to, toPort: undefined, hairpin: false });
    await driver.apply(specOf([route(ADDRESS.target.v4)]), { observe: true });
    assert.equal(await bench.ask('client', 'tcp', [ADDRESS.host.v4, 30_000]), `target sees ${ADDRESS.client.v4}`);
    await bench.listen('other', 'tcp', 30_000);
    await driver.apply(specOf([{ ...route(ADDRESS.other.v4), generation: 10 }]), { observe: false });
    assert.equal(await bench.ask('client', 'tcp', [ADDRESS.host.v4, 30_000]), `other sees ${ADDRESS.client.v4}`);
  });
});
