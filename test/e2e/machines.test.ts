import assert from 'node:assert/strict';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Bench } from '../support/bench.js';
import { Agent, LOST_MS } from '../support/daemons.js';
import { benchOfEachTest } from '../support/describe.js';
import { hostAddress, hostInnerAddress, vmAddress } from '../support/layout.js';
import { ENVIRONMENT_LISTENERS, goOn, reachedOnAll, servedEnvironment } from '../support/requests.js';
import { neverInterrupted, neverReached, oneHostAtATime } from '../support/timeline.js';

describe('a machine that is rebooted', () => {
  const bench = benchOfEachTest();

  it('with its state kept answers again under the same numbers (S7)', async () => {
    const { mappings, probe } = await servedEnvironment(bench(), 'host-a');
    const agent = bench().agent('host-a');
    const before = await bench().rules('host-a');
    await bench().untilNewSession('host-a', async () => {
      await agent.machine.reboot();
      assert.deepEqual(await bench().leadsOf('host-a', mappings[0]?.publicPort ?? 0), []);
      agent.start();
    });
    await reachedOnAll(probe, mappings, 'host-a/env-1');
    assert.deepEqual(await bench().rules('host-a'), before);
  });

  it('with its state lost is refused until an operator says that it replaces the other one; then it answers under the same numbers (S4)', async () => {
    const { mappings, probe } = await servedEnvironment(bench(), 'host-a');
    const agent = bench().agent('host-a');
    await agent.machine.reboot();
    rmSync(agent.stateDirectory, { recursive: true });
    agent.start();
    await agent.process.line(/SECOND_MACHINE|has lost its state|Another machine/i, 15_000);
    await goOn(probe, 500);
    for (const { publicPort } of mappings) assert.deepEqual(await bench().leadsOf('host-a', publicPort), []);

    await bench().untilNewSession('host-a', async () => { await bench().api.replaceHost('host-a', 'its disk was replaced'); });
    await reachedOnAll(probe, mappings, 'host-a/env-1');
    const { mappings: now } = await bench().api.environment('env-1');
    assert.deepEqual(now.map(({ mappingId }) => mappingId), mappings.map(({ mappingId }) => mappingId));
  });

  it('and was the gateway routes again without waiting for anybody, and interrupts nobody for longer than it was away (S7, S13)', async () => {
    const { mappings, probe } = await servedEnvironment(bench(), 'host-a');
    await bench().coordinator.stop();
    const agent = bench().agent('gateway');
    await agent.machine.reboot();
    agent.start();
    await reachedOnAll(probe, mappings, 'host-a/env-1', ['new']);
  });
});

describe('a second machine with the same host id', () => {
  let bench: Bench;
  let other: Agent | undefined;

  /** host-c is a machine without an agent of its own. */
  beforeEach(async () => {
    bench = await Bench.up({ hosts: 3 });
    await bench.agent('host-c').stop();
  });

  afterEach(async function () {
    const failed = this.currentTest?.state === 'failed';
    if (failed && other) process.stderr.write(`${other.process.tail()}\n`);
    await other?.stop('SIGKILL');
    other = undefined;
    await bench.close({ failed });
  });

  function imposter(stateDirectory: string): Agent {
    const { machine } = bench.agent('host-c');
    return new Agent({ machine, host: 'host-a', roles: ['host'], addresses: [hostAddress('host-c')], config: { paths: { state: stateDirectory } } });
  }

  /** The machine behind host-c gets the address that the environment has behind host-a, as a clone of the whole would. */
  async function haveTheSameTarget(): Promise<void> {
    await bench.topology.run('host-c', ['ip', 'addr', 'add', `${hostInnerAddress('host-a')}/24`, 'dev', 'vm0']);
    await bench.topology.run('vm-c', ['ip', 'addr', 'add', `${vmAddress('host-a')}/24`, 'dev', 'eth0']);
    await bench.serve('host-c/env-1', ENVIRONMENT_LISTENERS.map((listener) => ({ ...listener, address: vmAddress('host-a') })), { pushEveryMs: 100 });
  }

  it('is refused, told nothing and routed to by nobody; the first one goes on (S1, S4)', async () => {
    const { mappings, probe } = await servedEnvironment(bench, 'host-a', { alsoOn: ['host-c'] });
    const session = (await bench.api.host('host-a'))?.session;
    const fromMs = Date.now();
    other = imposter(join(bench.directory, 'state-of-the-other'));
    other.start();
    await other.process.line(/SECOND_MACHINE|Another machine/i, 15_000);
    await goOn(probe, LOST_MS);
    assert.equal((await bench.api.host('host-a'))?.session, session);
    for (const { publicPort } of mappings) assert.deepEqual(await bench.leadsOf('host-c', publicPort), []);
    neverInterrupted(probe.timeline, { afterMs: fromMs });
    neverReached(probe.timeline, 'host-c/');
  });

  it('that is a copy of its disk: one of the two at most is told anything or routed to (S1, S4)', async () => {
    const { mappings, probe } = await servedEnvironment(bench, 'host-a');
    await haveTheSameTarget();
    const copy = join(bench.directory, 'state-copied');
    cpSync(bench.agent('host-a').stateDirectory, copy, { recursive: true });
    other = imposter(copy);
    const refused = /SECOND_MACHINE|Another machine/i;
    other.start();
    const loser = await Promise.race([bench.agent('host-a').process.line(refused, 20_000).then(() => 'host-a'), other.process.line(refused, 20_000).then(() => 'host-c')]);
    const winner = loser === 'host-a' ? 'host-c' : 'host-a';
    await reachedOnAll(probe, mappings, `${winner}/env-1`, ['new']);
    const settledAtMs = Date.now();
    await goOn(probe, LOST_MS);
    neverReached(probe.timeline, `${loser}/`, { afterMs: settledAtMs });
    oneHostAtATime(probe.timeline);
  });
});
