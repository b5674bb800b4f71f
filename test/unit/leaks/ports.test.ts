import assert from 'node:assert/strict';
import { Containers, type Container } from '../../../agent/drivers/docker/containers.js';
import type { DockerView } from '../../../agent/drivers/docker/watch.js';
import { foreignRules } from '../../../agent/drivers/rules/foreign.js';
import { listenerFindings, portFacts, publishedFindings, ruleFindings } from '../../../agent/leaks/ports.js';
import { PersistentMap } from '../../../agent/persistent/map.js';
import type { ReconcileObject } from '../../../agent/reconcile/objects.js';
import type { Conflict } from '../../../shared/desired.js';

const ADDRESS = '192.0.2.1';
const ID = 'ab'.repeat(32);
const lease: ReconcileObject = { kind: 'lease', key: 'lease/l1', version: 1, leaseId: 'l1', ports: { first: 30_000, last: 30_015 }, protocol: 'tcp', generation: 1, host: 'a' };
const mapping: ReconcileObject = {
  kind: 'mapping', key: 'mapping/m1', version: 1, mappingId: 'm1', environment: 'e', tenant: 't', name: 'web', index: 0, protocol: 'tcp', port: 30_001,
  target: { kind: 'address', address: '10.0.0.5' }, internalPort: 80, generation: 4, verify: false,
};
const route: ReconcileObject = {
  kind: 'route', key: 'route/l2', version: 1, leaseId: 'l2', ports: { first: 31_000, last: 31_015 }, protocol: 'udp', generation: 1, host: 'b', addresses: ['10.0.0.2'], fence: false, cutMs: 1,
};
const facts = portFacts({ objects: PersistentMap.of([lease, mapping, route].map(object => [object.key, object])) }, [ADDRESS]);

const container = (over: Partial<Container> = {}): Container => ({
  id: ID, name: 'web', labels: {}, state: 'running', networkMode: 'bridge', attachments: [], published: [{ transport: 'tcp', hostAddress: '0.0.0.0', port: 30_005, internalPort: 80 }], ...over,
});
const published = (port: number, hostAddress = '0.0.0.0', transport: 'tcp' | 'udp' = 'tcp'): Container => container({ published: [{ transport, hostAddress, port, internalPort: 80 }] });
const view = (...all: Container[]): DockerView => ({ kind: 'known', containers: new Containers(all, new Map()), problem: undefined });

describe('a port that Docker publishes', () => {
  const found = (one: Container) => (publishedFindings(facts, view(one)) ?? []).map(({ at }) => at?.port);

  it('is found where no environment has it, and others than this machine may reach it', () => {
    assert.deepEqual(found(published(30_005)), [30_005]);
    assert.deepEqual(found(published(40_000, ADDRESS)), [40_000], 'the coordinator knows which are in a pool');
    assert.deepEqual(found(published(30_001, '', 'udp')), [30_001], 'the mapping is TCP only');
    for (const none of [published(30_001), published(30_005, '127.0.0.1'), published(30_005, '198.51.100.9'), container({ state: 'exited' })]) assert.deepEqual(found(none), []);
  });

  it('is told with those of leases first, each once', () => {
    const both = container({ published: [40_000, 30_005, 30_005].map(port => ({ transport: 'tcp', hostAddress: '', port, internalPort: 80 })) });
    assert.deepEqual(publishedFindings(facts, view(both))?.map(({ id }) => id), ['publishedPort/tcp/30005/abababababab', 'publishedPort/tcp/40000/abababababab']);
  });

  it('is not known while Docker does not answer', () => {
    for (const unknown of [{ kind: 'unknown', problem: 'x' }, { kind: 'known', containers: new Containers([container()], new Map()), problem: 'it is stopped' }] as const) {
      assert.equal(publishedFindings(facts, unknown), undefined);
    }
  });
});

describe('a listener', () => {
  const at = (port: number, pid = 7): Conflict => ({
    transport: 'tcp', port, address: '0.0.0.0', uid: 33, user: 'www', holder: { pid, program: 'nginx', command: 'nginx', containerId: '', startedAtMs: 0, proxyFor: '', environment: '' },
  });

  it('is found on a leased port that no environment has, unless it is what Docker publishes', () => {
    assert.deepEqual(listenerFindings(facts, [at(30_001), at(30_002), at(30_005), at(31_000)], view(published(30_005))).map(({ id }) => id), ['listener/tcp/30002/7']);
    assert.deepEqual(listenerFindings(facts, [{ ...at(30_002), holder: undefined }], view()).map(({ id }) => id), ['listener/tcp/30002/uid-33']);
  });
});

const save = (...rules: string[]): string => `*nat\n:PREROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n${rules.join('\n')}\nCOMMIT\n`;

describe('a rule of others', () => {
  const found = (...rules: string[]) => foreignRules(save(...rules), { family: 'v4', addresses: [ADDRESS], leased: facts.served });

  it('is found when it leads connections of a leased or routed port elsewhere, whatever words it has', () => {
    for (const [rule, ports] of [
      ['-A PREROUTING -p tcp -m tcp --dport 30005 -j DNAT --to-destination 10.0.0.9:22', [30_005, 30_005]],
      [`-A PREROUTING -d ${ADDRESS}/32 -p tcp -m tcp --dport 29990:30002 -j DNAT --to-destination 10.0.0.9`, [30_000, 30_002]],
      ['-A OLD -p tcp -m multiport --dports 22,80,30010:40000 -j REDIRECT --to-ports 22', [30_010, 30_015]],
      ['-A PREROUTING -p udp -m udp --dport 31007 -j DNAT --to-destination 10.0.0.9:53', [31_007, 31_007]],
      ['-A PREROUTING -p tcp -m tcp ! --dport 22 -j DNAT --to-destination 10.0.0.9', [30_000, 30_015]],
      ['-A PREROUTING -p tcp -j DNAT --to-destination 10.0.0.9', [30_000, 30_015]],
      ['-A PREROUTING -d 192.0.2.0/24 -p tcp -m tcp --dport 30003 -m comment --comment "a b --dport 1" -j DNAT --to-destination 10.0.0.9', [30_003, 30_003]],
    ] as const) {
      const [one, ...more] = found(rule);
      assert.deepEqual([one?.takes?.ports.first, one?.takes?.ports.last, more], [...ports, []], rule);
    }
  });

  it('is none when it leads nobody of ours elsewhere, or is portlease\'s', () => {
    for (const rule of [
      '-A PREROUTING -p tcp -m tcp --dport 22 -j DNAT --to-destination 10.0.0.9', '-A PREROUTING -d 198.51.100.7/32 -p tcp -m tcp --dport 30005 -j DNAT --to-destination 10.0.0.9',
      '-A PREROUTING -p udp -m udp --dport 30005 -j DNAT --to-destination 10.0.0.9', '-A PREROUTING -p tcp -m tcp --dport 30005 -j ACCEPT', '-A OLD -p tcp -j DNAT --to-destination 10.0.0.9',
      '-A PORTLEASE-T753 -p tcp -m tcp --dport 30001 -j DNAT --to-destination 10.0.0.5:80', `-A PREROUTING -d ${ADDRESS}/32 -j PORTLEASE`,
    ]) assert.deepEqual(found(rule), [], rule);
  });

  it('is found when it leads to an own chain, in any table', () => {
    const text = `*filter\n:PORTLEASE-FORWARD - [0:0]\n-A FORWARD -s 10.0.0.0/8 -j PORTLEASE-FORWARD\nCOMMIT\n`;
    const [one] = foreignRules(text, { family: 'v4', addresses: [ADDRESS], leased: facts.served });
    assert.deepEqual([one?.rule, one?.takes], ['-t filter -A FORWARD -s 10.0.0.0/8 -j PORTLEASE-FORWARD', undefined]);
  });

  it('of Docker is a leak only when no container publishes that port any more, as far as Docker says', () => {
    const rules = found('-A DOCKER ! -i docker0 -p tcp -m tcp --dport 30005 -j DNAT --to-destination 172.17.0.2:80');
    assert.equal(ruleFindings(rules, view()).length, 1);
    for (const docker of [view(published(30_005)), { kind: 'unknown', problem: 'x' } as const]) assert.deepEqual(ruleFindings(rules, docker), []);
  });

  it('has an id of its own that stays', () => {
    const [a, b] = ['-A A -p tcp -m tcp --dport 30005 -j DNAT --to-destination 10.0.0.9', '-A A -p tcp -m tcp --dport 30005 -j DNAT --to-destination 10.0.0.8'];
    const ids = (...rules: string[]) => ruleFindings(found(...rules), view()).map(({ id }) => id);
    assert.deepEqual(ids(a ?? '', b ?? ''), [...ids(a ?? ''), ...ids(b ?? '')]);
    assert.equal(new Set(ids(a ?? '', b ?? '')).size, 2);
    assert.match(ids(a ?? '')[0] ?? '', /^foreignRule\/[0-9a-f]{16}$/);
  });
});
