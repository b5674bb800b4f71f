/** The story of one environment that loses its host. Each step does something, then proves what it claims; a claim that does not hold throws. */
import assert from 'node:assert/strict';
import { HostState } from '../../shared/gen/portlease/v1/operations.js';
import { MappingState, Wait } from '../../shared/gen/portlease/v1/common.js';
import type { Mapping } from '../../shared/gen/portlease/v1/ports.js';
import { GATEWAY, LOST_MS } from '../../test/support/daemons.js';
import { CLIENT, GATEWAY_PUBLIC, hostAddress, vmAddress } from '../../test/support/layout.js';
import { address } from '../../test/support/requests.js';
import { neverInterrupted, neverReached, neverReconnected, select, type Filter } from '../../test/support/timeline.js';
import type { Probe } from '../../test/support/traffic.js';
import { FOREIGN_COMMENT } from '../../test/support/topology.js';
import { eventually } from '../../test/support/wait.js';
import { CONTAINER_STEP } from './container.js';
import { ENVIRONMENT, type Ports, type World } from './world.js';

/** What the steps so far have made and seen. */
export type Told = { world: World; ports: Ports; mappingIds: string[]; movedAtMs: number };

export type Step = {
  text: string;
  /** Why it cannot be told on this machine, and what would help; undefined: it can. */
  lacks?: () => string | undefined;
  run(told: Told, proven: (text: string) => void): Promise<void>;
};

const seconds = (ms: number) => `${(ms / 1000).toFixed(ms < 950 ? 2 : 1)} s`;

export const STORY: Step[] = [
  {
    text: 'A coordinator on SQLite, a gateway and two hosts are running, each in a network namespace of its own.',
    async run({ world }, proven) {
      const { api } = world.bench;
      const states = await Promise.all(['gateway', 'host-a', 'host-b'].map((host) => api.host(host)));
      for (const host of states) assert.equal(host?.state, HostState.HOST_STATE_ALIVE);
      proven('the coordinator lists gateway, host-a and host-b as alive');
      const pools = await api.pools(GATEWAY);
      const sshPool = pools.find(({ pool }) => pool === 'ssh-linux');
      assert.deepEqual(sshPool?.ranges, [{ first: 30_000, last: 30_999 }]);
      proven(`gateway ${GATEWAY} (${GATEWAY_PUBLIC[4]}) has the pools of the service plan: ${pools.map(({ pool }) => pool).join(', ')}`);
    },
  },
  {
    text: `AllocatePorts: environment ${ENVIRONMENT} on host-a gets a public port for its ssh and one for its web service.`,
    async run(told, proven) {
      const { world } = told;
      const target = address(vmAddress('host-a'));
      const { mappings } = await world.bench.api.allocate({
        tenant: 'demo', environment: ENVIRONMENT, host: 'host-a', wait: Wait.WAIT_LIVE,
        wants: [{ name: 'ssh', source: { $case: 'pool', value: 'ssh-linux' }, target }, { name: 'web', source: { $case: 'serviceType', value: 'jupyter' }, target }],
      });
      told.ports = portsOf(mappings);
      told.mappingIds = mappings.map(({ mappingId }) => mappingId);
      proven(`answered live: ssh is ${GATEWAY_PUBLIC[4]}:${told.ports.ssh}, web is ${GATEWAY_PUBLIC[4]}:${told.ports.web}`);
      const rule = await world.rule('host-a', told.ports.ssh);
      assert.ok(rule, 'host-a has no rule for the ssh port');
      proven(`kernel of host-a: ${rule}`);
    },
  },
  {
    text: 'A client outside reaches the environment through the gateway.',
    async run(told, proven) {
      await clientIsAnsweredBy('host-a', told, proven);
      told.world.watch(told.ports);
      await told.world.probe.until('the first answers', ({ kind, who }) => kind === 'kept' && who === `host-a/${ENVIRONMENT}`);
      proven('from now on the client makes ten new connections a second to the ssh port, and keeps one open');
    },
  },
  {
    text: 'host-a falls silent: its cable is cut in both directions, without a word to anybody.',
    async run({ world }, proven) {
      const { probe } = world;
      await world.bench.topology.switch.cut({ node: 'host-a', direction: 'both' });
      const cutAtMs = Date.now();
      await probe.until('an attempt that gets no answer', ({ outcome }) => outcome === 'timeout' || outcome === 'unreachable', { fromMs: cutAtMs });
      proven('the client gets no answer');
      await world.bench.untilLost('host-a');
      const { mappings } = await world.bench.api.environment(ENVIRONMENT);
      for (const { state } of mappings) assert.equal(state, MappingState.MAPPING_STATE_HELD);
      proven(`after ${seconds(Date.now() - cutAtMs)} the coordinator calls host-a lost, and holds both ports for ${ENVIRONMENT}`);
    },
  },
  {
    text: `MoveEnvironment: ${ENVIRONMENT} goes to host-b and keeps its ports.`,
    async run(told, proven) {
      const target = address(vmAddress('host-b'));
      const startMs = performance.now();
      const { environment } = await told.world.bench.api.move({
        environment: ENVIRONMENT, host: 'host-b', wait: Wait.WAIT_LIVE, targets: [{ name: 'ssh', target }, { name: 'web', target }],
      });
      told.movedAtMs = Date.now();
      assert.deepEqual(portsOf(environment?.mappings ?? []), told.ports);
      proven(`live on host-b after ${seconds(performance.now() - startMs)}, under the same ports ${told.ports.ssh} and ${told.ports.web}`);
      await clientIsAnsweredBy('host-b', told, proven);
    },
  },
  {
    text: 'The network of host-a is repaired halfway: the gateway reaches it again, the coordinator does not. Its own rules still stand.',
    async run({ world, ports, movedAtMs }, proven) {
      const { probe } = world;
      await world.bench.topology.switch.restore();
      await world.bench.topology.switch.cut({ node: 'host-a', direction: 'both', peer: 'coordinator' });
      const rule = await world.rule('host-a', ports.ssh);
      assert.ok(rule, 'host-a has dropped its rule without having been told');
      proven(`kernel of host-a: ${rule}`);
      const direct = await eventually('host-a to serve whoever asks it directly', async () => {
        const seen = await world.askHostItself('host-a', ports.ssh);
        return 'line' in seen && seen.line;
      }, { withinMs: 5_000 });
      assert.match(direct, /host-a\//);
      proven(`asked past the gateway, at ${hostAddress('host-a')}:${ports.ssh}, it would serve: "${direct}"`);
      await probe.until('a second of attempts', ({ sentAtMs, outcome }) => sentAtMs > movedAtMs + 1_000 && outcome === 'reached');
      neverReached(probe.timeline, 'host-a/', { afterMs: movedAtMs });
      proven(`yet of ${answers(probe, { afterMs: movedAtMs })} answers that the client got since the move, all are from host-b, none from host-a`);
    },
  },
  {
    text: 'host-a is connected again: it learns what it has missed and serves nothing old.',
    async run({ world, ports, movedAtMs }, proven) {
      const { probe } = world;
      const startMs = performance.now();
      await world.bench.topology.switch.restore();
      await eventually('host-a to remove its old rules', async () => await world.rule('host-a', ports.ssh) === undefined && await world.rule('host-a', ports.web) === undefined, { withinMs: 10_000 });
      proven(`${seconds(performance.now() - startMs)} later its rules for ${ports.ssh} and ${ports.web} are gone`);
      const direct = await world.askHostItself('host-a', ports.ssh);
      assert.ok('failure' in direct, `host-a still answers directly: ${JSON.stringify(direct)}`);
      proven(`asked directly it does not answer any more (${direct.failure})`);
      const { stdout } = await world.bench.topology.run('host-a', ['iptables-save']);
      assert.match(stdout, new RegExp(FOREIGN_COMMENT));
      proven('rules in the same tables that are not portlease\'s are still there');
      await world.bench.untilAlive('host-a');
      neverReached(probe.timeline, 'host-a/', { afterMs: movedAtMs });
      proven('host-a is alive again, and the client was never led there');
    },
  },
  {
    text: 'The coordinator is stopped, for longer than it takes to call a host lost.',
    async run({ world }, proven) {
      const { probe } = world;
      await untilSteady(probe);
      await world.bench.coordinator.stop();
      const stoppedAtMs = Date.now();
      await probe.until('attempts without a coordinator', ({ sentAtMs }) => sentAtMs > stoppedAtMs + LOST_MS + 500, { withinMs: LOST_MS + 5_000 });
      neverInterrupted(probe.timeline, { afterMs: stoppedAtMs });
      neverReconnected(probe.timeline, { afterMs: stoppedAtMs });
      proven(`in ${seconds(Date.now() - stoppedAtMs)} without it all ${select(probe.timeline, { afterMs: stoppedAtMs }).length} attempts of the client were answered, and its open connection stayed`);
    },
  },
  {
    text: 'While the coordinator is away somebody runs `iptables -t nat -F` on host-b.',
    async run({ world, ports }, proven) {
      const { probe } = world;
      await world.bench.topology.run('host-b', ['iptables', '-t', 'nat', '-F']);
      const startMs = performance.now();
      assert.equal(await world.rule('host-b', ports.ssh), undefined, 'the rule is still there: nothing was flushed');
      proven('the rules are gone');
      await eventually('host-b to put its rules back', () => world.rule('host-b', ports.ssh), { withinMs: 10_000 });
      proven(`${seconds(performance.now() - startMs)} later the agent has put them back, by itself`);
      await probe.until('an answer from host-b', ({ kind, who }) => kind === 'new' && who === `host-b/${ENVIRONMENT}`);
      proven('new connections of the client reach host-b');
    },
  },
  {
    text: 'The coordinator is started again on the same database.',
    async run(told, proven) {
      const { world, movedAtMs } = told;
      const { probe } = world;
      const startedAtMs = Date.now();
      await world.bench.coordinator.start();
      await world.bench.untilAlive('gateway', 'host-a', 'host-b');
      const { mappings, host } = await world.bench.api.environment(ENVIRONMENT);
      assert.equal(host, 'host-b');
      assert.deepEqual(portsOf(mappings), told.ports);
      assert.deepEqual(mappings.map(({ mappingId }) => mappingId).sort(), [...told.mappingIds].sort());
      await eventually('both ports to be live', async () => (await world.bench.api.environment(ENVIRONMENT)).mappings.every(({ state }) => state === MappingState.MAPPING_STATE_LIVE), { withinMs: 10_000 });
      proven(`${ENVIRONMENT} has the mappings that it had, on host-b, live, under ${told.ports.ssh} and ${told.ports.web}`);
      await clientIsAnsweredBy('host-b', told, proven);
      neverInterrupted(probe.timeline, { afterMs: startedAtMs });
      neverReached(probe.timeline, 'host-a/', { afterMs: movedAtMs });
      proven(`over all, the client got ${answers(probe, {})} answers; since the move not one from host-a`);
    },
  },
  CONTAINER_STEP,
];

async function clientIsAnsweredBy(host: 'host-a' | 'host-b', { world, ports }: Told, proven: (text: string) => void): Promise<void> {
  const banner = await world.clientSees(ports.ssh);
  assert.equal(banner, `SSH-2.0-demo ${host}/${ENVIRONMENT}`);
  proven(`read from the client's socket at ${GATEWAY_PUBLIC[4]}:${ports.ssh}: "${banner}"`);
  const page = await world.clientFetches(ports.web);
  assert.equal(page, `${host}/${ENVIRONMENT} answers ${CLIENT[4]}`);
  proven(`http://${GATEWAY_PUBLIC[4]}:${ports.web}/ says "${page}": the service sees the client's own address`);
}

/** Waits until the connection that the client keeps is one to the new host. */
async function untilSteady(probe: Probe): Promise<void> {
  await probe.until('a kept connection to host-b', ({ kind, who, push }) => kind === 'kept' && push !== true && who === `host-b/${ENVIRONMENT}`, { withinMs: 15_000 });
}

function answers(probe: Probe, filter: Filter): number {
  return select(probe.timeline, filter).filter(({ outcome }) => outcome === 'reached').length;
}

function portsOf(mappings: readonly Mapping[]): Ports {
  const port = (name: string) => mappings.find((mapping) => mapping.name === name)?.publicPort ?? 0;
  return { ssh: port('ssh'), web: port('web') };
}
