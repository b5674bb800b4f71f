import assert from 'node:assert/strict';
import { benchOfEachTest } from '../support/describe.js';
import { refusalOf } from '../support/api.js';
import { QUARANTINE_MS } from '../support/daemons.js';
import { vmAddress } from '../support/layout.js';
import { address, environmentOn, goOn, moveTo, portsOf, reachedOnAll, servedEnvironment, Wait } from '../support/requests.js';
import { neverReached, nobodyReached, oneHostAtATime } from '../support/timeline.js';
import { eventually } from '../support/wait.js';

describe('a port that is released', () => {
  const bench = benchOfEachTest();

  it('reaches nobody once the release is answered, also on connections over which the service goes on sending (S12)', async () => {
    const { probe, mappings } = await servedEnvironment(bench(), 'host-a');
    const { mappings: released } = await bench().api.release({ selector: { $case: 'environment', value: 'env-1' }, wait: Wait.WAIT_LIVE });
    const releasedAtMs = Date.now();
    assert.equal(released.length, mappings.length);
    await goOn(probe, QUARANTINE_MS + 1_000);
    neverReached(probe.timeline, 'host-a/', { afterMs: releasedAtMs });
    nobodyReached(probe.timeline, { afterMs: releasedAtMs });
  });

  it('with the same number on both ends: the same, and a local listener on that number is not reached either (S12)', async () => {
    const port = 31_007;
    const listen = [{ transport: 'tcp', port }, { transport: 'udp', port }] as const;
    await bench().serve('host-a/env-1', [...listen], { pushEveryMs: 50 });
    const { mappings } = await bench().api.allocate({
      tenant: 'tenant-1', environment: 'env-1', host: 'host-a', wait: Wait.WAIT_LIVE,
      wants: [{ name: 'game', source: { $case: 'pool', value: 'game' }, target: address(vmAddress('host-a')), internalPort: port, choice: { $case: 'exactPort', value: port } }],
    });
    assert.equal(mappings[0]?.publicPort, port);
    await bench().serve('host-a/listener', [...listen], { node: 'host-a', pushEveryMs: 50 });
    const probe = await bench().probe(...portsOf(mappings));
    await reachedOnAll(probe, mappings, 'host-a/env-1');
    await bench().api.release({ selector: { $case: 'environment', value: 'env-1' } });
    const releasedAtMs = Date.now();
    await goOn(probe, 3 * QUARANTINE_MS);
    neverReached(probe.timeline, 'host-a/env-1', { afterMs: releasedAtMs });
    neverReached(probe.timeline, 'host-a/listener');
  });

  it('is not given to another environment before its quarantine is over, and then serves that one only (S12)', async () => {
    const { probe, mappings } = await servedEnvironment(bench(), 'host-a');
    const port = mappings.find(({ name }) => name === 'ssh')?.publicPort ?? 0;
    await bench().api.release({ selector: { $case: 'environment', value: 'env-1' } });
    const releasedAtMs = Date.now();
    await bench().serve('host-a/env-2', [{ transport: 'tcp', port: 22, address: vmAddress('host-a', 1) }]);
    const request = {
      tenant: 'tenant-1', environment: 'env-2', host: 'host-a', wait: Wait.WAIT_LIVE,
      wants: [{ name: 'ssh', source: { $case: 'pool', value: 'ssh' }, target: address(vmAddress('host-a', 1)), choice: { $case: 'exactPort', value: port } } as const],
    };
    const refusal = await refusalOf(bench().api.allocate(request));
    assert.equal(refusal.details.reason, 'PORT_QUARANTINED');
    const given = await eventually('the port to be free', async () => (await bench().api.allocate(request)).mappings[0], { withinMs: 10_000, everyMs: 50 });
    assert.equal(given.publicPort, port);
    assert.ok(Date.now() - releasedAtMs >= QUARANTINE_MS);
    await probe.until('env-2 through the port', (record) => record.port === port && record.who === 'host-a/env-2');
    neverReached(probe.timeline, 'host-a/env-1', { afterMs: releasedAtMs });
  });

  it('while its host is silent is withdrawn at the gateway: the answer comes, and nobody reaches it, though the host still serves it (S8, S12)', async () => {
    const { probe } = await servedEnvironment(bench(), 'host-a');
    await bench().topology.switch.cut({ node: 'host-a', direction: 'both', peer: 'coordinator' });
    await bench().untilLost('host-a');
    await bench().api.release({ selector: { $case: 'environment', value: 'env-1' }, wait: Wait.WAIT_RECORDED });
    await eventually('the release to be confirmed', async () => (await bench().api.mappings({ environment: 'env-1' })).length === 0, { withinMs: 15_000 });
    const releasedAtMs = Date.now();
    await goOn(probe, 1_500);
    nobodyReached(probe.timeline, { afterMs: releasedAtMs });
    neverReached(probe.timeline, 'host-a/', { afterMs: releasedAtMs });
    await bench().untilNewSession('host-a', () => bench().topology.switch.restore());
    await goOn(probe, 1_000);
    nobodyReached(probe.timeline, { afterMs: releasedAtMs });
  });
});

describe('a local listener on a public port', () => {
  const bench = benchOfEachTest();

  it('of a leased range is not reached through a port that has no mapping (S7)', async () => {
    const { mappings } = await servedEnvironment(bench(), 'host-a');
    const leases = await bench().api.leases({ host: 'host-a' });
    const mapped = new Set(mappings.map(({ publicPort }) => publicPort));
    const idle = leases.flatMap(({ ports }) => ports ? Array.from({ length: ports.last - ports.first + 1 }, (_, i) => ports.first + i) : []).filter((port) => !mapped.has(port));
    assert.ok(idle.length > 0, 'the leases have no idle port');
    const listen = idle.flatMap((port) => [{ transport: 'tcp', port } as const, { transport: 'udp', port } as const]);
    await bench().serve('host-a/listener', listen, { node: 'host-a' });
    const probe = await bench().probe(...listen.map(({ transport, port }) => ({ transport, port })));
    await goOn(probe, 1_000);
    nobodyReached(probe.timeline);
  });

  it('of the host that an environment moves to is not reached while it moves, nor afterwards, and blocks the mapping (S1, S7)', async () => {
    const { mappings, probe } = await servedEnvironment(bench(), 'host-a', { alsoOn: ['host-b'] });
    const listen = portsOf(mappings).map(({ port, transport }) => ({ port, transport }));
    await bench().serve('host-b/listener', listen, { node: 'host-b' });
    await bench().topology.switch.cut({ node: 'host-a', direction: 'both', peer: 'coordinator' });
    await bench().untilLost('host-a');
    const refusal = await refusalOf(bench().api.move(moveTo('host-b')));
    assert.equal(refusal.details.reason, 'PORT_BLOCKED');
    assert.match(refusal.message, /PORT_CONFLICT: node \(pid \d+, user root\) listens on/);
    await reachedOnAll(probe, mappings, 'host-b/env-1');
    neverReached(probe.timeline, 'host-b/listener');
    oneHostAtATime(probe.timeline);
  });

  it('of the gateway is not reached through a port that is routed, nor while the route is put back (S7)', async () => {
    const { mappings, probe } = await servedEnvironment(bench(), 'host-a');
    const listen = portsOf(mappings).map(({ port, transport }) => ({ port, transport }));
    await bench().serve('gateway/listener', listen, { node: 'gateway' });
    for (let round = 0; round < 3; round++) {
      await bench().topology.run('gateway', ['iptables', '-t', 'nat', '-F']);
      await eventually('the routes to be back', async () => (await bench().leadsOf('gateway', mappings[0]?.publicPort ?? 0)).length > 0, { withinMs: 5_000 });
    }
    await reachedOnAll(probe, mappings, 'host-a/env-1');
    neverReached(probe.timeline, 'gateway/');
  });
});

describe('an environment with several moves', () => {
  const bench = benchOfEachTest();

  it('is answered by one host at a time, there and back, with the host that it leaves alive (S1, S12)', async () => {
    const { mappings, probe } = await servedEnvironment(bench(), 'host-a', { alsoOn: ['host-b'] });
    await bench().api.move(moveTo('host-b'));
    const movedAtMs = Date.now();
    await reachedOnAll(probe, mappings, 'host-b/env-1');
    neverReached(probe.timeline, 'host-a/', { afterMs: movedAtMs });
    await bench().api.move(moveTo('host-a'));
    const backAtMs = Date.now();
    await reachedOnAll(probe, mappings, 'host-a/env-1');
    neverReached(probe.timeline, 'host-b/', { afterMs: backAtMs });
    const again = await bench().api.allocate(environmentOn('host-a'));
    assert.deepEqual(portsOf(again.mappings), portsOf(mappings));
  });
});
