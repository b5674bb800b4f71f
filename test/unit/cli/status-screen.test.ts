import assert from 'node:assert/strict';
import { GatewayScope, HostState } from '../../../shared/gen/portlease/v1/operations.js';
import { statusHints, statusScreen, usageBar } from '../../../cli/status-screen.js';
import { GATEWAY, POOL, statusAnswer } from '../../integration/cli/answers.js';

describe('the status screen', () => {
  it('shows coordinator, journal, hosts, gateways and pools, and fits a screen', () => {
    const screen = statusScreen(statusAnswer());
    assert.equal(screen, [
      'coordinator   0.1.0, up 2h 5m',
      'journal       ok',
      'hosts         2 alive',
      'environments  1 with 1 mappings',
      '',
      'GATEWAY  SCOPE   PUBLIC       AGENT    STATE  REVISION',
      'gw-1     shared  203.0.113.1  gw-host  alive      1234',
      '',
      'POOL  GATEWAY  USAGE                        ALLOCATED  HELD  RESTING  FREE  TOTAL',
      'ssh   gw-1     [#####---------------]  24%         20     5        1    75    101',
      '',
    ].join('\n'));
    assert.ok(screen.split('\n').every((line) => line.length <= 100));
  });

  it('counts tunnels where there are any, and says when some are not up', () => {
    const status = statusAnswer({ tunnelsUp: 3, tunnelsDown: 1 });
    assert.match(statusScreen(status), /^tunnels       3 up, 1 down$/m);
    assert.deepEqual(statusHints(status), ['1 tunnels are not up: portlease tunnels shows them and why']);
    assert.match(statusScreen(statusAnswer({ tunnelsUp: 2 })), /^tunnels       2 up$/m);
  });

  it('says where most hosts are silent, and how reclaim goes on there', () => {
    const loss = { gateway: 'gw-1', failureDomain: 'rack-1', lostHosts: 7, hosts: 10, since: undefined, overriddenUntil: undefined };
    const [hint] = statusHints(statusAnswer({ massLosses: [loss] }));
    assert.equal(hint, '7 of 10 hosts of failure domain rack-1 of gw-1 are silent, so nothing is reclaimed there: look at network and power; '
      + 'or portlease gateways override-mass-loss gw-1 --failure-domain rack-1 --for 1h --reason WHY');
    const [overridden] = statusHints(statusAnswer({ massLosses: [{ ...loss, failureDomain: '', overriddenUntil: { seconds: 1_700_000_000, nanos: 0 } }] }));
    assert.equal(overridden, '7 of 10 hosts of gateway gw-1 are silent; reclaim goes on until 2023-11-14 22:13:20Z');
  });

  it('draws usage in plain ASCII: anything shows, and only full is full', () => {
    const empty = '-'.repeat(20);
    assert.equal(usageBar(0), `[${empty}]   0%`);
    assert.equal(usageBar(0.1), `[#${empty.slice(1)}]   0%`);
    assert.equal(usageBar(99.99), `[${'#'.repeat(19)}-]  99%`);
    assert.equal(usageBar(100), `[${'#'.repeat(20)}] 100%`);
  });

  it('asks for nothing when all is well', () => {
    assert.deepEqual(statusHints(statusAnswer()), []);
  });

  it('leads a new installation to its first gateway and pool', () => {
    assert.match(statusHints(statusAnswer({ gateways: [], pools: [] })).join(), /portlease gateways create NAME --scope shared/);
    assert.match(statusHints(statusAnswer({ pools: [] })).join(), /portlease pools create NAME --gateway gw-1/);
  });

  const figures = { ...POOL.figures!, free: 0, usagePercent: 100 };
  const CASES: [what: string, Parameters<typeof statusAnswer>[0], expected: RegExp][] = [
    ['a journal that fails', { journal: 'the disk is full' }, /^nothing can be made durable \(the disk is full\)/],
    ['a shared gateway without an agent', { gateways: [{ ...GATEWAY, agentHost: '', agentState: HostState.HOST_STATE_UNSPECIFIED }] }, /gateway gw-1 has no agent/],
    ['a gateway agent that is silent', { gateways: [{ ...GATEWAY, agentState: HostState.HOST_STATE_LOST }] }, /agent of gateway gw-1 does not answer: look at it on gw-host/],
    ['a full pool', { pools: [{ ...POOL, figures }] }, /pool ssh of gw-1 has no free port: portlease pools update ssh --gateway gw-1/],
    ['a pool that is nearly full', { pools: [{ ...POOL, figures: { ...figures, free: 3, usagePercent: 97 } }] }, /nearly full/],
    ['lost hosts', { hostsLost: 2 }, /^2 lost: portlease hosts /],
    ['suspect hosts', { hostsSuspect: 1 }, /^1 with a late heartbeat/],
    ['hosts that have not come back', { hostsUnknown: 3 }, /^3 have not said hello/],
  ];
  for (const [what, part, expected] of CASES) {
    it(`says what to do about ${what}`, () => {
      assert.match(statusHints(statusAnswer(part)).join('\n'), expected);
      assert.match(statusScreen(statusAnswer(part)), /^next: /m);
    });
  }

  it('wants no agent for a gateway whose hosts have their own addresses', () => {
    const gateway = { ...GATEWAY, scope: GatewayScope.GATEWAY_SCOPE_HOST, agentHost: '', agentState: HostState.HOST_STATE_UNSPECIFIED };
    assert.deepEqual(statusHints(statusAnswer({ gateways: [gateway] })), []);
  });
});
