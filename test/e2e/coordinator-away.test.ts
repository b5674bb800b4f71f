import assert from 'node:assert/strict';
import { benchOfEachTest } from '../support/describe.js';
import { LOST_MS } from '../support/daemons.js';
import { environmentOn, goOn, reachedOnAll, servedEnvironment } from '../support/requests.js';
import { neverInterrupted, neverReconnected } from '../support/timeline.js';

describe('a coordinator that is away', () => {
  const bench = benchOfEachTest();

  it('for three times T stops no port, also while a host reboots and the agent of the gateway restarts; then every lease is as it was (S3, S9, S13)', async () => {
    const { mappings, probe } = await servedEnvironment(bench(), 'host-a');
    const other = await servedEnvironment(bench(), 'host-b', { environment: 'env-2' });
    const leases = await bench().api.leases();

    const stoppedAtMs = Date.now();
    await bench().coordinator.stop('SIGKILL');
    const { machine } = bench().agent('host-a');
    await machine.reboot();
    bench().agent('host-a').start();
    await reachedOnAll(probe, mappings, 'host-a/env-1');
    const servedAgainAtMs = Date.now();
    await bench().agent('gateway').restart('SIGTERM');
    await goOn(probe, Math.max(0, 3 * LOST_MS - (Date.now() - stoppedAtMs)));
    neverInterrupted(other.probe.timeline, { afterMs: stoppedAtMs });
    neverReconnected(other.probe.timeline, { afterMs: stoppedAtMs });
    neverInterrupted(probe.timeline, { afterMs: servedAgainAtMs });

    await bench().coordinator.start();
    const startedAtMs = Date.now();
    await bench().untilAlive('gateway', 'host-a', 'host-b');
    await goOn(probe, LOST_MS);
    neverInterrupted(probe.timeline, { afterMs: startedAtMs });
    neverInterrupted(other.probe.timeline, { afterMs: startedAtMs });
    assert.deepEqual(await bench().api.leases(), leases);
    const { mappings: now } = await bench().api.environment('env-1');
    assert.deepEqual(now.map(({ mappingId, publicPort }) => ({ mappingId, publicPort })), mappings.map(({ mappingId, publicPort }) => ({ mappingId, publicPort })));
    const { mappings: more } = await bench().api.allocate(environmentOn('host-a', 'env-3', 2));
    assert.ok(more.every(({ generation }) => generation > Math.max(...leases.map((lease) => lease.generation))));
  });
});
