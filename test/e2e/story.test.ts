import assert from 'node:assert/strict';
import { benchOfEachTest } from '../support/describe.js';
import { LOST_MS } from '../support/daemons.js';
import { ENVIRONMENT_LISTENERS, environmentOn, MappingState, moveTo, portsOf, reachedOnAll } from '../support/requests.js';
import { neverInterrupted, neverReached, neverReconnected, oneHostAtATime, reachedOnly } from '../support/timeline.js';
import { eventually } from '../support/wait.js';

describe('an environment whose host is lost', () => {
  const bench = benchOfEachTest();

  it('answers on another host under the same ports, and the lost host serves nobody, neither while it is away nor when it is back (S1, S4, S7, S8, S12)', async () => {
    const { api, topology } = bench();
    for (const host of ['host-a', 'host-b'] as const) await bench().serve(`${host}/env-1`, ENVIRONMENT_LISTENERS, { pushEveryMs: 100 });
    const { mappings } = await api.allocate(environmentOn('host-a'));
    const probe = await bench().probe(...portsOf(mappings));
    await reachedOnAll(probe, mappings, 'host-a/env-1');

    await topology.switch.cut({ node: 'host-a', direction: 'both' });
    await bench().untilLost('host-a');
    const held = await api.environment('env-1');
    assert.deepEqual(held.mappings.map(({ state }) => state), held.mappings.map(() => MappingState.MAPPING_STATE_HELD));
    const moved = await api.move(moveTo('host-b'));
    assert.deepEqual(portsOf(moved.environment?.mappings ?? []), portsOf(mappings));
    const movedAtMs = Date.now();
    await reachedOnAll(probe, mappings, 'host-b/env-1', ['new']);
    // A kept TCP connection notices when it repeats what it sent, later and later the longer it was cut off.
    await reachedOnAll(probe, mappings, 'host-b/env-1', ['kept']);

    const rules = () => bench().agent('host-a').machine.run(['iptables-save', '-t', 'nat']);
    assert.match((await rules()).stdout, /DNAT --to-destination 10\.88\.1\.10:22/);
    await topology.switch.restore();
    const backAtMs = Date.now();
    await bench().untilAlive('host-a');
    await eventually('host-a to drop its old rules', async () => !/10\.88\.1\.10/.test((await rules()).stdout), { withinMs: 5_000 });
    await probe.until('host-b still', (r) => r.sentAtMs > backAtMs + LOST_MS && r.who === 'host-b/env-1');

    neverReached(probe.timeline, 'host-a/', { afterMs: movedAtMs });
    oneHostAtATime(probe.timeline);
    reachedOnly(probe.timeline, 'host-b/', { afterMs: backAtMs });
    neverInterrupted(probe.timeline, { afterMs: backAtMs });
    neverReconnected(probe.timeline, { afterMs: backAtMs });
  });

  it('is moved as soon as its host is silent, without waiting for anything but the gateway, while the host still has its rules and its clients still its connections (S1, S8)', async () => {
    const { api, topology } = bench();
    for (const host of ['host-a', 'host-b'] as const) await bench().serve(`${host}/env-1`, ENVIRONMENT_LISTENERS, { pushEveryMs: 100 });
    const { mappings } = await api.allocate(environmentOn('host-a'));
    const probe = await bench().probe(...portsOf(mappings));
    await probe.until('a kept connection', (r) => r.kind === 'kept' && r.transport === 'udp' && r.who === 'host-a/env-1');

    // Clients still reach host-a: only the coordinator does not.
    await topology.switch.cut({ node: 'host-a', direction: 'both', peer: 'coordinator' });
    const cutAtMs = Date.now();
    await bench().untilLost('host-a');
    neverInterrupted(probe.timeline, { afterMs: cutAtMs });
    neverReconnected(probe.timeline, { afterMs: cutAtMs });
    await api.move(moveTo('host-b'));
    const movedAtMs = Date.now();
    await reachedOnAll(probe, mappings, 'host-b/env-1');
    await topology.switch.restore();
    await bench().untilAlive('host-a');
    const backAtMs = Date.now();
    await probe.until('host-b still', (r) => r.sentAtMs > backAtMs + 1_000 && r.who === 'host-b/env-1');
    neverReached(probe.timeline, 'host-a/', { afterMs: movedAtMs });
    oneHostAtATime(probe.timeline);
    neverInterrupted(probe.timeline, { afterMs: backAtMs });
  });
});
