import assert from 'node:assert/strict';
import fc from 'fast-check';
import { count, difference, union } from '../../../agent/drivers/rules/ranges.js';
import { hasOwnMembers, parseHeaders, parseSets, planSets, renderSets, withoutMembers, type ObservedSet, type WantedSets } from '../../../agent/drivers/rules/sets.js';
import { checkedSpec } from '../../../agent/drivers/rules/checked.js';
import type { RulesSpec } from '../../../agent/drivers/rules/spec.js';
import { forward, spec } from './specs.js';

const lines = (...text: string[]): string => `${text.join('\n')}\n`;
const CREATED = [
  'create portlease-guard-tcp bitmap:port range 0-65535', 'create portlease-published-tcp bitmap:port range 0-65535', 'create portlease-guard-udp bitmap:port range 0-65535', 'create portlease-published-udp bitmap:port range 0-65535',
  'create portlease-cut4 hash:ip,port family inet maxelem 1048576 timeout 60', 'create portlease-wide4 hash:ip,port family inet maxelem 1048576 timeout 60',
  'create portlease-flow4 hash:ip,port,ip family inet maxelem 1048576 timeout 60', 'create portlease-target4 hash:ip family inet maxelem 1048576',
];

const PROXIED = [{ transport: 'tcp' as const, ports: { first: 30_000, last: 30_003 } }];
const setsOf = (wanted: RulesSpec): WantedSets => renderSets(checkedSpec(wanted));

describe('sets of the rules', () => {
  const wanted = setsOf(spec({ forwards: [forward({ hairpin: true }), forward({ port: 30_002, to: '10.0.0.3' })] }));

  it('are made when they are missing, and filled', () => {
    assert.deepEqual(planSets(wanted, new Map()), {
      creations: CREATED, changed: CREATED.length + 512 + 1,
      changes: ['add portlease-guard-tcp 30000-30255', 'add portlease-guard-udp 30000-30255', 'add portlease-target4 10.0.0.2'],
    });
  });

  it('get only what they lack, and lose only what they should not have', () => {
    const found = parseSets(lines(
      'create portlease-guard-tcp bitmap:port range 0-65535', ...Array.from({ length: 250 }, (_, i) => `add portlease-guard-tcp ${30_000 + i}`), 'add portlease-guard-tcp 40000',
      'create foreign hash:ip family inet hashsize 1024', 'add foreign 10.0.0.9',
      'create portlease-guard-udp bitmap:port range 0-65535', ...Array.from({ length: 256 }, (_, i) => `add portlease-guard-udp ${30_000 + i}`),
      'create portlease-cut4 hash:ip,port family inet hashsize 1024 maxelem 1048576 timeout 60 bucketsize 12 initval 0x1', 'add portlease-cut4 10.0.0.2,tcp:80 timeout 59',
      'create portlease-published-tcp bitmap:port range 0-65535', 'add portlease-published-tcp 30007', 'create portlease-published-udp bitmap:port range 0-65535',
      'create portlease-wide4 hash:ip,port family inet', 'create portlease-flow4 hash:ip,port,ip family inet', 'add portlease-flow4 10.0.0.2,tcp:80,10.0.0.3',
      'create portlease-target4 hash:ip family inet hashsize 1024', 'add portlease-target4 10.0.0.2', 'add portlease-target4 10.0.0.7'));
    assert.deepEqual([...found.keys()], ['portlease-guard-tcp', 'portlease-guard-udp', 'portlease-cut4', 'portlease-published-tcp', 'portlease-published-udp', 'portlease-wide4', 'portlease-flow4', 'portlease-target4']);
    assert.deepEqual(planSets(wanted, found), {
      creations: [], changed: 9, changes: ['add portlease-guard-tcp 30250-30255', 'del portlease-guard-tcp 40000', 'del portlease-published-tcp 30007', 'del portlease-target4 10.0.0.7'],
    });
  });

  it('are read by their headers first, and the members only of those that are not empty and not of connections', () => {
    const block = (name: string, type: string, count: number): string => `Name: ${name}\nType: ${type}\nRevision: 6\nHeader: family inet\nNumber of entries: ${count}\n`;
    const headers = parseHeaders([block('portlease-guard-tcp', 'bitmap:port', 2), block('foreign', 'hash:ip', 3), block('portlease-flow4', 'hash:ip,port,ip', 1_000_000),
      block('portlease-target4', 'hash:ip', 0), 'Name: portlease-target6\nType: hash:ip\n'].join('\n'));
    assert.deepEqual(headers.map(({ name }) => name), ['portlease-guard-tcp', 'portlease-flow4', 'portlease-target4', 'portlease-target6']);
    assert.deepEqual(headers.filter(hasOwnMembers).map(({ name }) => name), ['portlease-guard-tcp', 'portlease-target6']);
    assert.deepEqual(headers.map(header => withoutMembers(header).members.kind), ['ports', 'others', 'addresses', 'addresses']);
    assert.deepEqual(parseHeaders(''), []);
  });

  it('of the wrong type are made anew', () => {
    const found = new Map<string, ObservedSet>([...setsOf(spec()), ['portlease-guard-tcp', { type: 'hash:ip', members: { kind: 'others' } }]]);
    assert.deepEqual(planSets(setsOf(spec()), found), {
      creations: ['destroy portlease-guard-tcp', 'create portlease-guard-tcp bitmap:port range 0-65535'], changed: 257, changes: ['add portlease-guard-tcp 30000-30255'],
    });
  });

  it('are not wanted without a lease address, and of a family only with one of its addresses', () => {
    assert.equal(setsOf({ ...spec(), addresses: [] }).size, 0);
    assert.deepEqual([...setsOf({ ...spec(), addresses: ['fd00::1'] }).keys()], ['portlease-guard-tcp', 'portlease-published-tcp', 'portlease-guard-udp', 'portlease-published-udp', 'portlease-cut6', 'portlease-wide6', 'portlease-flow6', 'portlease-target6']);
  });
});

describe('ranges of ports', () => {
  const anyRanges = fc.array(fc.tuple(fc.integer({ min: 1, max: 400 }), fc.nat({ max: 30 })).map(([first, more]) => ({ first, last: first + more })), { maxLength: 20 });
  const ports = (ranges: readonly { first: number; last: number }[]): Set<number> =>
    new Set(ranges.flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, i) => first + i)));

  it('join to the ports that are in any of them', () => {
    fc.assert(fc.property(anyRanges, ranges => {
      const joined = union(ranges);
      assert.deepEqual([...ports(joined)], [...ports(ranges)].sort((a, b) => a - b));
      assert.ok(joined.every(({ first }, i) => i === 0 || first > (joined[i - 1]?.last ?? 0) + 1));
      const many = Array.from({ length: 300 }, () => ranges).flat();
      assert.deepEqual(union(many), joined);
    }));
  });

  it('are told apart by the ports that are in one only', () => {
    fc.assert(fc.property(anyRanges, anyRanges, (a, b) => {
      const [one, two] = [union(a), union(b)];
      const rest = difference(one, two);
      assert.deepEqual([...ports(rest)], [...ports(one)].filter(port => !ports(two).has(port)));
      assert.equal(count(rest), ports(rest).size);
    }));
  });
});

describe('the sets of ports that a proxy serves', () => {
  it('are there where there is a proxy, and hold its ports', () => {
    assert.equal(setsOf(spec()).has('portlease-proxied-tcp'), false);
    const sets = setsOf(spec({ proxied: PROXIED }));
    assert.deepEqual(sets.get('portlease-proxied-tcp')?.members, { kind: 'ports', ports: [{ first: 30_000, last: 30_003 }] });
    assert.deepEqual(sets.get('portlease-proxied-udp')?.members, { kind: 'ports', ports: [] });
  });
});
