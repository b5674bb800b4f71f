import assert from 'node:assert/strict';
import type { ClientLimits } from '../../../shared/desired.js';
import type { Transport } from '../../../shared/ports.js';
import { eventually } from '../../support/wait.js';
import { ADDRESS } from '../rules/bench.js';
import { Machine } from './machine.js';
import { lease, mapping } from './objects.js';

const RANGE = lease({ first: 30_000, last: 30_015 });
const PORT = 30_001;
const SERVICE = 8_000;
/** The other address of the client. */
const SECOND = { v4: '10.80.1.3', v6: 'fd80:1::3' } as const;
const FAMILIES = ['v4', 'v6'] as const;
type Family = (typeof FAMILIES)[number];
const only = (address: string): string => `${address}/${address.includes(':') ? 128 : 32}`;
const GREETING = 'target';

describe('a limited mapping on a real host', () => {
  let machine: Machine;
  let version = 2;

  beforeEach(async () => {
    machine = await Machine.start(['host']);
    const { bench } = machine;
    // On the host's side nothing has to be known of the second address: it is on the same cable.
    for (const family of FAMILIES) await bench.inPlace('client', 'ip', ['addr', 'add', `${SECOND[family]}/${family === 'v4' ? 24 : 64}`, 'dev', 'e0', ...family === 'v6' ? ['nodad'] : []]);
  });
  afterEach(() => machine.close());

  const serve = async (family: Family = 'v4'): Promise<void> => {
    for (const transport of ['tcp', 'udp'] as const) await machine.talker('target').serve(transport, SERVICE, GREETING, ADDRESS.target[family]);
  };
  /** Wants the mapping with these limits; what is no longer allowed has ended then. */
  const limit = (limits: ClientLimits | undefined, family: Family = 'v4') => {
    version++;
    return machine.want(RANGE, mapping(PORT, ADDRESS.target[family], { internalPort: SERVICE, version, ...(limits === undefined ? {} : { limits }) }));
  };
  const networks = (...list: string[]): ClientLimits => ({ networks: list, maxConnections: 0 });
  const atMost = (maxConnections: number): ClientLimits => ({ networks: [], maxConnections });
  const open = (name: string, transport: Transport, from: string, family: Family = 'v4') => machine.talker('client').openFrom(name, transport, from, [ADDRESS.host[family], PORT]);
  /** Nobody answers; 400 ms are long over these cables. */
  const isRefused = async (transport: Transport, from: string, { family = 'v4', place = 'client' }: { family?: Family; place?: 'client' | 'host' | 'target' } = {}): Promise<boolean> =>
    await machine.bench.isSilent(place, transport, [ADDRESS.host[family], PORT], { from });
  const goesOn = (name: string) => machine.talker('client').hearsMore(name);
  const hasEnded = async (name: string): Promise<void> => {
    const { received } = await machine.talker('client').look(name);
    const dropped = await machine.droppedByCut() + await machine.droppedByCut('ip6tables');
    await eventually('packets of the server are dropped', async () => await machine.droppedByCut() + await machine.droppedByCut('ip6tables') >= dropped + 2, { withinMs: 10_000 });
    assert.equal((await machine.talker('client').look(name)).received, received);
  };

  for (const transport of ['tcp', 'udp'] as const) {
    for (const family of FAMILIES) {
      it(`reaches clients of its networks, and no others, over ${transport} and IP${family}, though a process of the host listens on the port`, async () => {
        await serve(family);
        await machine.talker('host').serve(transport, PORT, 'local', ADDRESS.host[family]);
        await limit(networks('203.0.113.0/24', '2001:db8::/32', only(SECOND[family])), family);
        assert.equal(await open('welcome', transport, SECOND[family], family), GREETING);
        assert.ok(await isRefused(transport, ADDRESS.client[family], { family }));
      });

      it(`ends a ${transport} connection over IP${family} of a client that is allowed no more, and leaves the others alone`, async () => {
        await serve(family);
        await limit(undefined, family);
        await open('first', transport, ADDRESS.client[family], family);
        await open('second', transport, SECOND[family], family);
        await limit(networks(only(SECOND[family])), family);
        await hasEnded('first');
        await goesOn('second');
        assert.ok(await isRefused(transport, ADDRESS.client[family], { family }));
        await limit(networks(only(SECOND[family]), only(ADDRESS.client[family])), family);
        await goesOn('second');
        assert.equal(await open('again', transport, ADDRESS.client[family], family), GREETING);
      });

      it(`has room for exactly so many ${transport} connections over IP${family}`, async () => {
        await serve(family);
        await limit(atMost(3), family);
        for (const [name, from] of [['a', ADDRESS.client[family]], ['b', SECOND[family]], ['c', ADDRESS.client[family]]] as const) assert.equal(await open(name, transport, from, family), GREETING);
        for (const from of [ADDRESS.client[family], SECOND[family]]) assert.ok(await isRefused(transport, from, { family }), from);
        for (const name of ['a', 'b', 'c']) await goesOn(name);
      });
    }
  }

  it('counts TCP and UDP together, of this mapping alone, and lets another in when one has ended', async () => {
    await serve();
    version++;
    const other = mapping(30_002, ADDRESS.target.v4, { internalPort: SERVICE, version, limits: atMost(2) });
    await machine.want(RANGE, other, mapping(PORT, ADDRESS.target.v4, { internalPort: SERVICE, version, limits: atMost(2) }));
    await open('tcp', 'tcp', ADDRESS.client.v4);
    await open('udp', 'udp', ADDRESS.client.v4);
    for (const transport of ['tcp', 'udp'] as const) assert.ok(await isRefused(transport, SECOND.v4), transport);
    for (const name of ['x', 'y']) assert.equal(await machine.talker('client').open(name, 'tcp', ADDRESS.host.v4, 30_002), GREETING);
    await machine.talker('client').end('tcp');
    await eventually('there is room again', async () => await machine.bench.ask('client', 'tcp', [ADDRESS.host.v4, PORT], { timeoutMs: 500 }) !== 'silent', { withinMs: 10_000 });
  });

  it('does not count clients of other networks', async () => {
    await serve();
    await limit({ networks: [only(SECOND.v4)], maxConnections: 1 });
    for (let i = 0; i < 3; i++) assert.ok(await isRefused('tcp', ADDRESS.client.v4));
    assert.equal(await open('one', 'tcp', SECOND.v4), GREETING);
    assert.ok(await isRefused('tcp', SECOND.v4));
  });

  it('takes the host itself and its guests for clients as others: by the address that they come from', async () => {
    await serve();
    await limit(networks(only(ADDRESS.client.v4)));
    for (const place of ['host', 'target'] as const) assert.ok(await isRefused('tcp', ADDRESS[place].v4, { place }), place);
    await limit(networks(only(ADDRESS.host.v4), '10.80.2.0/24'));
    for (const place of ['host', 'target'] as const) assert.notEqual(await machine.bench.ask(place, 'tcp', [ADDRESS.host.v4, PORT], { from: ADDRESS[place].v4 }), 'silent', place);
    assert.ok(await isRefused('tcp', ADDRESS.client.v4));
  });

  it('has, when its limit is raised, room for those that were not there before, and no more', async () => {
    await serve();
    await limit(atMost(2));
    for (const name of ['a', 'b']) await open(name, 'tcp', ADDRESS.client.v4);
    await limit(atMost(3));
    assert.equal(await open('c', 'tcp', SECOND.v4), GREETING);
    assert.ok(await isRefused('tcp', ADDRESS.client.v4));
    for (const name of ['a', 'b', 'c']) await goesOn(name);
  });

  for (const transport of ['tcp', 'udp'] as const) {
    it(`ends as many ${transport} connections as are beyond a limit that is lowered, and none of the others`, async () => {
      await serve();
      const names = ['a', 'b', 'c', 'd'];
      await limit(undefined);
      for (const name of names) await open(name, transport, ADDRESS.client.v4);
      await limit(atMost(2));
      const before = await Promise.all(names.map(async name => (await machine.talker('client').look(name)).received));
      const more = async (): Promise<boolean[]> => Promise.all(names.map(async (name, i) => (await machine.talker('client').look(name)).received > (before[i] ?? 0) + 3));
      await eventually('two go on', async () => (await more()).filter(Boolean).length >= 2, { withinMs: 10_000 });
      assert.equal((await more()).filter(Boolean).length, 2);
      assert.ok(await isRefused(transport, SECOND.v4));
    });
  }

  it('never has more connections than its limit after its rules were flushed, and room again for those that end', async () => {
    await serve();
    await limit(atMost(2));
    for (const name of ['a', 'b']) await open(name, 'tcp', ADDRESS.client.v4);
    await machine.bench.onHost('iptables', ['-t', 'nat', '-F']);
    await machine.outcome('drift is repaired', ({ driftRepairs }) => driftRepairs > 0);
    assert.ok(await isRefused('tcp', SECOND.v4));
    for (const name of ['a', 'b']) await goesOn(name);
    await machine.talker('client').end('a');
    await eventually('there is room again', async () => await machine.bench.ask('client', 'tcp', [ADDRESS.host.v4, PORT], { from: SECOND.v4, timeoutMs: 500, keep: 'kept' }) !== 'silent', { withinMs: 15_000 });
    assert.ok(await isRefused('tcp', SECOND.v4));
  });

  it('keeps everybody else away while the nat table is flushed', async () => {
    await serve();
    await machine.talker('host').serve('tcp', PORT, 'local', ADDRESS.host.v4);
    await limit(networks(only(SECOND.v4)));
    await machine.stopLoop();
    await machine.bench.onHost('iptables', ['-t', 'nat', '-F']);
    for (const from of [ADDRESS.client.v4, SECOND.v4]) assert.ok(await isRefused('tcp', from), from);
  });

  it('counts on when the agent restarts, which sees no drift', async () => {
    await serve();
    await limit({ networks: ['10.80.0.0/16'], maxConnections: 2 });
    await open('a', 'tcp', ADDRESS.client.v4);
    await machine.stopLoop();
    await machine.startLoop();
    await machine.outcome('the rules stand', ({ applied }) => applied.revision === 1);
    await goesOn('a');
    assert.equal(await open('b', 'tcp', SECOND.v4), GREETING);
    assert.ok(await isRefused('tcp', ADDRESS.client.v4));
    assert.equal(machine.outcomes.at(-1)?.outcome.driftRepairs, 0);
  });

  it('is not served, and says so, where clients cannot be told apart; what was connected ends', async () => {
    await serve();
    await limit(networks(only(ADDRESS.client.v4)));
    await open('one', 'tcp', ADDRESS.client.v4);
    version++;
    const hidden = mapping(PORT, ADDRESS.target.v4, { internalPort: SERVICE, version, limits: networks(only(ADDRESS.client.v4)), clientsHidden: true });
    const { problems } = await machine.want(RANGE, hidden);
    assert.deepEqual(problems.map(({ key, reason }) => [key, reason]), [[`mapping/m${PORT}`, 'CLIENTS_HIDDEN']]);
    await hasEnded('one');
    assert.ok(await isRefused('tcp', ADDRESS.client.v4));
  });
});
