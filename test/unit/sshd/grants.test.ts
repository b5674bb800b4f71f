import assert from 'node:assert/strict';
import { authorizedKey, fencedRoutes, grantsOf, lostPorts } from '../../../agent/sshd/grants.js';
import { lastHeard } from '../../../agent/sshd/processes.js';
import type { DesiredObject } from '../../../shared/desired.js';
import type { Protocol } from '../../../shared/ports.js';
import { isSshPublicKey, tunnelAddress } from '../../../shared/tunnel-address.js';

const KEY = `ssh-ed25519 ${'A'.repeat(68)}`;
const OTHER = `ssh-ed25519 ${'B'.repeat(68)}`;
const route = (leaseId: string, first: number, { host = 'host-a', tunnelKey = KEY, protocol = 'tcp' }: { host?: string; tunnelKey?: string | undefined; protocol?: Protocol } = {}): DesiredObject => ({
  kind: 'route', key: `route/${leaseId}`, version: 1, leaseId, ports: { first, last: first + 3 }, protocol, generation: 1, host, addresses: ['10.0.0.1'], fence: false, cutMs: 1, ...(tunnelKey === undefined ? {} : { tunnelKey }),
});

describe('what a host behind NAT may listen for', () => {
  it('are the TCP ports of its routes, on an address of its own, and nothing else', () => {
    const grants = grantsOf([route('l1', 30_000), route('l2', 30_004), route('l3', 31_000, { protocol: 'udp' }), { ...route('l4', 32_000), tunnelKey: undefined } as unknown as DesiredObject, route('l5', 33_000, { host: 'host-b', tunnelKey: OTHER })]);
    const address = tunnelAddress('host-a', KEY);
    assert.deepEqual(grants.get(KEY), { key: KEY, host: 'host-a', address, ports: [{ first: 30_000, last: 30_007 }] });
    const line = authorizedKey(grants.get(KEY) as NonNullable<ReturnType<typeof grants.get>>);
    assert.equal(line, `restrict,port-forwarding,permitopen="127.0.0.1:1",command="/bin/false",${Array.from({ length: 8 }, (_, i) => `permitlisten="${address}:${30_000 + i}"`).join(',')} ${KEY}`);
    assert.deepEqual([...grants.keys()], [KEY, OTHER]);
  });

  it('is the first one\'s where two hosts say that they have one key', () => {
    assert.deepEqual(grantsOf([route('l1', 30_000), route('l2', 31_000, { host: 'host-b' })]).get(KEY), { key: KEY, host: 'host-a', address: tunnelAddress('host-a', KEY), ports: [{ first: 30_000, last: 30_003 }] });
  });

  it('is lost when it is another host\'s, or nobody\'s, and not when its lease is split or it has more', () => {
    const session = { key: KEY, host: 'host-a', ports: [{ first: 30_000, last: 30_003 }] };
    assert.deepEqual(lostPorts(session, grantsOf([route('l1', 30_000, { host: 'host-b', tunnelKey: OTHER })])), session.ports);
    assert.deepEqual(lostPorts(session, grantsOf([])), session.ports);
    assert.deepEqual(lostPorts(session, grantsOf([route('l1', 30_000, { tunnelKey: OTHER })])), session.ports, 'it has another key now');
    assert.deepEqual(lostPorts(session, grantsOf([route('l1', 30_000), route('l2', 30_004)])), []);
    assert.deepEqual(lostPorts(session, grantsOf([route('l1', 30_002)])), [{ first: 30_000, last: 30_001 }]);
  });
});

describe('what a host behind NAT may listen for, when it is more than sshd takes options', () => {
  it('are all ports of its own address', () => {
    const address = tunnelAddress('host-a', KEY);
    assert.match(authorizedKey({ key: KEY, host: 'host-a', address, ports: [{ first: 30_000, last: 34_095 }] }), /permitlisten="[\d.]+:34095" ssh-ed25519/);
    assert.ok(authorizedKey({ key: KEY, host: 'host-a', address, ports: [{ first: 30_000, last: 34_096 }] }).endsWith(`,permitlisten="${address}:*" ${KEY}`));
  });
});

describe('routes that are fenced', () => {
  it('are told by lease and generation, with the key whose sessions are not to be trusted with them', () => {
    const fenced = { ...route('l1', 30_000), generation: 4, fence: true } as DesiredObject;
    assert.deepEqual([...fencedRoutes([fenced, route('l2', 30_004), { ...fenced, leaseId: 'l3', tunnelKey: undefined } as unknown as DesiredObject])], [['l1 4', { key: KEY, ports: { first: 30_000, last: 30_003 } }]]);
  });
});

describe('the address of a host behind NAT', () => {
  it('is its own, and in 127.64.0.0/10', () => {
    const addresses = Array.from({ length: 1_000 }, (_, i) => tunnelAddress(`host-${i}`, KEY));
    assert.equal(new Set(addresses).size, addresses.length);
    assert.notEqual(tunnelAddress('host-1', OTHER), addresses[1]);
    for (const address of addresses) assert.match(address, /^127\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.\d{1,3}\.\d{1,3}$/);
  });
});

describe('a public key', () => {
  it('is one as OpenSSH writes it, without anything that could be another word of the line', () => {
    for (const good of [KEY, `ecdsa-sha2-nistp256 ${'A'.repeat(140)}=`, `ssh-rsa ${'A'.repeat(372)}`]) assert.ok(isSshPublicKey(good), good);
    for (const bad of ['', 'ssh-ed25519', `${KEY} comment`, ` ${KEY}`, `${KEY}\n`, `ssh-dss ${'A'.repeat(68)}`, `command="x" ${KEY}`, `ssh-ed25519  ${'A'.repeat(68)}`, 'ssh-ed25519 A"A', `ssh-ed25519 ${'A'.repeat(1_100)}`]) {
      assert.ok(!isSshPublicKey(bad), bad);
    }
  });
});

describe('how long a peer has been silent', () => {
  it('is read by the socket\'s inode; one that has just heard has no figure', () => {
    const text = [
      'ESTAB 0 0 10.0.0.1:2222 10.0.0.2:51000 timer:(keepalive,119min,0) ino:812 sk:1 cgroup:/x <->', '\t cubic rto:204 rtt:0.05/0.02 mss:1448 cwnd:10 lastsnd:40 lastrcv:3004 lastack:40 minrtt:0.03',
      'ESTAB 0 0 10.0.0.1:2222 10.0.0.2:51001 ino:813 sk:2 <->', '\t cubic rto:204 rtt:0.05/0.02 mss:1448 cwnd:10', '',
    ].join('\n');
    assert.deepEqual([...lastHeard(text)], [[812, 40], [813, 0]], 'an acknowledgement is a sign of life, too');
  });
});
