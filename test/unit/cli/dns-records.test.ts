import assert from 'node:assert/strict';
import { dnsPlan, probeName, zoneLine } from '../../../cli/dns/records.js';
import { Gateway, GatewayScope, Pool } from '../../../shared/gen/portlease/v1/operations.js';

const gateway = (name: string, publicHost: string, scope = GatewayScope.GATEWAY_SCOPE_SHARED): Gateway => Gateway.fromPartial({ gateway: name, publicHost, scope });
const pool = (of: string, name: string, domainTemplate: string): Pool => Pool.fromPartial({ pool: name, gateway: of, serviceType: name, domainTemplate });

describe('DNS records', () => {
  it('are one for each name, to the address or the name of the gateway', () => {
    const gateways = [gateway('a', '203.0.113.1'), gateway('b', '2001:db8::1'), gateway('c', 'c.example.net')];
    const pools = ['a', 'b', 'c'].flatMap((of) => [pool(of, 'ssh', '{env}.{gateway}.example.com'), pool(of, 'rdp', '{env}.{gateway}.example.com'), pool(of, 'web', '')]);
    const { records, problems } = dnsPlan(gateways, pools);
    assert.deepEqual(problems, []);
    assert.deepEqual(records.map(zoneLine), ['*.a.example.com. 300 IN A 203.0.113.1', '*.b.example.com. 300 IN AAAA 2001:db8::1', '*.c.example.com. 300 IN CNAME c.example.net.']);
    assert.deepEqual(records[0]?.pools, ['ssh', 'rdp']);
  });

  it('are missing, with the reason, where a name would have several addresses', () => {
    const { records, problems } = dnsPlan([gateway('a', '203.0.113.1'), gateway('b', '203.0.113.2'), gateway('h', '', GatewayScope.GATEWAY_SCOPE_HOST)],
      [pool('a', 'ssh', '{env}.example.com'), pool('b', 'ssh', '{env}.example.com'), pool('h', 'ssh', '{env}.h.example.com')]);
    assert.equal(records.length, 1);
    assert.match(problems.join('\n'), /pool ssh of b: \*\.example\.com leads to gateway a already; put \{gateway\}/);
    assert.match(problems.join('\n'), /pool ssh of h: in scope host/);
  });

  it('are asked for by a name that only they answer for', () => {
    const names = ['{env}.ssh.example.com', 'ssh.example.com'].map((template) => dnsPlan([gateway('a', '203.0.113.1')], [pool('a', 'ssh', template)]).records[0]);
    assert.deepEqual(names.map((record) => record && probeName(record, 'probe-1')), ['probe-1.ssh.example.com', 'ssh.example.com']);
  });
});
