import assert from 'node:assert/strict';
import { benchOfEachTest } from '../support/describe.js';
import { LOST_MS } from '../support/daemons.js';
import { refusalOf } from '../support/api.js';
import { address, environmentOn, goOn, MappingState, moveTo, reachedOnAll, servedEnvironment, SSH_PORT, Wait } from '../support/requests.js';
import { vmAddress } from '../support/layout.js';
import { neverInterrupted, neverReached, neverReconnected, oneHostAtATime } from '../support/timeline.js';
import { eventually } from '../support/wait.js';
import { isRunning } from '../support/processes.js';

describe('an agent that fails', () => {
  const bench = benchOfEachTest();

  for (const who of ['host-a', 'gateway'] as const) {
    it(`${who}: killed and started again it interrupts nothing and touches no rule that is right (S7)`, async () => {
      const { probe } = await servedEnvironment(bench(), 'host-a');
      const rules = await bench().rules(who);
      const agent = bench().agent(who);
      const fromMs = Date.now();
      await bench().untilNewSession(who, () => agent.restart('SIGKILL'));
      await goOn(probe, 500);
      neverInterrupted(probe.timeline, { afterMs: fromMs });
      neverReconnected(probe.timeline, { afterMs: fromMs });
      assert.deepEqual(await bench().rules(who), rules);
    });
  }

  it('that is away for longer than its leases last, while nobody needs its ports, interrupts nothing and is live again when it is back (S7, S13)', async () => {
    const { mappings, probe } = await servedEnvironment(bench(), 'host-a');
    const fromMs = Date.now();
    await bench().agent('host-a').stop('SIGKILL');
    await bench().untilLost('host-a');
    await bench().untilNewSession('host-a', () => bench().agent('host-a').start());
    await eventually('the mappings to be live again', async () => (await bench().api.environment('env-1')).mappings.every(({ state }) => state === MappingState.MAPPING_STATE_LIVE), { withinMs: 10_000 });
    const { mappings: now } = await bench().api.environment('env-1');
    assert.deepEqual(now.map(({ publicPort }) => publicPort).sort(), mappings.map(({ publicPort }) => publicPort).sort());
    neverInterrupted(probe.timeline, { afterMs: fromMs });
    neverReconnected(probe.timeline, { afterMs: fromMs });
  });

  it('that is frozen while its environment moves serves nothing old when it wakes (S1, S4, S8)', async () => {
    const { mappings, probe } = await servedEnvironment(bench(), 'host-a', { alsoOn: ['host-b'] });
    bench().agent('host-a').process.signal('SIGSTOP');
    await bench().untilLost('host-a');
    await bench().api.move(moveTo('host-b'));
    const movedAtMs = Date.now();
    await reachedOnAll(probe, mappings, 'host-b/env-1');
    await bench().untilNewSession('host-a', () => bench().agent('host-a').process.signal('SIGCONT'));
    await eventually('host-a to drop its old rules', async () => (await Promise.all(mappings.map(({ publicPort }) => bench().leadsOf('host-a', publicPort)))).flat().length === 0, { withinMs: 10_000 });
    await goOn(probe, 500);
    neverReached(probe.timeline, 'host-a/', { afterMs: movedAtMs });
    oneHostAtATime(probe.timeline);
  });

  it('that dies while its iptables-restore is stalled is not followed by another one before that is gone; what it commits late is taken back (S7, S12)', async () => {
    const { probe } = await servedEnvironment(bench(), 'host-a');
    await bench().serve('host-a/env-2', [{ transport: 'tcp', port: SSH_PORT, address: vmAddress('host-a', 1) }]);
    const { api } = bench();
    const agent = bench().agent('host-a');
    await agent.machine.stall('iptables-restore');
    const { mappings: [late] } = await api.allocate({ ...environmentOn('host-a', 'env-2', 1), wants: [{ name: 'ssh', source: { $case: 'pool', value: 'ssh' }, target: address(vmAddress('host-a', 1)) }], wait: Wait.WAIT_RECORDED });
    assert.ok(late);
    const [orphan] = await agent.machine.stalled('iptables-restore');
    assert.ok(orphan);
    await agent.stop('SIGKILL');
    assert.equal(isRunning(orphan), true);
    agent.start();
    await api.release({ selector: { $case: 'environment', value: 'env-2' }, wait: Wait.WAIT_RECORDED });
    await goOn(probe, LOST_MS / 2);
    assert.doesNotMatch(agent.process.tail(), /"msg":"starting"[^]*"msg":"starting"/, 'two agents ran at a time');
    const lateClient = await bench().probe({ port: late.publicPort, transport: 'tcp' });
    await bench().untilNewSession('host-a', async () => assert.ok(await agent.machine.release('iptables-restore') > 0));
    await eventually('the release to be confirmed', async () => (await api.mappings({ environment: 'env-2' })).length === 0, { withinMs: 20_000, hint: () => bench().logs() });
    const releasedAtMs = Date.now();
    await eventually('the late rule to be gone', async () => (await bench().leadsOf('host-a', late.publicPort)).length === 0, { withinMs: 5_000 });
    await goOn(lateClient, 500);
    neverReached(lateClient.timeline, 'host-a/env-2', { afterMs: releasedAtMs });
    neverInterrupted(probe.timeline);
  });

  it('of the gateway, when its iptables-restore is stalled, confirms nothing, and nobody else is told to serve until it does (S1, S8)', async () => {
    const { mappings, probe } = await servedEnvironment(bench(), 'host-a', { alsoOn: ['host-b'] });
    const { api, topology } = bench();
    await topology.switch.cut({ node: 'host-a', direction: 'both', peer: 'coordinator' });
    await bench().untilLost('host-a');
    const gateway = bench().agent('gateway').machine;
    await gateway.stall('iptables-restore');
    const refusal = await refusalOf(api.move(moveTo('host-b'), 2_000));
    assert.match(refusal.details.reason ?? refusal.message, /GATEWAY_NOT_READY|NOT_LIVE_IN_TIME|DEADLINE/i);
    for (const { publicPort } of mappings) assert.deepEqual(await bench().leadsOf('host-b', publicPort), []);
    neverReached(probe.timeline, 'host-b/');

    await gateway.release('iptables-restore');
    await api.move(moveTo('host-b'));
    const movedAtMs = Date.now();
    await reachedOnAll(probe, mappings, 'host-b/env-1');
    neverReached(probe.timeline, 'host-a/', { afterMs: movedAtMs });
    oneHostAtATime(probe.timeline);
  });

  it('of the gateway, killed while it moves a route, finishes the move after its restart (S1, S8)', async () => {
    const { mappings, probe } = await servedEnvironment(bench(), 'host-a', { alsoOn: ['host-b'] });
    const { api, topology } = bench();
    await topology.switch.cut({ node: 'host-a', direction: 'both', peer: 'coordinator' });
    await bench().untilLost('host-a');
    const gateway = bench().agent('gateway');
    await gateway.machine.stall('iptables-restore');
    const moved = api.move(moveTo('host-b'), 30_000);
    moved.catch(() => undefined);
    await gateway.machine.stalled('iptables-restore');
    await gateway.stop('SIGKILL');
    neverReached(probe.timeline, 'host-b/');
    gateway.start();
    await gateway.machine.release('iptables-restore');
    await moved;
    const movedAtMs = Date.now();
    await reachedOnAll(probe, mappings, 'host-b/env-1');
    neverReached(probe.timeline, 'host-a/', { afterMs: movedAtMs });
    oneHostAtATime(probe.timeline);
  });
});
