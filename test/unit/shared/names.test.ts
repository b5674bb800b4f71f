import assert from 'node:assert/strict';
import { canonicalAddress, cidrContains, ipFamily, isDnsLabel, isIpAddress, isLabelKey, isLabelValue, isObjectId, isPublicHost, isRequestId, isTargetAddress, parseCidr } from '../../../shared/names.js';

const HOSTILE = ['', 'a\0b', 'a\n', '\na', '-j', '-', '$(id)', '../x', 'a b', 'a;b', 'ä', 'x'.repeat(10_000_000), '`id`', '__proto__', 'a\u2028'];

describe('names', () => {
  for (const [name, allows] of Object.entries({ isDnsLabel, isRequestId, isLabelKey, isIpAddress, isPublicHost, isTargetAddress, isObjectId })) {
    it(`${name} refuses what could become an option, a path, a line or a command`, () => {
      const refused = name === 'isRequestId' ? HOSTILE.filter((value) => value !== '__proto__') : HOSTILE;
      for (const value of refused) assert.equal(allows(value), false, JSON.stringify(value.slice(0, 20)));
    });
  }

  it('takes DNS labels up to the length asked for', () => {
    for (const value of ['a', '0', 'host-1', 'x'.repeat(63)]) assert.ok(isDnsLabel(value), value);
    for (const value of ['x'.repeat(64), 'A', 'a-', 'a.b', 'a_b']) assert.ok(!isDnsLabel(value), value);
    assert.ok(isDnsLabel('x'.repeat(32), 32));
    assert.ok(!isDnsLabel('x'.repeat(33), 32));
  });

  it('takes request ids as the contract says', () => {
    for (const value of ['a', '_a:b.c-D9', 'r'.repeat(128)]) assert.ok(isRequestId(value), value);
    assert.ok(!isRequestId('r'.repeat(129)));
  });

  it('takes empty label values, but no empty label keys', () => {
    assert.ok(isLabelValue(''));
    assert.ok(isLabelKey('example.com/team'));
    assert.ok(!isLabelKey('/team'));
    assert.ok(!isLabelKey('k'.repeat(64)));
  });

  it('has one text for an IPv6 address, and refuses zones and IPv4 inside IPv6', () => {
    assert.equal(canonicalAddress('2001:DB8:0:0::1'), '2001:db8::1');
    assert.equal(canonicalAddress('10.0.0.1'), '10.0.0.1');
    for (const value of ['fe80::1%eth0', '::ffff:127.0.0.1', '0:0:0:0:0:ffff:7f00:1', '010.0.0.1', '10.1', '1.2.3.4.5']) {
      assert.equal(canonicalAddress(value), undefined, value);
    }
    assert.deepEqual([ipFamily('10.0.0.1'), ipFamily('::1'), ipFamily('x')], [4, 6, undefined]);
  });

  it('takes DNS names and addresses as public hosts, but no number that looks like an address', () => {
    for (const value of ['gw.example.com', 'gw', '203.0.113.5', '2001:db8::1']) assert.ok(isPublicHost(value), value);
    for (const value of ['gw.', '.gw', '300.1.1.1', 'a..b', 'x.'.repeat(150) + 'x', '-a.b', 'a.-b']) assert.ok(!isPublicHost(value), value);
  });

  it('refuses targets that every host shares or that lead to the cloud metadata', () => {
    for (const value of ['0.0.0.0', '127.0.0.1', '127.255.255.254', '169.254.169.254', '224.0.0.1', '255.255.255.255', '::', '::1', 'fe80::1', 'ff02::1', '::ffff:127.0.0.1']) {
      assert.ok(!isTargetAddress(value), value);
    }
    for (const value of ['10.0.0.1', '172.17.0.2', '192.168.1.1', '203.0.113.9', 'fd00::2']) assert.ok(isTargetAddress(value), value);
  });

  it('reads networks and says what they contain', () => {
    const network = parseCidr('10.8.0.0/13');
    assert.ok(network);
    assert.ok(cidrContains(network, '10.15.255.255'));
    assert.ok(!cidrContains(network, '10.16.0.0'));
    assert.ok(!cidrContains(network, 'fd00::1'));
    assert.ok(!cidrContains(network, 'nonsense'));
    const six = parseCidr('fd00::/8');
    assert.ok(six && cidrContains(six, 'fdff::1') && !cidrContains(six, '10.8.0.1'));
    for (const text of ['10.0.0.0', '10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/8/8', '/8', '::/129', '10.0.0.0/ 8', '10.0.0.0/1e1']) {
      assert.equal(parseCidr(text), undefined, text);
    }
  });
});
