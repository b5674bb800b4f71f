import assert from 'node:assert/strict';
import { benchOfEachTest } from '../support/describe.js';
import { LOST_MS } from '../support/daemons.js';
import type { Bench } from '../support/bench.js';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { refusalOf } from '../support/api.js';
import { CLIENT, GATEWAY_PUBLIC, vmAddress } from '../support/layout.js';
import { run } from '../support/run.js';
import { argvOf, isRunning, signalProcess } from '../support/processes.js';
import { ENVIRONMENT_LISTENERS, environmentOn, goOn, moveTo, portsOf, reachedOnAll, servedEnvironment, Wait, want } from '../support/requests.js';
import { neverInterrupted, neverReached, neverReconnected, nobodyReached, oneHostAtATime, reachedOnly } from '../support/timeline.js';
import { eventually } from '../support/wait.js';

describe('a gateway whose routes nginx serves', () => {
  const bench = benchOfEachTest({ gateway: { routes: 'nginx' } });

  it('moves an environment of a lost host, which serves nobody afterwards, neither while it is away nor when it is back (S1, S8, S12)', async () => {
    const { api, topology } = bench();
    for (const host of ['host-a', 'host-b'] as const) await bench().serve(`${host}/env-1`, ENVIRONMENT_LISTENERS, { pushEveryMs: 100 });
    const { mappings } = await api.allocate(environmentOn('host-a'));
    const probe = await bench().probe(...portsOf(mappings));
    await reachedOnAll(probe, mappings, 'host-a/env-1');
    assert.deepEqual(await bench().leadsOf('gateway', mappings[0]?.publicPort ?? 0), [], 'the kernel routes, not nginx');
    const figures = await eventually('figures of the routes', async () => (await api.host('gateway'))?.routes, { withinMs: 10_000 });
    assert.ok(figures.reloads > 0 && figures.served > 0 && figures.latencyP99 !== undefined, JSON.stringify(figures));

    await topology.switch.cut({ node: 'host-a', direction: 'both', peer: 'coordinator' });
    await bench().untilLost('host-a');
    await api.move(moveTo('host-b'));
    const movedAtMs = Date.now();
    await reachedOnAll(probe, mappings, 'host-b/env-1');
    await topology.switch.restore();
    const backAtMs = Date.now();
    await bench().untilAlive('host-a');
    await probe.until('host-b still', (r) => r.sentAtMs > backAtMs + LOST_MS && r.who === 'host-b/env-1');
    neverReached(probe.timeline, 'host-a/', { afterMs: movedAtMs });
    oneHostAtATime(probe.timeline);
    reachedOnly(probe.timeline, 'host-b/', { afterMs: backAtMs });
    neverInterrupted(probe.timeline, { afterMs: backAtMs });
  });

  it('takes the port of a silent host away, while others of that host and of another one go on without a break (S8, S12)', async () => {
    const { probe, mappings } = await servedEnvironment(bench(), 'host-a');
    const other = await servedEnvironment(bench(), 'host-b', { environment: 'env-2' });
    const fromMs = Date.now();
    await bench().topology.switch.cut({ node: 'host-a', direction: 'both', peer: 'coordinator' });
    await bench().untilLost('host-a');
    await bench().api.release({ selector: { $case: 'environment', value: 'env-1' }, wait: Wait.WAIT_RECORDED });
    await eventually('the release to be confirmed', async () => (await bench().api.mappings({ environment: 'env-1' })).length === 0, { withinMs: 15_000 });
    const releasedAtMs = Date.now();
    await goOn(probe, 1_500);
    nobodyReached(probe.timeline, { afterMs: releasedAtMs });
    neverReached(probe.timeline, 'host-a/', { afterMs: releasedAtMs });
    neverInterrupted(other.probe.timeline, { afterMs: fromMs });
    neverReconnected(other.probe.timeline, { afterMs: fromMs, transport: 'tcp' });
    assert.ok(mappings.length > 0);
  });

  it('goes on while its agent is killed and the coordinator is away, and is put right within a round when nginx is killed (S7, S13)', async () => {
    const { mappings, probe } = await servedEnvironment(bench(), 'host-a');
    const agent = bench().agent('gateway');
    const fromMs = Date.now();
    const masters = mastersOf(bench());
    await agent.stop('SIGKILL');
    await goOn(probe, 500);
    await bench().untilNewSession('gateway', () => agent.start());
    await bench().coordinator.stop('SIGKILL');
    await agent.restart('SIGTERM');
    await agent.process.line(/nginx runs already/);
    await goOn(probe, 1_000);
    neverInterrupted(probe.timeline, { afterMs: fromMs });
    neverReconnected(probe.timeline, { afterMs: fromMs });
    assert.deepEqual(mastersOf(bench()), masters);

    for (const pid of masters) signalProcess(pid, 'SIGKILL');
    await agent.process.line(/nginx was started/);
    assert.notDeepEqual(mastersOf(bench()), masters);
    await reachedOnAll(probe, mappings, 'host-a/env-1', ['new']);
    const healedAtMs = Date.now();
    await goOn(probe, 1_000);
    neverInterrupted(probe.timeline, { afterMs: healedAtMs, kind: 'new' });
    neverReconnected(probe.timeline, { transport: 'tcp' });
  });

  it('confirms no move as long as an earlier worker that is stopped could accept a client and lead it to the old host (S1, S8)', async () => {
    const { mappings, probe } = await servedEnvironment(bench(), 'host-a', { alsoOn: ['host-b'] });
    const { api, topology } = bench();
    const workers = workersOf(bench());
    await topology.switch.cut({ node: 'host-a', direction: 'both', peer: 'coordinator' });
    await bench().untilLost('host-a');
    for (const pid of workers) signalProcess(pid, 'SIGSTOP');
    const stoppedAtMs = Date.now();
    const moved = api.move(moveTo('host-b'), 30_000);
    moved.catch(() => undefined);
    await bench().agent('gateway').process.line(/nginx was reloaded[^]*/);
    await goOn(probe, 2_000);
    neverReached(probe.timeline, 'host-b/');
    nobodyReached(probe.timeline, { afterMs: stoppedAtMs + 1_000, kind: 'new' });
    assert.ok(workers.every((pid) => isRunning(pid)));

    for (const pid of workers) signalProcess(pid, 'SIGCONT');
    await moved;
    const movedAtMs = Date.now();
    await reachedOnAll(probe, mappings, 'host-b/env-1');
    neverReached(probe.timeline, 'host-a/', { afterMs: movedAtMs });
    oneHostAtATime(probe.timeline);
  });

  it('puts a reload right that nginx refuses though its test passed, and goes on when a worker is killed (S7)', async () => {
    const { probe } = await servedEnvironment(bench(), 'host-b', { environment: 'env-2' });
    const { api } = bench();
    const agent = bench().agent('gateway');
    // Bound, and not listening: in no table of the kernel that could be read before.
    const bound = agent.machine.start('bound', ['python3', '-c', `import socket,time\ns=socket.socket()\ns.bind(("${GATEWAY_PUBLIC[4]}",30040))\nprint("ready",flush=True)\ntime.sleep(600)`]);
    await bound.line(/^ready$/);
    const fromMs = Date.now();
    const exact = { ...want('ssh', vmAddress('host-a')), choice: { $case: 'exactPort', value: 30_040 } } as const;
    const refusal = await refusalOf(api.allocate({ tenant: 'tenant-1', environment: 'env-1', host: 'host-a', wants: [exact], wait: Wait.WAIT_LIVE }, 5_000));
    assert.match(refusal.details.reason ?? refusal.message, /NOT_LIVE_IN_TIME|DEADLINE/i);
    await agent.process.line(/nginx refused a config; trying again without what it does not like/);
    await bench().serve('host-a/env-3', ENVIRONMENT_LISTENERS.map((listener) => ({ ...listener, address: vmAddress('host-a', 2) })));
    const { mappings: others } = await api.allocate(environmentOn('host-a', 'env-3', 2));
    const other = await bench().probe(...portsOf(others));
    await reachedOnAll(other, others, 'host-a/env-3');
    neverInterrupted(probe.timeline, { afterMs: fromMs });
    neverReconnected(probe.timeline, { afterMs: fromMs, transport: 'tcp' });
    await bound.stop('SIGKILL');

    const [worker = 0] = workersOf(bench());
    signalProcess(worker, 'SIGKILL');
    const killedAtMs = Date.now();
    await eventually('another worker', () => workersOf(bench()).length >= 2, { withinMs: 5_000 });
    await reachedOnAll(other, others, 'host-a/env-3', ['new']);
    await goOn(other, 500);
    neverInterrupted(other.timeline, { afterMs: killedAtMs + 300, kind: 'new' });
  });

  it('serves all other routes while a foreign process has a port of one, and does not lead clients to that process (S7)', async () => {
    const foreign = await bench().serve('gateway/listener', [{ transport: 'tcp', port: 30_040 }], { node: 'gateway' });
    const { api } = bench();
    await bench().serve('host-a/env-1', ENVIRONMENT_LISTENERS);
    const exact = { ...want('ssh', vmAddress('host-a')), choice: { $case: 'exactPort', value: 30_040 } } as const;
    const refusal = await refusalOf(api.allocate({ tenant: 'tenant-1', environment: 'env-1', host: 'host-a', wants: [exact], wait: Wait.WAIT_LIVE }, 2_000));
    assert.match(refusal.details.reason ?? refusal.message, /NOT_LIVE_IN_TIME|DEADLINE/i);
    const taken = await bench().probe({ port: 30_040, transport: 'tcp' });
    const { probe } = await servedEnvironment(bench(), 'host-b', { environment: 'env-2' });
    const fromMs = Date.now();
    await goOn(probe, 500);
    nobodyReached(taken.timeline);
    neverInterrupted(probe.timeline, { afterMs: fromMs });
    await foreign.stop('SIGKILL');
    await taken.until('host-a through the port that is free again', ({ who }) => who === 'host-a/env-1', { withinMs: 60_000 });
    neverReconnected(probe.timeline, { afterMs: fromMs, transport: 'tcp' });
  });
});

describe('a pool whose TLS ends at a gateway with nginx', () => {
  const bench = benchOfEachTest({ gateway: { routes: 'nginx', nginx: { certificates: '/run/certificates' } }, pools: [{ pool: 'web', serviceType: 'web', ranges: ['32000-32063'], protocol: 'tcp', tls: 'terminate' }] });

  it('is served with the certificate of the operator, with the next one when that changes, and with the last good one when it is broken', async () => {
    const { api, topology } = bench();
    const machine = bench().agent('gateway').machine;
    const folder = machine.outside('/run/certificates');
    mkdirSync(folder);
    const certify = (name: string) => run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', `/CN=${name}`,
      '-addext', `subjectAltName=IP:${GATEWAY_PUBLIC[4]}`, '-keyout', join(folder, 'web.key'), '-out', join(folder, 'web.crt')]);
    await certify('first');
    await bench().serve('host-a/env-1', [{ transport: 'tcp', port: 80, style: 'http' }]);
    const { mappings: [mapping] } = await api.allocate({ tenant: 'tenant-1', environment: 'env-1', host: 'host-a', wait: Wait.WAIT_LIVE, wants: [want('web', vmAddress('host-a'), { internalPort: 80 })] });
    const url = `https://${GATEWAY_PUBLIC[4]}:${mapping?.publicPort ?? 0}/`;
    assert.equal(mapping?.access?.url, url);
    const subject = async () => (await topology.run('client', ['sh', '-c', `curl --silent --max-time 5 --insecure --verbose ${url} 2>&1`], { accept: [0, 7, 28, 35, 56] })).stdout;
    const first = await subject();
    assert.match(first, /subject: CN=first[^]*host-a\/env-1/);

    writeFileSync(join(folder, 'web.crt'), 'broken');
    await bench().agent('gateway').process.line(/the certificate of a pool cannot be used/);
    assert.match(await subject(), /subject: CN=first[^]*host-a\/env-1/);
    await certify('second');
    await eventually('the new certificate to be served', async () => /subject: CN=second[^]*host-a\/env-1/.test(await subject()), { withinMs: 15_000 });
    const lines = await eventually('lines of connections', async () => {
      const { stdout } = await run(['cat', join(bench().agent('gateway').stateDirectory, 'nginx/logs/access.log')]);
      return stdout.trim() !== '' && stdout.trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);
    }, { withinMs: 10_000 });
    assert.deepEqual([lines[0]?.['protocol'], lines[0]?.['client'], lines[0]?.['port'], lines[0]?.['status']], ['TCP', CLIENT[4], mapping?.publicPort, 200]);
    assert.doesNotMatch(await run(['cat', join(machine.directory, 'agent.log')]).then(({ stdout }) => stdout), /PRIVATE KEY/);
  });
});

/** Process ids on the gateway. */
function mastersOf(bench: Bench): number[] {
  return nginxOf(bench, 'nginx: master');
}

function workersOf(bench: Bench): number[] {
  return nginxOf(bench, 'nginx: worker');
}

function nginxOf(bench: Bench, title: string): number[] {
  return bench.agent('gateway').machine.processes().filter((pid) => argvOf(pid)?.[0]?.startsWith(title) === true).sort((a, b) => a - b);
}
