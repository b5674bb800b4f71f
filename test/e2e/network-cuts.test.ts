import assert from 'node:assert/strict';
import { benchOfEachTest } from '../support/describe.js';
import { refusalOf } from '../support/api.js';
import { goOn, moveTo, reachedOnAll, servedEnvironment } from '../support/requests.js';
import { neverInterrupted, neverReached, neverReconnected, oneHostAtATime } from '../support/timeline.js';
import { eventually } from '../support/wait.js';

describe('a network that is cut', () => {
  const bench = benchOfEachTest();

  for (const direction of ['in', 'out', 'both'] as const) {
    it(`between a host and the coordinator (${direction}), while clients still reach it: the environment moves, and no client reaches two hosts (S1, S4, S7, S8)`, async () => {
      const { mappings, probe } = await servedEnvironment(bench(), 'host-a', { alsoOn: ['host-b'] });
      const cutAtMs = Date.now();
      await bench().topology.switch.cut({ node: 'host-a', direction, peer: 'coordinator' });
      await bench().untilLost('host-a');
      neverInterrupted(probe.timeline, { afterMs: cutAtMs });
      neverReconnected(probe.timeline, { afterMs: cutAtMs });

      await bench().api.move(moveTo('host-b'));
      const movedAtMs = Date.now();
      await reachedOnAll(probe, mappings, 'host-b/env-1');
      await bench().untilNewSession('host-a', () => bench().topology.switch.restore());
      await eventually('host-a to drop its old rules', async () => (await bench().leadsOf('host-a', mappings[0]?.publicPort ?? 0)).length === 0, { withinMs: 10_000 });
      await goOn(probe, 500);
      neverReached(probe.timeline, 'host-a/', { afterMs: movedAtMs });
      oneHostAtATime(probe.timeline);
    });
  }

  it('and repaired before anybody needed the ports: the host goes on where it was (S7, S13)', async () => {
    const { mappings, probe } = await servedEnvironment(bench(), 'host-a');
    await bench().topology.switch.cut({ node: 'host-a', direction: 'both' });
    await bench().untilLost('host-a');
    await bench().untilNewSession('host-a', () => bench().topology.switch.restore());
    await reachedOnAll(probe, mappings, 'host-a/env-1');
    const { mappings: now } = await bench().api.environment('env-1');
    assert.deepEqual(now.map(({ mappingId, publicPort }) => ({ mappingId, publicPort })), mappings.map(({ mappingId, publicPort }) => ({ mappingId, publicPort })));
    await goOn(probe, 500);
  });

  it('between the gateway and the coordinator: nothing is interrupted, and nothing moves before the gateway can confirm it (S1, S8, S13)', async () => {
    const { mappings, probe } = await servedEnvironment(bench(), 'host-a', { alsoOn: ['host-b'] });
    const { api, topology } = bench();
    const cutAtMs = Date.now();
    await topology.switch.cut({ node: 'gateway', direction: 'both', peer: 'coordinator' });
    await topology.switch.cut({ node: 'host-a', direction: 'both', peer: 'coordinator' });
    await bench().untilLost('host-a');
    const refusal = await refusalOf(api.move(moveTo('host-b'), 2_000));
    assert.match(refusal.details.reason ?? refusal.message, /GATEWAY_NOT_READY|NOT_LIVE_IN_TIME|DEADLINE/i);
    await goOn(probe, 500);
    neverReached(probe.timeline, 'host-b/');
    neverInterrupted(probe.timeline, { afterMs: cutAtMs });
    for (const { publicPort } of mappings) assert.deepEqual(await bench().leadsOf('host-b', publicPort), []);

    await topology.switch.restore('gateway');
    await api.move(moveTo('host-b'), 20_000);
    const movedAtMs = Date.now();
    await reachedOnAll(probe, mappings, 'host-b/env-1');
    neverReached(probe.timeline, 'host-a/', { afterMs: movedAtMs });
    oneHostAtATime(probe.timeline);
  });
});
