import assert from 'node:assert/strict';
import fc from 'fast-check';
import { sameLimits } from '../../../shared/desired.js';
import { canonicalAddress, cidrContains, parseCidr } from '../../../shared/names.js';
import { networksOf, readNetwork } from '../../../shared/networks.js';

const networkOf = (text: string): string => {
  const reading = readNetwork(text);
  return 'network' in reading ? reading.network : assert.fail(`${text} ${reading.problem}`);
};
const remedyFor = (text: string): string => {
  const reading = readNetwork(text);
  return 'remedy' in reading ? reading.remedy : assert.fail(`${text} was taken`);
};

describe('networks of clients', () => {
  it('are read in the one form that the kernel\'s tools print', () => {
    assert.deepEqual(['198.51.100.0/24', '0.0.0.0/0', '10.0.0.1/32', '2001:DB8:0:0::/32', '::/0', 'fd00::0001/128', '10.128.0.0/9', '2001:db8:8000::/33'].map(networkOf),
      ['198.51.100.0/24', '0.0.0.0/0', '10.0.0.1/32', '2001:db8::/32', '::/0', 'fd00::1/128', '10.128.0.0/9', '2001:db8:8000::/33']);
  });

  it('with bits beyond the prefix are refused, naming the network that may be meant', () => {
    assert.equal(remedyFor('10.1.2.3/8'), 'write 10.0.0.0/8 for the network, or 10.1.2.3/32 for this one address');
    assert.equal(remedyFor('192.0.2.129/25'), 'write 192.0.2.128/25 for the network, or 192.0.2.129/32 for this one address');
    assert.equal(remedyFor('2001:db8:ffff::1/33'), 'write 2001:db8:8000::/33 for the network, or 2001:db8:ffff::1/128 for this one address');
  });

  it('without prefix, with a bad one, or that are none are refused', () => {
    assert.equal(remedyFor('10.1.2.3'), 'write 10.1.2.3/32 for this one address');
    assert.equal(remedyFor('fd00::1'), 'write fd00::1/128 for this one address');
    for (const text of ['10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/08', '10.0.0.0/', 'fd00::/129']) assert.match(remedyFor(text), /whole number from 0 to (?:32|128)/, text);
    for (const text of ['', '/8', 'x/8', '10.0.0/8', '10.0.0.0/8/8', '::ffff:10.0.0.0/104', 'fe80::%eth0/64', `10.0.0.0/8${' '.repeat(90)}`]) assert.match(remedyFor(text), /ADDRESS\/PREFIX/, text);
  });

  it('have, for whatever address and prefix, the address in the network that the remedy names', () => {
    const addresses = fc.oneof(fc.ipV4(), fc.ipV6().map((text) => canonicalAddress(text)).filter((text) => text !== undefined));
    fc.assert(fc.property(addresses, fc.nat({ max: 128 }), (address, prefix) => {
      fc.pre(prefix <= (address.includes(':') ? 128 : 32));
      const reading = readNetwork(`${address}/${prefix}`);
      const network = 'network' in reading ? reading.network : /write (\S+) for the network/.exec(reading.remedy)?.[1] ?? '';
      const cidr = parseCidr(network);
      // A network whose first words are 0 may look like IPv4 in IPv6: such an address has no form of its own.
      fc.pre(cidr !== undefined);
      assert.ok(cidrContains(cidr, address));
      assert.deepEqual(readNetwork(network), { network });
    }));
  });

  it('of one family are those that count for it; one of all addresses lifts the limit', () => {
    assert.equal(networksOf([], 4), undefined);
    assert.deepEqual(networksOf(['10.0.0.0/8', 'fd00::/8'], 4), ['10.0.0.0/8']);
    assert.deepEqual(networksOf(['10.0.0.0/8'], 6), []);
    assert.equal(networksOf(['10.0.0.0/8', '0.0.0.0/0'], 4), undefined);
  });

  it('are the same limits in the same order only', () => {
    assert.ok(sameLimits(undefined, { networks: [], maxConnections: 0 }));
    assert.ok(sameLimits({ networks: ['10.0.0.0/8'], maxConnections: 1 }, { networks: ['10.0.0.0/8'], maxConnections: 1 }));
    assert.ok(!sameLimits({ networks: ['10.0.0.0/8'], maxConnections: 1 }, { networks: ['10.0.0.0/8'], maxConnections: 2 }));
    assert.ok(!sameLimits({ networks: ['10.0.0.0/8'], maxConnections: 1 }, undefined));
  });
});
