import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EXIT } from '../../../cli/exit.js';
import { portlease, type Outcome } from '../../unit/cli/world.js';
import { tunnelReport } from '../../support/tunnels.js';
import { TestCoordinator } from '../rpc/coordinator.js';

const WANT = '--want=name=ssh,pool=ssh,target=10.1.0.1';

describe('the command line and a real coordinator, over its unix socket', () => {
  let coordinator: TestCoordinator;
  beforeEach(async () => { coordinator = await TestCoordinator.start(); });
  afterEach(() => coordinator.close());

  const run = (...argv: string[]): Promise<Outcome> => portlease([...argv, '--server', `unix:${coordinator.socket}`], { newId: randomUUID });

  async function json<T>(...argv: string[]): Promise<T> {
    const { exitCode, out, err } = await run(...argv, '--json');
    assert.equal(exitCode, EXIT.ok, err);
    return JSON.parse(out) as T;
  }

  async function refused(...argv: string[]): Promise<{ exitCode: number; error: { reason?: string; code: string; next: string[]; fields?: { field: string }[] } }> {
    const { exitCode, out, err } = await run(...argv, '--json');
    assert.equal(out, '');
    return { exitCode, ...(JSON.parse(err) as { error: { code: string; next: string[] } }) };
  }

  async function withAgents(): Promise<void> {
    await coordinator.agent({ host: 'g1', roles: ['gateway'], addresses: ['203.0.113.1'] });
    await coordinator.agent({ host: 'h1' });
    await coordinator.agent({ host: 'h2', addresses: ['10.9.0.2'] });
  }

  it('walks an environment from allocation to release', async () => {
    await withAgents();
    const allocated = await json<{ mappings: { publicPort: number; state: string }[] }>('allocate', 'env-1', '--host=h1', '--tenant=acme', WANT, '--label=team=ml');
    const [first] = allocated.mappings;
    assert.equal(first?.state, 'MAPPING_STATE_LIVE');
    const moved = await json<{ environment: { host: string; mappings: { publicPort: number }[] } }>('move', 'env-1', '--to=h2', '--target=ssh=10.1.0.2');
    assert.deepEqual([moved.environment.host, moved.environment.mappings[0]?.publicPort], ['h2', first.publicPort]);
    assert.match((await run('list', '--label=team=ml')).out, /^env-1 +acme +gw +h2 +1 +- +live /m);
    assert.match((await run('mappings', '--env=env-1')).out, new RegExp(`^env-1 +ssh +203\\.0\\.113\\.1:${first.publicPort} +tcp +live +h2 +10\\.1\\.0\\.2:22 `, 'm'));
    const released = await json<{ mappings: { state: string }[] }>('release', '--port', `gw/tcp/${first.publicPort}`);
    assert.deepEqual(released.mappings.map(({ state }) => state), ['MAPPING_STATE_RELEASED']);
    assert.match((await run('release', 'env-1')).out, /nothing to release/);
  });

  it('makes a tunnel, waits until it is up, restarts, stops and removes it; a refusal says what to do', async () => {
    const agent = await coordinator.agent({ host: 'h1' });
    agent.tunnels = (objects) => objects.map(({ spec, restart, isStopped }) => tunnelReport({ spec, restart, state: isStopped ? 'stopped' : 'up' }));
    const create = ['tunnels', 'create', 'db', '--host=h1', '--ssh-server=bastion', '--wait'];
    assert.match((await run(...create, '--local=5432=db.internal:5432')).out, /^db +h1 +bastion +up /m);
    const other = await refused(...create, '--local=5433=db.internal:5432');
    assert.deepEqual([other.exitCode, other.error.reason, other.error.fields?.[0]?.field], [EXIT.refused, 'TUNNEL_EXISTS', 'spec.forwards']);
    assert.match((await run('tunnels', 'restart', 'h1/db')).out, /^db +h1 +bastion +up /m);
    assert.match((await run('tunnels', 'show', 'db', '--host=h1')).out, /^local +host 127\.0\.0\.1:5432 +db\.internal:5432$/m);
    assert.match((await run('status')).out, /^tunnels +1 up$/m);
    await run('tunnels', 'stop', 'h1/db');
    const stopped = await refused('tunnels', 'restart', 'h1/db');
    assert.deepEqual([stopped.exitCode, stopped.error.reason], [EXIT.refused, 'TUNNEL_STOPPED']);
    await run('tunnels', 'start', 'h1/db');
    agent.tunnels = () => [];
    const late = await refused('tunnels', 'restart', 'h1/db', '--timeout=1s');
    assert.deepEqual([late.exitCode, late.error.reason], [EXIT.deadline, 'TUNNEL_NOT_UP_IN_TIME']);
    assert.equal((await run('tunnels', 'remove', 'h1/db')).out, 'h1/db is removed\n');
    assert.equal((await refused('tunnels', 'show', 'h1/db')).error.reason, 'TUNNEL_UNKNOWN');
    assert.match((await run('events', '--gateway=gw')).out, /TunnelUp[^]*TunnelDown/);
  });

  it('allocates a batch of a file, tells of each, and exits with 1 when some were refused', async () => {
    await withAgents();
    const path = join(coordinator.folder, 'batch.yaml');
    writeFileSync(path, `
- {env: env-1, host: h1, want: ['name=ssh,pool=ssh,target=10.1.0.1', 'name=rdp,pool=rdp,target=10.1.0.1']}
- {env: env-2, host: h7, want: ['name=ssh,pool=ssh,target=10.1.0.1']}
- {env: env-3, host: h2, want: ['name=ssh,pool=ssh,target=10.1.0.1']}
`);
    const { exitCode, out, err } = await run('allocate', '--batch', path, '--tenant=acme', '--request-id=r');
    assert.equal(exitCode, EXIT.refused);
    assert.match(out, /^ +0 +env-1 +allocated +ssh +203\.0\.113\.1:30\d{3} +tcp +live/m);
    assert.match(out, /^ +1 +env-2 +HOST_UNKNOWN +- +- +- +- +there is no host h7$/m);
    assert.match(out, /^ +2 +env-3 +allocated +ssh /m);
    assert.match(out, /^2 of 3 requests were granted$/m);
    assert.match(err, /^next: \S/m);
    writeFileSync(path, `[{"env":"env-1","host":"h1","want":["name=ssh,pool=ssh,target=10.1.0.1","name=rdp,pool=rdp,target=10.1.0.1"]}]`);
    const { results } = await json<{ results: { allocated: { replayed: boolean; ports: { publicPort: number }[] } }[] }>('allocate', '--batch', path, '--tenant=acme', '--request-id=r');
    assert.deepEqual([results[0]?.allocated.replayed, results[0]?.allocated.ports.length], [true, 2]);
  });

  it('shows how many requests of a pool got their ports, and how long that and releases took', async () => {
    await withAgents();
    const wanting = (name: string, count: number) => ['allocate', name, '--host=h1', '--tenant=acme', `--want=name=a,pool=tiny,target=10.1.0.1,count=${count}`];
    await json(...wanting('env-1', 2));
    await refused(...wanting('env-2', 1));
    await json('release', 'env-1');
    const { pools: [pool] } = await json<{ pools: { figures: { recent: Rates; sinceStart: Rates } }[] }>('pools', 'show', 'tiny', '--gateway=gw');
    type Rates = { granted: number; failed: number; successPercent: number; allocation: { count: number; p99: string }; release: { count: number; p99: string } };
    for (const rates of [pool?.figures.recent, pool?.figures.sinceStart]) {
      assert.deepEqual([rates?.granted, rates?.failed, rates?.successPercent, rates?.allocation.count, rates?.release.count], [1, 1, 50, 1, 2]);
      assert.match(`${rates?.allocation.p99} ${rates?.release.p99}`, /^[\d.]+s [\d.]+s$/);
    }
    const { out } = await run('pools', 'show', 'tiny');
    assert.match(out, /^tiny +gw .* 50\.0% +\d+ms$/m);
    assert.match(out, /^since start +release +2 +- +\d+ms +\d+ms +\d+ms$/m);
    assert.equal((await run('pools', 'show', 'none')).exitCode, EXIT.usage);
  });

  it('makes up a name when none is given, and says it', async () => {
    await withAgents();
    const { out } = await run('allocate', '--host=h1', '--tenant=acme', WANT);
    const [, name = ''] = /^environment +(\S+)$/m.exec(out) ?? [];
    assert.equal((await run('show', name)).exitCode, EXIT.ok);
  });

  it('shows everything on one screen', async () => {
    await withAgents();
    const { out } = await run('status');
    assert.match(out, /^journal +ok$/m);
    assert.match(out, /^gw +shared +203\.0\.113\.1 +g1 +alive /m);
    assert.match(out, /^ssh +gw +\[-{20}\] +0% /m);
    assert.match((await run('hosts', '--host=h1')).out, /^h1 +gw +host +alive /m);
  });

  it('manages gateways, pools and hosts', async () => {
    await json('gateways', 'create', 'gw-2', '--scope=shared', '--public-host=203.0.113.2');
    await json('pools', 'create', 'web', '--gateway=gw-2', '--range=20000-20009', '--protocol=tcp', '--quarantine=1s', '--alias=http', '--service-type=web');
    await json('pools', 'update', 'web', '--gateway=gw-2', '--range=20000-20019', '--description=web apps', '--alias=', '--domain-template={env}.{service}.example.com', '--connection-timeout=0s');
    const { pools: [pool] } = await json<{ pools: { ranges: object[]; description: string; aliases: string[]; quarantine: string; protocol: string; figures: { total: number } }[] }>('pools', '--gateway=gw-2');
    assert.deepEqual([pool?.ranges, pool?.description, pool?.aliases, pool?.quarantine, pool?.protocol, pool?.figures.total],
      [[{ first: 20_000, last: 20_019 }], 'web apps', [], '1s', 'PROTOCOL_TCP', 20]);
    await json('hosts', 'create', 'h9', '--gateway=gw-2', '--failure-domain=rack-1');
    assert.equal((await refused('gateways', 'delete', 'gw-2')).error.reason, 'GATEWAY_IN_USE');
    await json('pools', 'delete', 'web', '--gateway=gw-2');
    assert.match((await run('hosts', 'replace', 'h9', '--reason=new board')).out, /^h9 +gw-2 +host +unknown \(replaceable\) /m);
  });

  it('cordons, drains, holds and forgets hosts, and shrinks pools by draining', async () => {
    await withAgents();
    await json('allocate', 'env-1', '--host=h1', '--tenant=acme', `${WANT},port=30050`);
    assert.match((await run('hosts', 'cordon', 'h1', '--reason=new disk')).out, /^h1 +gw +host +alive \(cordoned\) /m);
    assert.equal((await refused('allocate', 'env-2', '--host=h1', '--tenant=acme', WANT)).error.reason, 'HOST_CORDONED');
    const drained = await run('hosts', 'drain', 'h1');
    assert.match(drained.out, /^h1 +gw +host +alive \(draining\) /m);
    assert.match(drained.err, /^next: 1 mappings are left: portlease list --host h1 /m);
    assert.match((await run('hosts', 'hold', 'h1', '--for=2h')).out, /alive \(draining, kept until 20\d\d-/);
    assert.match((await run('hosts', 'uncordon', 'h1')).out, /alive \(kept until /);
    assert.match((await run('hosts', 'hold', 'h1', '--for=0s')).out, /^h1 +gw +host +alive +/m);
    assert.equal((await refused('pools', 'update', 'ssh', '--gateway=gw', '--range=30000-30009')).error.reason, 'POOL_IN_USE');
    const shrunk = await run('pools', 'update', 'ssh', '--gateway=gw', '--range=30000-30009', '--drain');
    assert.match(shrunk.out, /^ssh +gw +ssh +tcp +30000-30009 +10 +0 +0 +1 +0 +10 /m);
    assert.match(shrunk.err, /^next: 1 ports are served until they are released: portlease mappings --pool ssh /m);
    assert.equal((await refused('hosts', 'forget', 'h1', '--reason=sold')).error.reason, 'HOST_NOT_LOST');
    assert.equal((await refused('hosts', 'forget', 'g1', '--reason=sold')).error.reason, 'GATEWAY_MAY_ROUTE');
    assert.equal((await run('hosts', 'forget', 'h2', '--reason=sold')).out, '0 mappings are given up and 0 leased ports taken back; h2 is forgotten\n');
    assert.match((await run('gateways', 'override-mass-loss', 'gw', '--for=1h', '--reason=they are gone')).out, /^reclaim goes on in gateway gw until 20\d\d-/);
  });

  it('lists leases in pages', async () => {
    await withAgents();
    for (const name of ['a', 'b', 'c']) await json('allocate', `env-${name}`, '--host=h1', '--tenant=acme', `--want=name=x,pool=ssh,target=10.1.0.1`, '--wait=recorded');
    assert.match((await run('leases', '--host=h1')).out, /^gw +30\d{3}(-30\d{3})? +tcp +ssh +h1 +active +(yes|no) +\d+\/\d+ +\d+\.\d+ /m);
    const { environments, nextPageToken } = await json<{ environments: object[]; nextPageToken: string }>('list', '--limit=2');
    assert.deepEqual([environments.length, nextPageToken !== ''], [2, true]);
  });

  it('gives the reason and the remedy of a refusal', async () => {
    await withAgents();
    const cases: [argv: string[], reason: string][] = [
      [['show', 'nobody'], 'ENVIRONMENT_UNKNOWN'],
      [['allocate', 'env-1', '--host=h7', '--tenant=acme', WANT], 'HOST_UNKNOWN'],
      [['allocate', 'env-1', '--host=h1', '--tenant=acme', '--want=name=a,pool=none,target=10.1.0.1'], 'POOL_UNKNOWN'],
      [['allocate', 'env-1', '--host=h1', '--tenant=acme', '--want=name=a,service=none,target=10.1.0.1'], 'SERVICE_TYPE_UNKNOWN'],
      [['allocate', 'env-1', '--host=h1', '--tenant=acme', '--want=name=a,pool=tiny,count=3,target=10.1.0.1'], 'POOL_EXHAUSTED'],
      [['allocate', 'env-1', '--host=h1', '--tenant=acme', `${WANT},port=29999`], 'PORT_NOT_IN_POOL'],
      [['allocate', 'env-1', '--host=h1', '--tenant=acme', `${WANT},protocol=udp`], 'PROTOCOL_NOT_SERVED'],
      [['pools', 'create', 'ssh', '--gateway=gw', '--range=40000', '--protocol=tcp'], 'POOL_EXISTS'],
      [['pools', 'create', 'more', '--gateway=gw', '--range=30050-30060', '--protocol=tcp'], 'POOL_OVERLAP'],
      [['pools', 'create', 'more', '--gateway=none', '--range=40000', '--protocol=tcp'], 'GATEWAY_UNKNOWN'],
      [['hosts', 'create', 'h1', '--gateway=gw'], 'HOST_EXISTS'],
      [['hosts', 'reclaim', 'h1', '--reason=it is off'], 'HOST_NOT_LOST'],
    ];
    for (const [argv, reason] of cases) {
      const { exitCode, error } = await refused(...argv);
      assert.deepEqual([exitCode, error.reason], [EXIT.refused, reason], argv.join(' '));
      assert.ok(error.next.length > 0);
    }
  });

  it('S6: goes on waiting with the same request id, and gets the same ports', async () => {
    await coordinator.agent({ host: 'g1', roles: ['gateway'], addresses: ['203.0.113.1'] });
    const agent = await coordinator.agent({ host: 'h1' });
    agent.reports = false;
    const line = ['allocate', 'env-1', '--host=h1', '--tenant=acme', WANT, '--request-id=r1'];
    const late = await refused(...line, '--timeout=500ms');
    assert.equal(late.exitCode, EXIT.deadline, JSON.stringify(late));
    assert.ok(late.error.next.some((hint) => hint.includes('--request-id r1')), late.error.next.join('; '));
    const recorded = await json<{ environment: { mappings: { publicPort: number }[] } }>('show', 'env-1');
    agent.reports = true;
    agent.report();
    const { replayed, mappings } = await json<{ replayed: boolean; mappings: { publicPort: number; state: string }[] }>(...line);
    assert.deepEqual([replayed, mappings[0]?.publicPort, mappings[0]?.state], [true, recorded.environment.mappings[0]?.publicPort, 'MAPPING_STATE_LIVE']);
    assert.equal((await refused(...line, '--label=other=body')).error.reason, 'REQUEST_ID_REUSED');
  });

  it('says that nobody is there once the coordinator is gone', async () => {
    await coordinator.shutdown();
    assert.equal((await run('status')).exitCode, EXIT.unreachable);
  });
});
