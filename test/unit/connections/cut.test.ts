import assert from 'node:assert/strict';
import { CutIndex, deletionsOf, flowsOf, sourcesOf, type Cut, type Endpoint, type Standing } from '../../../agent/drivers/connections/cut.js';
import { clientsOf } from '../../../agent/drivers/connections/clients.js';
import { cutLines, flowLines, wideLines } from '../../../agent/drivers/connections/cutset.js';
import type { ConntrackEntry, Tuple } from '../../../agent/drivers/connections/entry.js';
import { socketFilter } from '../../../agent/drivers/connections/sockets.js';

const HOST = '10.0.0.1';
const CLIENT = '192.0.2.7';
const OLD: Endpoint = { address: '10.2.0.5', port: 22 };
const standingOf = (endpoints: readonly Endpoint[]): Standing => ({ endpoints: () => endpoints, isTarget: address => endpoints.some(one => one.address === address) });
const NEW: Endpoint = { address: '10.2.0.6', port: 22 };

function tuple(source: string, sourcePort: number, destination: string, destinationPort: number): Tuple {
  return { source, sourcePort, destination, destinationPort };
}

/** A client's connection to a public port that leads to `target`. */
function inward(port: number, target: { address: string; port: number }, transport: 'tcp' | 'udp' = 'tcp'): ConntrackEntry {
  return { transport, original: tuple(CLIENT, 4_000, HOST, port), reply: tuple(target.address, target.port, CLIENT, 4_000) };
}

function cutOf(more: Partial<Cut> = {}): Cut {
  return { transport: 'tcp', ports: { first: 30_000, last: 30_003 }, from: [], dropMs: 60_000, ...more };
}

function doomed(cut: Cut, entries: ConntrackEntry[], leadsTo: readonly Endpoint[] = []): string[] {
  const index = new CutIndex([cut], new Set([HOST]), standingOf(leadsTo));
  return entries.map(entry => index.doom(entry)?.direction ?? 'stays');
}

const to = (endpoint: Endpoint): { address: string; port: number } => ({ address: endpoint.address, port: endpoint.port ?? 0 });

describe('a cut', () => {
  it('dooms connections to its ports, whatever they lead to', () => {
    assert.deepEqual(doomed(cutOf(), [inward(30_000, to(OLD)), inward(30_003, { address: HOST, port: 30_003 })]), ['inward', 'inward']);
  });

  it('ends what a proxy of this machine serves by its socket alone: the proxy goes on from the same port for others', () => {
    const entry = inward(30_000, { address: HOST, port: 30_000 });
    const index = new CutIndex([cutOf({ from: [{ address: HOST, port: undefined, through: '10.2.0.5' }] })], new Set([HOST]), standingOf([]), () => true);
    const found = index.doom(entry);
    assert.equal(found?.direction, 'proxied');
    assert.deepEqual(sourcesOf(index.cuts, [found]), []);
    assert.deepEqual(flowsOf([found], () => false), []);
    assert.deepEqual(deletionsOf([found], standingOf([]), new Set()), [{ kind: 'port', transport: 'tcp', address: HOST, port: 30_000 }]);
    assert.equal(index.doom(inward(30_000, to(OLD)))?.direction, 'inward');
  });

  it('leaves other ports, other transports and other addresses alone', () => {
    const elsewhere = { ...inward(30_000, to(OLD)), original: tuple(CLIENT, 4_000, '10.0.0.2', 30_000) };
    assert.deepEqual(doomed(cutOf(), [inward(30_004, to(OLD)), inward(29_999, to(OLD)), inward(30_000, to(OLD), 'udp'), elsewhere]),
      ['stays', 'stays', 'stays', 'stays']);
  });

  it('leaves connections alone that lead where the port leads now', () => {
    assert.deepEqual(doomed(cutOf(), [inward(30_000, to(NEW)), inward(30_000, to(OLD)), inward(30_000, { ...to(NEW), port: 23 })], [NEW]),
      ['stays', 'inward', 'inward']);
  });

  it('takes a target without a port as one that keeps the number', () => {
    const kept = { address: NEW.address, port: undefined };
    assert.deepEqual(doomed(cutOf(), [inward(30_001, { address: NEW.address, port: 30_001 }), inward(30_001, { address: NEW.address, port: 30_002 })], [kept]),
      ['stays', 'inward']);
  });

  it('dooms what the old target re-created from its side', () => {
    const revived = { transport: 'tcp' as const, original: tuple('10.2.0.5', 22, CLIENT, 4_000), reply: tuple(CLIENT, 4_000, HOST, 30_000) };
    assert.deepEqual(doomed(cutOf({ from: [OLD] }), [revived]), ['revived']);
    assert.deepEqual(doomed(cutOf(), [revived]), ['stays']);
  });

  it('dooms what an unknown server re-created, once its connection was seen', () => {
    const seen = inward(30_000, { address: HOST, port: 30_000 });
    const revived = { transport: 'tcp' as const, original: seen.reply, reply: seen.original };
    assert.deepEqual(doomed(cutOf(), [revived, seen, revived]), ['stays', 'inward', 'revived']);
  });

  it('leaves connections alone that this host itself opened from a leased port', () => {
    const own = { transport: 'tcp' as const, original: tuple(HOST, 30_000, '198.51.100.1', 443), reply: tuple('198.51.100.1', 443, HOST, 30_000) };
    assert.deepEqual(doomed(cutOf({ from: [OLD] }), [own]), ['stays']);
  });

  it('names every cut of a port, so that none is taken for ended too early', () => {
    const cuts = [cutOf(), cutOf({ ports: { first: 30_000, last: 30_000 } })];
    const found = new CutIndex(cuts, new Set([HOST]), standingOf([])).doom(inward(30_000, to(OLD)));
    assert.deepEqual(found?.cuts, cuts);
  });
});

describe('what is dropped and deleted', () => {
  const index = new CutIndex([cutOf()], new Set([HOST]), standingOf([]));
  const found = [inward(30_000, to(OLD)), inward(30_001, { address: '10.2.0.9', port: 30_001 })].map(entry => index.doom(entry) as NonNullable<ReturnType<CutIndex['doom']>>);

  it('are new packets of the known old targets and of those that the table shows', () => {
    const known = cutOf({ from: [{ address: 'fd00::5', port: undefined }, OLD], dropMs: 1_500 });
    assert.equal(cutLines(sourcesOf([known], found)), [
      'add portlease-cut6 fd00::5,tcp:30000-30003 timeout 2',
      'add portlease-cut4 10.2.0.5,tcp:22 timeout 60',
      'add portlease-cut4 10.2.0.9,tcp:30001 timeout 60',
      '',
    ].join('\n'));
  });

  it('are, for days, new packets of each connection that is found, from its server to its client, in both directions once each', () => {
    const index = new CutIndex([cutOf(), cutOf({ transport: 'udp' })], new Set([HOST]), standingOf([]));
    const seen = inward(30_002, { address: 'fd00::9', port: 5_000 }, 'udp');
    const six = { ...seen, reply: { ...seen.reply, destination: 'fd00::7' } };
    const revived = { transport: 'tcp' as const, original: found[0]?.entry.reply as Tuple, reply: found[0]?.entry.original as Tuple };
    const all = [...found, index.doom(six) as (typeof found)[0], { entry: revived, cuts: [cutOf()], direction: 'revived' as const }];
    const flows = flowsOf(all, () => false);
    assert.equal(flowLines(flows), [
      'add portlease-flow4 10.2.0.5,tcp:22,192.0.2.7 timeout 432000',
      'add portlease-flow4 10.2.0.9,tcp:30001,192.0.2.7 timeout 432000',
      'add portlease-flow6 fd00::9,udp:5000,fd00::7 timeout 86400',
      '',
    ].join('\n'));
    assert.equal(wideLines([...flows, { ...flows[0] as (typeof flows)[0], client: '192.0.2.8' }]), [
      'add portlease-wide4 10.2.0.5,tcp:22 timeout 432000',
      'add portlease-wide4 10.2.0.9,tcp:30001 timeout 432000',
      'add portlease-wide6 fd00::9,udp:5000 timeout 86400',
      '',
    ].join('\n'));
    assert.deepEqual(flowsOf(all, address => address === CLIENT).map(({ client }) => client), ['fd00::7'], 'what ends on this host is no flow');
  });

  it('are whole ports where nothing stays', () => {
    assert.deepEqual(deletionsOf([...found, ...found], standingOf([]), new Set()), [
      { kind: 'port', transport: 'tcp', address: HOST, port: 30_000 },
      { kind: 'port', transport: 'tcp', address: HOST, port: 30_001 },
    ]);
  });

  it('are all that lead to one place, at once, where others of the port stay', () => {
    const clients = [4_000, 4_001, 4_002].map(port => ({ ...found[0]!, entry: { ...found[0]!.entry, original: tuple(CLIENT, port, HOST, 30_000) } }));
    assert.deepEqual(deletionsOf(clients, standingOf([NEW]), new Set()), [{ kind: 'place', transport: 'tcp', address: HOST, port: 30_000, place: to(OLD) }]);
  });

  it('are all connections to a target of which no port is left, when they are many', () => {
    const cut = cutOf({ ports: { first: 30_000, last: 30_099 } });
    const entries = Array.from({ length: 50 }, (_, at) => inward(30_000 + at, { address: '10.2.0.5', port: 30_000 + at }));
    const all = entries.map(entry => ({ entry, cuts: [cut], direction: 'inward' as const }));
    assert.deepEqual(deletionsOf(all, standingOf([]), new Set()), [{ kind: 'target', transport: 'tcp', address: HOST, target: '10.2.0.5' }]);
    assert.equal(deletionsOf(all, standingOf([OLD]), new Set()).length, 50, 'another port may lead there');
    const index = new CutIndex([cut], new Set([HOST]), standingOf([]));
    for (const entry of [...entries, inward(443, { address: '10.2.0.5', port: 443 })]) index.doom(entry);
    assert.equal(deletionsOf(all, standingOf([]), index.spared).length, 50, 'others lead connections there');
    assert.equal(deletionsOf(all.slice(0, 8), standingOf([]), new Set()).length, 8);
  });

  it('are never all connections of this host itself', () => {
    const entries = Array.from({ length: 50 }, (_, at) => inward(30_000 + at, { address: HOST, port: 30_000 + at }));
    const all = entries.map(entry => ({ entry, cuts: [cutOf()], direction: 'inward' as const }));
    assert.ok(deletionsOf(all, standingOf([]), new Set()).every(({ kind }) => kind === 'port'));
  });

  it('are dropped for a second at least, and for as long as an ipset can count at most', () => {
    const lines = [0, 1_001, 1e15].map(dropMs => cutLines([{ address: HOST, transport: 'udp', ports: { first: 5, last: 5 }, dropMs }]).trim());
    assert.deepEqual(lines.map(line => Number(line.split(' ').at(-1))), [1, 2, 2_147_483]);
  });

  it('are sockets of exactly these connections', () => {
    assert.deepEqual(socketFilter([tuple('10.0.0.1', 80, CLIENT, 4_000), tuple('fd00::1', 80, 'fd00::2', 4_001)]).join(' '),
      '( src 10.0.0.1:80 and dst 192.0.2.7:4000 ) or ( src [fd00::1]:80 and dst [fd00::2]:4001 )');
  });
});

describe('a cut where only some clients may be connected', () => {
  const clients = clientsOf({ networks: ['192.0.2.0/24', 'fd00::/8'], maxConnections: 2 }, 4);
  const PLACE: Endpoint = { ...NEW, clients };
  const from = (source: string, sourcePort: number, more: Partial<ConntrackEntry> = {}): ConntrackEntry => {
    const entry = inward(30_000, to(NEW));
    return { ...entry, original: { ...entry.original, source, sourcePort }, reply: { ...entry.reply, destination: source, destinationPort: sourcePort }, ...more };
  };
  const cut = cutOf({ isForClients: true });

  it('dooms those of others, and of the welcome ones as many as are beyond the limit', () => {
    const entries = [from('192.0.2.7', 1), from('198.51.100.1', 2), from('192.0.2.8', 3), from('192.0.2.7', 4), from('192.0.2.7', 5)];
    assert.deepEqual(doomed(cut, entries, [PLACE]), ['stays', 'unwelcome', 'stays', 'unwelcome', 'unwelcome']);
  });

  it('does not count what is over, and counts TCP and UDP of one mapping together', () => {
    const entries = [from('192.0.2.7', 1, { isClosing: true }), from('192.0.2.7', 2), from('192.0.2.7', 3), from('192.0.2.7', 4, { transport: 'udp' })];
    const index = new CutIndex([cut, { ...cut, transport: 'udp' }], new Set([HOST]), standingOf([PLACE]));
    assert.deepEqual(entries.map(entry => index.doom(entry)?.direction ?? 'stays'), ['stays', 'stays', 'stays', 'unwelcome']);
    index.begin();
    assert.deepEqual(index.doom(entries[1] as ConntrackEntry), undefined, 'the table is gone through anew');
  });

  it('deletes the one connection, drops what the server says to that client, and keeps the server for the others', () => {
    const index = new CutIndex([cut], new Set([HOST]), standingOf([PLACE]));
    const one = index.doom(from('198.51.100.1', 2)) ?? assert.fail('it stays');
    assert.deepEqual(deletionsOf([one], standingOf([PLACE]), new Set()), [{ kind: 'entry', entry: one.entry }]);
    assert.deepEqual(sourcesOf([cut], [one]), []);
    assert.deepEqual(flowsOf([one], () => false), [{ address: NEW.address, transport: 'tcp', port: NEW.port, client: '198.51.100.1' }]);
  });

  it('dooms what that server re-created', () => {
    const seen = from('198.51.100.1', 2);
    const revived = { transport: 'tcp' as const, original: seen.reply, reply: seen.original };
    assert.deepEqual(doomed(cut, [seen, revived], [PLACE]), ['unwelcome', 'revived']);
  });
});
