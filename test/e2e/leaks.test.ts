import assert from 'node:assert/strict';
import { MappingState, Wait } from '../support/requests.js';
import { LeakKind, LeakRepair } from '../../shared/gen/portlease/v1/leaks.js';
import { ListLeaksRequest, OperationsServiceService, ResolveLeakRequest, type HostLeak } from '../../shared/gen/portlease/v1/operations.js';
import type { Bench } from '../support/bench.js';
import { AGENT_TIMING, GATEWAY } from '../support/daemons.js';
import { benchOfEachTest } from '../support/describe.js';
import { Dockerd } from '../support/docker.js';
import { hostAddress } from '../support/layout.js';
import { refusalOf } from '../support/api.js';
import { eventually } from '../support/wait.js';
import { Watch } from '../support/watch.js';

const agent = { timing: { ...AGENT_TIMING, leakInterval: '300ms' } };

async function leaks(bench: Bench): Promise<HostLeak[]> {
  return (await bench.api.call(OperationsServiceService.listLeaks, ListLeaksRequest.fromPartial({ host: 'host-a' }))).leaks;
}

async function leakOf(bench: Bench, kind: LeakKind): Promise<HostLeak> {
  let found: HostLeak | undefined;
  await eventually(`a leak of kind ${LeakKind[kind]}`, async () => {
    found = (await leaks(bench)).find(({ leak }) => leak?.kind === kind);
    return found !== undefined;
  }, { withinMs: 20_000, everyMs: 50, hint: () => bench.agent('host-a').process.tail(10) });
  return found as HostLeak;
}

const untilNone = (bench: Bench) => eventually('no leak', async () => (await leaks(bench)).length === 0, { withinMs: 20_000, everyMs: 50 });

const allocate = async (bench: Bench, environment: string, container: string, wait = Wait.WAIT_LIVE) => {
  const wants = [{ name: 'web', source: { $case: 'pool' as const, value: 'ssh' }, internalPort: 8_888, target: { kind: { $case: 'container' as const, value: { container, network: '', family: 0 } } } }];
  const [mapping] = (await bench.api.allocate({ tenant: 'tenant-1', environment, host: 'host-a', wait, wants })).mappings;
  assert.ok(mapping);
  return mapping;
};

/** Everything on the machine that is not portlease's and that a repair could have touched. */
async function others(bench: Bench, docker: Dockerd): Promise<unknown> {
  const rules = (await bench.rules('host-a', 'nat')).filter((rule) => !rule.includes('PORTLEASE'));
  return { rules, containers: await docker.run(['ps', '--quiet', '--no-trunc']) };
}

describe('leaks on a real host', function () {
  this.timeout(90_000);
  const reporting = benchOfEachTest({ agent });
  let docker: Dockerd;
  beforeEach(async () => { docker = await Dockerd.upFor(reporting().agent('host-a')); });
  afterEach(async () => { await docker.close(); });

  it('are found in every direction, told, and never touched where they are somebody else\'s', async () => {
    const bench = reporting();
    await docker.container('web1');
    const { publicPort } = await allocate(bench, 'env-1', 'web1');
    const free = publicPort % 4 === 3 ? publicPort - 1 : publicPort + 1;
    const machine = bench.agent('host-a').machine;
    await docker.run(['run', '--detach', '--name', 'pub', '--publish', '30060:8888', 'plbench/service:1']);
    await machine.run(['iptables', '-t', 'nat', '-A', 'PREROUTING', '-p', 'tcp', '--dport', `${publicPort}`, '-j', 'DNAT', '--to-destination', '10.9.9.9:22']);
    await bench.serve('host-a/foreign', [{ transport: 'tcp', port: free, style: 'http' }], { node: 'host-a' });
    const before = await others(bench, docker);
    const [published, rule, listener] = [await leakOf(bench, LeakKind.LEAK_KIND_PUBLISHED_PORT), await leakOf(bench, LeakKind.LEAK_KIND_FOREIGN_RULE), await leakOf(bench, LeakKind.LEAK_KIND_LISTENER)];
    assert.deepEqual([published.leak?.port, published.pool, rule.leak?.port, listener.leak?.port], [30_060, 'ssh', publicPort, free]);
    assert.match(published.leak?.message ?? '', /container pub .* publishes tcp port 30060/);
    assert.match(listener.leak?.message ?? '', /\(pid \d+, user root/);
    for (const { leak } of [published, rule, listener]) {
      assert.equal(leak?.repair, LeakRepair.LEAK_REPAIR_NONE);
      const refusal = await refusalOf(bench.api.call(OperationsServiceService.resolveLeak, ResolveLeakRequest.fromPartial({ host: 'host-a', leak: leak?.leak ?? '' })));
      assert.equal(refusal.details.reason, 'LEAK_IS_FOREIGN');
    }
    assert.deepEqual(await others(bench, docker), before);
    await docker.run(['rm', '--force', 'pub']);
    await machine.run(['iptables', '-t', 'nat', '-D', 'PREROUTING', '-p', 'tcp', '--dport', `${publicPort}`, '-j', 'DNAT', '--to-destination', '10.9.9.9:22']);
    await eventually('two of them to be over', async () => (await leaks(bench)).map(({ leak }) => leak?.kind).join() === `${LeakKind.LEAK_KIND_LISTENER}`, { withinMs: 20_000, everyMs: 50 });
    assert.equal((await bench.api.environment('env-1')).mappings[0]?.state, MappingState.MAPPING_STATE_LIVE);
  });

  it('of a container that has gone are told, and its port is released when an operator resolves them', async () => {
    const bench = reporting();
    await docker.container('web1');
    const { publicPort } = await allocate(bench, 'env-1', 'web1');
    await docker.run(['rm', '--force', 'web1']);
    const { leak, environment } = await leakOf(bench, LeakKind.LEAK_KIND_MAPPING_WITHOUT_CONTAINER);
    assert.deepEqual([environment, leak?.port, leak?.automatic], ['env-1', publicPort, false]);
    const request = { host: 'host-a', leak: leak?.leak ?? '', reason: 'removed by hand' };
    const plan = await bench.api.call(OperationsServiceService.resolveLeak, ResolveLeakRequest.fromPartial({ ...request, dryRun: true }));
    assert.deepEqual([plan.resolved, (await leaks(bench)).length], [false, 1]);
    await bench.api.call(OperationsServiceService.resolveLeak, ResolveLeakRequest.fromPartial(request));
    await untilNone(bench);
    await eventually('the environment to be gone', async () => (await bench.api.listEnvironments()).environments.length === 0, { withinMs: 20_000, everyMs: 50 });
  });
});

describe('leaks where the policy is repair', function () {
  this.timeout(90_000);
  const bench = benchOfEachTest({ agent: { ...agent, leaks: { tunnelProcesses: 'repair' } }, coordinator: { leaks: { mappings: 'repair' } } });
  let docker: Dockerd;
  beforeEach(async () => { docker = await Dockerd.upFor(bench().agent('host-a')); });
  afterEach(async () => { await docker.close(); });

  it('give the port of a container that has gone back by themselves; one that is stopped, or never came, keeps its own', async () => {
    for (const name of ['gone', 'stopped']) await docker.container(name);
    const watch = new Watch(`unix:${bench().coordinator.socket}`, { gateway: GATEWAY });
    try {
      await allocate(bench(), 'env-gone', 'gone');
      await allocate(bench(), 'env-stopped', 'stopped');
      await allocate(bench(), 'env-never', 'never', Wait.WAIT_RECORDED);
      // The agent has looked at them where they were.
      await leakOf(bench(), LeakKind.LEAK_KIND_MAPPING_WITHOUT_CONTAINER);
      await docker.run(['stop', '--time', '0', 'stopped']);
      await docker.run(['rm', '--force', 'gone']);
      await eventually('two environments to be left', async () => (await bench().api.listEnvironments()).environments.length === 2, { withinMs: 20_000, everyMs: 50 });
      await eventually('both to be told', async () => (await leaks(bench())).length === 2, { withinMs: 20_000, everyMs: 50 });
      assert.deepEqual((await leaks(bench())).map(({ environment, leak }) => [environment, leak?.automatic]).sort(), [['env-never', false], ['env-stopped', false]]);
      const released = (): string[] => watch.events.filter(({ kind, environment }) => kind === 'PortReleased' && environment === 'env-gone').map(({ detail }) => detail['reason'] ?? '');
      await watch.until('the release', () => released().length > 0, 20_000);
      assert.deepEqual(released(), ['LEAKED']);
    } finally {
      watch.close();
    }
  });

  it('end the process of a tunnel that there is not, and no other ssh', async () => {
    const machine = bench().agent('host-a').machine;
    const ssh = ['ssh', '-N', '-o', 'ConnectTimeout=300', '-o', 'StrictHostKeyChecking=yes', '-o', 'BatchMode=yes', `root@${hostAddress('host-b')}`];
    // A listener that never says anything: both clients wait for its banner.
    await bench().serve('host-b/silent', [{ transport: 'tcp', port: 22, style: 'lines' }], { node: 'host-b' });
    const [marked, plain] = [machine.start('marked', ['env', 'PORTLEASE_TUNNEL=old', ...ssh]), machine.start('plain', ssh)];
    await eventually('the marked one to end', () => !marked.isRunning, { withinMs: 20_000, everyMs: 50 });
    assert.equal(plain.isRunning, true, plain.tail());
    await plain.stop('SIGKILL');
  });
});
