import assert from 'node:assert/strict';
import { checkedSpec } from '../../../agent/drivers/rules/checked.js';
import { Forwards } from '../../../agent/drivers/rules/forwards.js';
import { forwardProblem, type Forward } from '../../../agent/drivers/rules/spec.js';
import { forward, spec } from './specs.js';

const REFUSED: readonly [string, Partial<Forward>, RegExp][] = [
  ['a target in 127/8', { to: '127.0.0.1' }, /loopback/],
  ['a target in 169.254/16', { to: '169.254.169.254' }, /link-local/],
  ['no address', { to: '0.0.0.0' }, /unspecified/],
  ['a multicast target', { to: '224.0.0.1' }, /multicast/],
  ['a name as target', { to: 'localhost' }, /not an IP address/],
  ['an address with a zone', { to: 'fe80::1%eth0' }, /not an IP address/],
  ['an address with a newline', { to: '10.0.0.2\n-A INPUT' }, /not an IP address/],
  ['IPv4 in IPv6', { to: '::ffff:127.0.0.1' }, /IPv4 in IPv6/],
  ['loopback of IPv6 in a long form', { to: '0:0:0:0:0:0:0:1' }, /loopback/],
  ['a target of a family without lease address', { to: 'fd00::2' }, /no lease address of the family/],
  ['port 0', { ports: { first: 0, last: 0 } }, /not a range/],
  ['port 65536', { ports: { first: 65_536, last: 65_536 } }, /not a range/],
  ['a reversed range', { ports: { first: 2, last: 1 } }, /not a range/],
  ['half a port', { ports: { first: 1.5, last: 2 } }, /not a range/],
  ['an internal port 0', { toPort: 0 }, /not a port/],
  ['a range to one port', { ports: { first: 1, last: 2 }, toPort: 80 }, /keeps its ports/],
  ['an id that is an option', { id: '-j DROP' }, /not an id/],
  ['an id with a quote', { id: 'a"' }, /not an id/],
  ['a long id', { id: 'a'.repeat(19) }, /not an id/],
  ['a negative generation', { generation: -1 }, /not a generation/],
];

describe('specs of rules', () => {
  for (const [what, fields, message] of REFUSED) {
    it(`with ${what} are refused`, () => {
      assert.match(forwardProblem(forward(fields), ['10.1.1.1']) ?? '', message);
      assert.throws(() => checkedSpec(spec({ forwards: [forward(fields)] })), message);
    });
  }

  it('with two forwards of one port are refused, unless transport or family differs', () => {
    const both = (fields: Partial<Forward>): unknown =>
      checkedSpec(spec({ addresses: ['10.1.1.1', 'fd01::1'], forwards: [forward({ ports: { first: 30_000, last: 30_005 }, toPort: undefined }), forward({ id: 'm-2', ...fields })] }));
    assert.throws(() => both({}), /m-1 and m-2 both have tcp 30001/);
    assert.doesNotThrow(() => both({ transport: 'udp' }));
    assert.doesNotThrow(() => both({ to: 'fd00::2' }));
  });

  it('with a bad lease address or range are refused', () => {
    assert.throws(() => checkedSpec(spec({ addresses: ['127.0.0.1'] })), /lease address: 127.0.0.1 is loopback/);
    assert.throws(() => checkedSpec(spec({ leased: [{ transport: 'tcp', ports: { first: 5, last: 4 } }] })), /leased ports: 5-4/);
  });

  it('get addresses as the kernel prints them, each once', () => {
    const checked = checkedSpec(spec({ addresses: ['FD01:0:0::1', 'fd01::1'], forwards: [forward({ to: 'FD00::0002' })] }));
    assert.deepEqual([checked.addresses, [...checked.forwards][0]?.to], [['fd01::1'], 'fd00::2']);
  });

  it('are checked again beside other addresses', () => {
    const forwards = Forwards.of([forward()]);
    checkedSpec(spec({ forwards }));
    assert.throws(() => checkedSpec(spec({ forwards, addresses: ['fd01::1'] })), /no lease address of the family of 10\.0\.0\.2/);
  });
});
