import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Role } from '../../../shared/gen/portlease/v1/agents.js';
import { MappingState, OnConflict, Protocol, Wait } from '../../../shared/gen/portlease/v1/common.js';
import { GatewayScope, IdleAction, Strategy } from '../../../shared/gen/portlease/v1/operations.js';
import { ForwardDirection, TunnelEngine, TunnelState } from '../../../shared/gen/portlease/v1/tunnels.js';
import { EXIT } from '../../../cli/exit.js';
import { EnvironmentStatus, ExplainPortResponse, PortCondition } from '../../../shared/gen/portlease/v1/ports.js';
import { portlease } from '../../unit/cli/world.js';
import { CONFLICT, environment, GATEWAY, HOST, LEAK, LEASE, mapping, POOL, statusAnswer, TUNNEL } from './answers.js';
import { startCoordinator, type Answers, type FakeCoordinator } from './coordinator.js';

const MADE = environment({ status: EnvironmentStatus.ENVIRONMENT_STATUS_READY, image: 'lab/jupyter:4', containerId: 'f'.repeat(64) });
const CREDENTIAL = { name: 'ssh', variables: ['SSH_PASSWORD'], value: 'x'.repeat(32) };
const page = { nextPageToken: '', revisions: { 'gw-1': 1_234 } };
const ANSWERS: Answers = {
  getStatus: () => statusAnswer(),
  listPools: () => ({ pools: [POOL] }), createPool: () => ({ pool: POOL }), updatePool: () => ({ pool: POOL }), deletePool: () => ({}),
  listGateways: () => ({ gateways: [GATEWAY] }), createGateway: () => ({ gateway: GATEWAY }), deleteGateway: () => ({}),
  listHosts: () => ({ hosts: [HOST] }), createHost: () => ({ host: HOST }), replaceHost: () => ({ host: { ...HOST, replaceable: true } }),
  reclaimHost: () => ({ mappings: 2, ports: 32 }),
  forgetHost: () => ({ forgotten: true, mappings: 2, ports: 32 }), overrideMassLoss: () => ({ overriddenUntil: { seconds: 1_700_000_000, nanos: 0 } }),
  cordonHost: () => ({ host: HOST }), uncordonHost: () => ({ host: HOST }), drainHost: () => ({ host: HOST }), holdHost: () => ({ host: HOST }),
  listLeases: () => ({ leases: [LEASE], nextPageToken: '' }), listConflicts: () => ({ conflicts: [CONFLICT], nextPageToken: '' }),
  listLeaks: () => ({ leaks: [LEAK], nextPageToken: '' }), resolveLeak: () => ({ leak: LEAK, resolved: true }),
  allocatePorts: (request: { requestId: string }) => ({ requestId: request.requestId, environment: environment(), mappings: [mapping()], replayed: false }),
  releasePorts: () => ({ mappings: [mapping({ state: MappingState.MAPPING_STATE_RELEASED })], bound: undefined }),
  updateMapping: () => ({ mapping: mapping({ clientNetworks: ['198.51.100.0/24'], maxConnections: 5 }) }),
  moveEnvironment: () => ({ environment: environment({ host: 'host-b' }) }),
  getEnvironment: () => ({ environment: environment() }),
  listEnvironments: () => ({ environments: [environment()], ...page }),
  listMappings: () => ({ mappings: [mapping()], ...page }),
  createEnvironment: () => ({ environment: MADE, credentials: [CREDENTIAL], credentialsReturned: false, replayed: false }),
  deleteEnvironment: () => ({ environment: undefined, bound: undefined }),
  rotateCredentials: () => ({ environment: MADE, credentials: [CREDENTIAL] }),
  createTunnel: () => ({ tunnel: TUNNEL }), listTunnels: () => ({ tunnels: [TUNNEL], nextPageToken: '' }), getTunnel: () => ({ tunnel: { ...TUNNEL, logTail: ['connecting', 'connected'] } }),
  restartTunnel: () => ({ tunnel: TUNNEL }), stopTunnel: () => ({ tunnel: TUNNEL }), startTunnel: () => ({ tunnel: TUNNEL }), removeTunnel: () => ({ tunnel: undefined }),
};

describe('the command line, asking a coordinator', () => {
  let coordinator: FakeCoordinator;
  beforeEach(async () => { coordinator = await startCoordinator({ ...ANSWERS }); });
  afterEach(() => coordinator.close());

  /** Runs a command that has to succeed. */
  async function ok(...argv: string[]): Promise<{ out: string; err: string; request: Record<string, unknown> }> {
    const { exitCode, out, err } = await portlease([...argv, '--server', coordinator.address]);
    assert.equal(exitCode, 0, err);
    return { out, err, request: coordinator.requests.at(-1)?.request as Record<string, unknown> };
  }

  const json = async (...argv: string[]): Promise<unknown> => JSON.parse((await ok(...argv, '--json')).out);

  it('allocates: sends every part of every want, and shows the ports that it got', async () => {
    const { out, request } = await ok('allocate', 'env-1', '--host', 'host-a', '--tenant', 'acme', '--label', 'team=ml', '--label', 'note=', '--wait', 'verified',
      '--want', 'name=ssh,pool=ssh-linux,target=10.88.1.2,internal-port=22,protocol=tcp,count=2,contiguous,port=30022,client-networks=198.51.100.0/24+2001:db8::/32,max-connections=50',
      '--want', 'name=web,service=http,target=2001:db8::2,prefer=30080,on-conflict=renumber');
    assert.deepEqual(request, {
      requestId: 'cli-00000000-0000-4000-8000-000000000001', tenant: 'acme', environment: 'env-1', host: 'host-a', labels: { team: 'ml', note: '' },
      wait: Wait.WAIT_VERIFIED, dryRun: false,
      wants: [
        { name: 'ssh', source: { $case: 'pool', value: 'ssh-linux' }, protocol: Protocol.PROTOCOL_TCP, count: 2, contiguous: true,
          target: { kind: { $case: 'address', value: '10.88.1.2' } }, internalPort: 22, choice: { $case: 'exactPort', value: 30_022 },
          clientNetworks: ['198.51.100.0/24', '2001:db8::/32'], maxConnections: 50, onConflict: OnConflict.ON_CONFLICT_UNSPECIFIED },
        { name: 'web', source: { $case: 'serviceType', value: 'http' }, protocol: Protocol.PROTOCOL_UNSPECIFIED, count: 1, contiguous: false,
          target: { kind: { $case: 'address', value: '2001:db8::2' } }, internalPort: 0, choice: { $case: 'preferredPort', value: 30_080 }, clientNetworks: [], maxConnections: 0, onConflict: OnConflict.ON_CONFLICT_RENUMBER },
      ],
    });
    assert.match(out, /^ssh +203\.0\.113\.1:30007 +tcp +live +host-a +10\.88\.1\.2:22 +ssh +m-1 +ssh -p 30007 env-1\.ssh\.example\.com +- +- +-$/m);
  });

  it('passes a request id and a dry run on, and says that nothing was changed', async () => {
    const { out, request } = await ok('allocate', 'env-1', '--host=host-a', '--tenant=acme', '--want=name=a,pool=p,target=10.0.0.1', '--request-id=retry:1', '--dry-run');
    assert.deepEqual([request['requestId'], request['dryRun']], ['retry:1', true]);
    assert.match(out, /dry run: nothing was changed/);
  });

  it('creates an environment from flags and a file, shows it with its credentials, deletes it and rotates', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'portlease-env-'));
    try {
      const file = join(folder, 'container.yaml');
      writeFileSync(file, 'command: [run, it]\nenv: {A: file, B: file}\nrotateCommand: [rotate]\nmounts: [{volume: v, path: /v}]\n');
      const { out, err } = await ok('env', 'create', 'env-1', '--host=host-a', '--tenant=acme', '--image=lab/jupyter:4', '--want=name=ssh,pool=ssh', '--env=A=flag', '--gpus=2', `--file=${file}`, '--start-timeout=2m');
      const request = coordinator.requests.map(({ request: one }) => one as Record<string, unknown>).find((one) => 'container' in one) as { container: Record<string, unknown>; wants: { target: unknown }[]; startTimeout: unknown };
      const { image, command, env, gpus, rotateCommand, mounts } = request.container;
      assert.deepEqual({ image, command, env, gpus, rotateCommand, mounts }, {
        image: 'lab/jupyter:4', command: ['run', 'it'], env: { A: 'flag', B: 'file' }, gpus: { which: { $case: 'count', value: 2 } }, rotateCommand: ['rotate'],
        mounts: [{ source: { $case: 'volume', value: 'v' }, path: '/v', readOnly: false }],
      });
      assert.deepEqual([request.wants[0]?.target, request.startTimeout], [undefined, { seconds: 120, nanos: 0 }]);
      assert.match(out, /^status +ready$/m);
      assert.match(out, /^ssh +SSH_PASSWORD +x{32}$/m);
      assert.match(err, /shown once/);
    } finally {
      rmSync(folder, { recursive: true });
    }
    assert.equal((await ok('env', 'delete', 'env-1', '--volumes')).out, 'env-1 is gone\n');
    assert.match((await ok('env', 'rotate', 'env-1')).out, /^ssh +SSH_PASSWORD +x{32}$/m);
  });

  it('creates a tunnel from flags, and ends with the code of what it came to when it waits', async () => {
    const line = ['tunnels', 'create', 'db', '--host=host-a', '--ssh-server=bastion', '--reverse=0.0.0.0:2222=127.0.0.1:22', '--local=5432=db.internal:5432', '--local=[::1]:80=[2001:db8::1]:80',
      '--engine=ssh', '--probe=2', '--probe-banner=SSH-2.0-', '--probe-interval=30s', '--option=Compression=yes', '--option=Ciphers=+aes256-gcm@openssh.com'];
    const place = (host: string, port: number) => ({ host, port });
    assert.deepEqual((await ok(...line)).request, {
      wait: false, spec: {
        tunnel: 'db', host: 'host-a', server: 'bastion', engine: TunnelEngine.TUNNEL_ENGINE_SSH, options: { Compression: 'yes', Ciphers: '+aes256-gcm@openssh.com' },
        probe: { forward: 2, banner: 'SSH-2.0-', interval: { seconds: 30, nanos: 0 }, timeout: undefined },
        forwards: [
          { direction: ForwardDirection.FORWARD_DIRECTION_LOCAL, listen: place('', 5432), to: place('db.internal', 5432) },
          { direction: ForwardDirection.FORWARD_DIRECTION_LOCAL, listen: place('::1', 80), to: place('2001:db8::1', 80) },
          { direction: ForwardDirection.FORWARD_DIRECTION_REVERSE, listen: place('0.0.0.0', 2222), to: place('127.0.0.1', 22) },
        ],
      },
    });
    for (const [state, expected] of [[TunnelState.TUNNEL_STATE_UP, EXIT.ok], [TunnelState.TUNNEL_STATE_REFUSED, EXIT.refused], [TunnelState.TUNNEL_STATE_BACKOFF, EXIT.deadline]] as const) {
      coordinator.answers['createTunnel'] = () => ({ tunnel: { ...TUNNEL, state } });
      const { exitCode, out } = await portlease([...line, '--wait', '--server', coordinator.address]);
      assert.equal(exitCode, expected);
      assert.match(out, /^db +host-a /m);
    }
    const { exitCode, err } = await portlease(['tunnels', 'create', 'db', '--host=host-a', '--ssh-server=bastion', '--server', coordinator.address]);
    assert.equal(exitCode, EXIT.usage);
    assert.match(err, /--local and --reverse are missing/);
  });

  it('lists tunnels, shows one with all that is known of it, and changes it by name', async () => {
    assert.match((await ok('tunnels')).out, /^db +host-a +bastion +backoff \(flapping\) +12s +3 +rpc +SSH_FAILED: it ended with 255$/m);
    const { out, request } = await ok('tunnels', 'show', 'host-a/db');
    assert.deepEqual(request, { host: 'host-a', tunnel: 'db' });
    for (const line of [
      /^state +backoff \(flapping\)$/m, /^engine +ssh$/m, /^probe +forward 1 every 10s, within 5s, for SSH-2\.0-$/m, /^options +Compression=yes$/m, /^restarts +6, the last one in 280ms$/m,
      /^probes +7, 1 failed, last answered in 4ms, 20s ago$/m, /^made +over RPC, revision 1234$/m, /^local +host 127\.0\.0\.1:5432 +db\.internal:5432$/m, /^reverse +server \[::\]:2222 +127\.0\.0\.1:22$/m,
      /^LOG\nconnecting\nconnected$/m,
    ]) assert.match(out, line);
    for (const name of ['restart', 'stop', 'start', 'remove']) {
      const asked = await ok('tunnels', name, 'db', '--host', 'host-a', '--reason', 'why');
      assert.deepEqual(asked.request, { host: 'host-a', tunnel: 'db', reason: 'why' });
    }
    assert.equal((await ok('tunnels', 'remove', 'host-a/db')).out, 'there is no tunnel host-a/db: nothing to remove\n');
    for (const argv of [['tunnels', 'show', 'db'], ['tunnels', 'show', 'host-a/db', '--host', 'host-b']]) {
      const { exitCode, err } = await portlease([...argv, '--server', coordinator.address]);
      assert.equal(exitCode, EXIT.usage);
      assert.match(err, /--host/);
    }
  });

  it('releases an environment, a mapping or a port', async () => {
    assert.deepEqual((await ok('release', 'env-1')).request, { selector: { $case: 'environment', value: 'env-1' }, wait: Wait.WAIT_UNSPECIFIED });
    assert.deepEqual((await ok('release', '--mapping', 'm-1', '--wait', 'recorded')).request, { selector: { $case: 'mappingId', value: 'm-1' }, wait: Wait.WAIT_RECORDED });
    assert.deepEqual((await ok('release', '--port', 'gw-1/host-a/tcp+udp/30022')).request['selector'],
      { $case: 'port', value: { space: 'gw-1/host-a', protocol: Protocol.PROTOCOL_TCP_UDP, port: 30_022 } });
    assert.deepEqual((await ok('release', '--port', 'gw-1/udp/53')).request['selector'],
      { $case: 'port', value: { space: 'gw-1', protocol: Protocol.PROTOCOL_UDP, port: 53 } });
  });

  it('calls the release of nothing a success', async () => {
    coordinator.answers['releasePorts'] = () => ({ mappings: [], bound: undefined });
    assert.equal((await ok('release', 'env-1')).out, 'env-1 has no ports: nothing to release\n');
  });

  it('says by what a release that is not done yet is bounded', async () => {
    const releasing = mapping({ state: MappingState.MAPPING_STATE_RELEASING });
    coordinator.answers['releasePorts'] = () => ({ mappings: [releasing], bound: { seconds: 120, nanos: 0 } });
    assert.match((await ok('release', 'env-1')).err, /^next: 1 still releasing; done within 2m$/m);
    coordinator.answers['releasePorts'] = () => ({ mappings: [releasing], bound: undefined });
    assert.match((await ok('release', 'env-1')).err, /when their host returns, or is reclaimed/);
  });

  it('moves an environment with new targets', async () => {
    const { request } = await ok('move', 'env-1', '--to', 'host-b', '--target', 'ssh=10.88.2.2:2222', '--target', 'web=[2001:db8::2]:80', '--target', 'dns=2001:db8::3');
    const target = (value: string) => ({ kind: { $case: 'address', value } });
    assert.deepEqual(request, {
      environment: 'env-1', host: 'host-b', wait: Wait.WAIT_UNSPECIFIED, targets: [
        { name: 'ssh', target: target('10.88.2.2'), internalPort: 2_222 },
        { name: 'web', target: target('2001:db8::2'), internalPort: 80 },
        { name: 'dns', target: target('2001:db8::3'), internalPort: 0 },
      ],
    });
  });

  it('limits a mapping to networks and connections, and says which it has then', async () => {
    const { request, out } = await ok('limit', 'm-1', '--client-network', '198.51.100.0/24', '--client-network', '2001:DB8:0::/32', '--max-connections', '5');
    assert.deepEqual(request, { mappingId: 'm-1', clientNetworks: { networks: ['198.51.100.0/24', '2001:db8::/32'] }, maxConnections: 5, wait: Wait.WAIT_UNSPECIFIED });
    assert.match(out, / 198\.51\.100\.0\/24, at most 5 +- +-$/m);
    assert.deepEqual((await ok('limit', 'm-1', '--everybody', '--wait', 'recorded')).request, { mappingId: 'm-1', clientNetworks: { networks: [] }, maxConnections: undefined, wait: Wait.WAIT_RECORDED });
    assert.deepEqual((await ok('limit', 'm-1', '--max-connections', '0')).request, { mappingId: 'm-1', clientNetworks: undefined, maxConnections: 0, wait: Wait.WAIT_UNSPECIFIED });
  });

  it('tells how to free a held environment from its silent host', async () => {
    coordinator.answers['getEnvironment'] = () => ({ environment: environment({ mappings: [mapping({ state: MappingState.MAPPING_STATE_HELD })] }) });
    assert.match((await ok('show', 'env-1')).err, /^next: host host-a is silent: portlease move env-1 --to HOST keeps the numbers$/m);
  });

  it('creates a pool from flags', async () => {
    const { request, err } = await ok('pools', 'create', 'ssh', '--gateway', 'gw-1', '--range', '30000-30999', '--range', '40000', '--protocol', 'tcp', '--alias', 'shell',
      '--internal-port', '22', '--strategy', 'least-recently-used', '--reserved', '30005', '--quarantine', '1.5s', '--hold', '2d', '--idle-warning', '2h', '--idle-action', 'release');
    const pool = request['pool'] as typeof POOL;
    assert.deepEqual(pool.ranges, [{ first: 30_000, last: 30_999 }, { first: 40_000, last: 40_000 }]);
    assert.deepEqual(pool.reserved, [{ first: 30_005, last: 30_005 }]);
    assert.deepEqual([pool.pool, pool.gateway, pool.protocol, pool.defaultInternalPort, pool.strategy], ['ssh', 'gw-1', Protocol.PROTOCOL_TCP, 22, Strategy.STRATEGY_LEAST_RECENTLY_USED]);
    assert.deepEqual([pool.quarantine, pool.hold, pool.idleLimit], [{ seconds: 1, nanos: 500_000_000 }, { seconds: 172_800, nanos: 0 }, undefined]);
    assert.deepEqual([pool.idleWarning, pool.idleAction], [{ seconds: 7_200, nanos: 0 }, IdleAction.IDLE_ACTION_RELEASE]);
    assert.match(err, /^next: portlease allocate /m);
  });

  it('creates a pool from a file, whose fields flags override', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'portlease-pool-'));
    const file = join(directory, 'pool.yaml');
    writeFileSync(file, 'pool: ssh\ngateway: gw-1\nprotocol: tcp\nranges: [30000-30999, {first: 40000, last: 40010}, 50000]\nquarantine: 10s\ndefaultInternalPort: 22\n');
    try {
      const pool = (await ok('pools', 'create', '-f', file, '--quarantine', '20s')).request['pool'] as typeof POOL;
      assert.deepEqual(pool.ranges, [{ first: 30_000, last: 30_999 }, { first: 40_000, last: 40_010 }, { first: 50_000, last: 50_000 }]);
      assert.deepEqual([pool.pool, pool.gateway, pool.defaultInternalPort, pool.quarantine], ['ssh', 'gw-1', 22, { seconds: 20, nanos: 0 }]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('updates only the fields whose flags are given', async () => {
    const { request } = await ok('pools', 'update', 'ssh', '--gateway', 'gw-1', '--hold', '1h', '--internal-port', '0', '--alias', '');
    assert.deepEqual((request['updateMask'] as string[]).toSorted(), ['aliases', 'default_internal_port', 'hold']);
    assert.deepEqual((request['pool'] as typeof POOL).hold, { seconds: 3_600, nanos: 0 });
  });

  it('creates and deletes gateways, hosts and pools by name', async () => {
    const gateway = (await ok('gateways', 'create', 'gw-1', '--scope', 'shared', '--public-host', 'gw.example.com')).request['gateway'] as typeof GATEWAY;
    assert.deepEqual([gateway.gateway, gateway.scope, gateway.publicHost], ['gw-1', GatewayScope.GATEWAY_SCOPE_SHARED, 'gw.example.com']);
    const host = (await ok('hosts', 'create', 'host-a', '--gateway', 'gw-1', '--role', 'host', '--role', 'gateway', '--failure-domain', 'rack-1')).request['host'] as typeof HOST;
    assert.deepEqual([host.host, host.gateway, host.roles, host.failureDomain], ['host-a', 'gw-1', [Role.ROLE_HOST, Role.ROLE_GATEWAY], 'rack-1']);
    assert.deepEqual((await ok('gateways', 'delete', 'gw-1')).request, { gateway: 'gw-1' });
    assert.deepEqual((await ok('pools', 'delete', 'ssh', '--gateway', 'gw-1')).request, { gateway: 'gw-1', pool: 'ssh' });
    assert.deepEqual((await ok('hosts', 'replace', 'host-a', '--reason', 'new board')).request, { host: 'host-a', reason: 'new board' });
    assert.deepEqual((await ok('hosts', 'reclaim', 'host-a', '--reason', 'it is off')).request, { host: 'host-a', reason: 'it is off', override: false });
    assert.deepEqual((await ok('hosts', 'forget', 'host-a', '--reason', 'sold', '--host-is-off')).request, { host: 'host-a', reason: 'sold', hostIsOff: true, gatewayIsOff: false });
    assert.deepEqual((await ok('gateways', 'override-mass-loss', 'gw-1', '--failure-domain', 'rack-1', '--for', '90m', '--reason', 'gone')).request,
      { gateway: 'gw-1', failureDomain: 'rack-1', reason: 'gone', duration: { seconds: 5_400, nanos: 0 } });
    assert.deepEqual((await ok('hosts', 'hold', 'host-a', '--for', '2h')).request, { host: 'host-a', reason: '', duration: { seconds: 7_200, nanos: 0 } });
  });

  it('hands filters of lists on', async () => {
    assert.deepEqual((await ok('list', '--tenant', 'acme', '--gateway', 'gw-1', '--host', 'host-a', '--label', 'team=ml')).request,
      { tenant: 'acme', gateway: 'gw-1', host: 'host-a', labels: { team: 'ml' }, pageSize: 1_000, pageToken: '' });
    assert.deepEqual((await ok('mappings', '--tenant', 'acme', '--pool', 'ssh', '--env', 'env-1', '--state', 'held', '--port', '30007')).request,
      { tenant: 'acme', gateway: '', pool: 'ssh', host: '', environment: 'env-1', state: MappingState.MAPPING_STATE_HELD, port: 30_007, pageSize: 1_000, pageToken: '' });
    assert.deepEqual((await ok('leases', '--host', 'host-a', '--pool', 'ssh')).request, { gateway: '', host: 'host-a', pool: 'ssh', pageSize: 1_000, pageToken: '' });
    assert.deepEqual((await ok('conflicts', '--gateway', 'gw-1', '--host', 'host-a', '--pool', 'ssh')).request, { gateway: 'gw-1', host: 'host-a', pool: 'ssh', pageSize: 1_000, pageToken: '' });
    assert.deepEqual((await ok('leaks', '--gateway', 'gw-1', '--host', 'host-a', '--pool', 'ssh')).request, { gateway: 'gw-1', host: 'host-a', pool: 'ssh', pageSize: 1_000, pageToken: '' });
    assert.deepEqual((await ok('tunnels', '--gateway', 'gw-1', '--host', 'host-a')).request, { gateway: 'gw-1', host: 'host-a', pageSize: 1_000, pageToken: '' });
    assert.deepEqual((await ok('hosts', '--gateway', 'gw-1', '--host', 'host-a')).request, { gateway: 'gw-1', host: 'host-a' });
    assert.deepEqual((await ok('pools', '--gateway', 'gw-1')).request, { gateway: 'gw-1' });
  });

  it('reads lists page by page to the end, or to the limit', async () => {
    const pages: Record<string, object> = {
      '': { environments: [environment({ environment: 'env-1' })], nextPageToken: 'second', revisions: { 'gw-1': 5 } },
      'second': { environments: [environment({ environment: 'env-2' })], nextPageToken: 'third', revisions: { 'gw-1': 6 } },
      'third': { environments: [environment({ environment: 'env-3' })], nextPageToken: '', revisions: { 'gw-1': 7 } },
    };
    coordinator.answers['listEnvironments'] = (request: { pageToken: string }) => pages[request.pageToken] ?? {};
    const all = await json('list') as { environments: { environment: string }[]; nextPageToken: string; revisions: object };
    assert.deepEqual(all.environments.map((each) => each.environment), ['env-1', 'env-2', 'env-3']);
    assert.deepEqual([all.nextPageToken, all.revisions], ['', { 'gw-1': 5 }], 'a watch that starts at the first page misses nothing');
    const { out, err, request } = await ok('list', '--limit', '2');
    assert.equal(out.split('\n').length, 4, 'a header, two rows, and the end');
    assert.equal(request['pageSize'], 1);
    assert.match(err, /^next: there are more than these 2/m);
  });

  it('prints one JSON document with the field names of the contract and nothing on standard error', async () => {
    const { out, err } = await ok('pools', '--json');
    assert.deepEqual(JSON.parse(out), { pools: [{
      pool: 'ssh', gateway: 'gw-1', description: '', serviceType: 'ssh', aliases: ['shell'], ranges: [{ first: 30_000, last: 30_099 }, { first: 40_000, last: 40_000 }],
      protocol: 'PROTOCOL_TCP', defaultInternalPort: 0, strategy: 'STRATEGY_RANDOM', reserved: [], quarantine: '1.5s', idleAction: 'IDLE_ACTION_REPORT', domainTemplate: '', onConflict: 'ON_CONFLICT_BLOCK',
      figures: { total: 101, reserved: 0, leased: 32, allocated: 20, held: 5, quarantined: 1, free: 75, usagePercent: 24.75, draining: 0 },
    }] });
    assert.equal(err, '');
  });

  it('prints JSON for every command', async () => {
    assert.deepEqual((await json('show', 'env-1') as { environment: object }).environment, {
      environment: 'env-1', tenant: 'acme', gateway: 'gw-1', host: 'host-a', labels: { team: 'ml' }, revision: 1_230, createdAt: '2023-11-14T22:13:20.000Z',
      statusDetail: '', image: '', containerId: '',
      mappings: [{
        access: { hostName: 'env-1.ssh.example.com', url: '', command: 'ssh -p 30007 env-1.ssh.example.com' },
        mappingId: 'm-1', environment: 'env-1', tenant: 'acme', name: 'ssh', index: 0, gateway: 'gw-1', space: 'gw-1', pool: 'ssh', protocol: 'PROTOCOL_TCP',
        publicHost: '203.0.113.1', publicPort: 30_007, host: 'host-a', target: { address: '10.88.1.2' }, internalPort: 22, state: 'MAPPING_STATE_LIVE', reason: '',
        generation: 78, createdAt: '2023-11-14T22:13:20.000Z', clientNetworks: [], maxConnections: 0,
      }],
    });
    const lines = [
      ['status'], ['gateways'], ['hosts'], ['leases'], ['conflicts'], ['leaks'], ['leaks', 'resolve', 'host-a', 'listener/tcp/30000/1'], ['list'], ['mappings'], ['release', 'env-1'], ['move', 'env-1', '--to=host-b'], ['limit', 'm-1', '--everybody'], ['gateways', 'delete', 'gw-1'],
      ['allocate', 'env-1', '--host=h', '--tenant=t', '--want=name=a,pool=p,target=10.0.0.1'], ['hosts', 'reclaim', 'host-a', '--reason=off'],
      ['hosts', 'cordon', 'host-a'], ['hosts', 'uncordon', 'host-a'], ['hosts', 'drain', 'host-a'], ['hosts', 'hold', 'host-a', '--for=2h'],
      ['hosts', 'forget', 'host-a', '--reason=sold'], ['gateways', 'override-mass-loss', 'gw-1', '--for=1h', '--reason=gone'],
      ['env', 'create', 'env-1', '--host=h', '--tenant=t', '--image=i', '--want=name=a,pool=p'], ['env', 'delete', 'env-1'], ['env', 'rotate', 'env-1'],
      ['tunnels'], ['tunnels', 'show', 'host-a/db'], ['tunnels', 'create', 'db', '--host=h', '--ssh-server=s', '--local=1=h:1'],
      ...['restart', 'stop', 'start', 'remove'].map((name) => ['tunnels', name, 'host-a/db']),
    ];
    for (const line of lines) assert.equal(typeof await json(...line), 'object', line.join(' '));
  });

  it('says in JSON that a list is empty', async () => {
    coordinator.answers['listHosts'] = () => ({ hosts: [] });
    assert.deepEqual(await json('hosts'), { hosts: [] });
  });

  it('shows tables for people', async () => {
    assert.equal((await ok('gateways')).out, 'GATEWAY  SCOPE   PUBLIC       AGENT    STATE  REVISION\ngw-1     shared  203.0.113.1  gw-host  alive      1234\n');
    assert.match((await ok('hosts')).out, /^host-a +gw-1 +host,gateway +alive +2s +10\.77\.0\.11 +- +- +2 +32 +0 +0\.1\.0$/m);
    assert.match((await ok('leases')).out, /^gw-1 +30000-30015 +tcp +ssh +host-a +active +yes +1\/16 +2\.77 +2023-11-14 22:13:20Z +l-1$/m);
    assert.match((await ok('conflicts')).out, /^host-a +30007 +tcp +0\.0\.0\.0:30007 +nginx +812 +www-data +4f4f4f4f4f4f +nginx: \(\+2 arguments\) +ssh +env-1 +blocked +2023-11-14 22:13:20Z$/m);
    assert.match((await ok('leaks')).out, /^host-a +mapping without container +mappingWithoutContainer\/m-1\/78 +env-1 +release the port, by itself +2023-11-14 22:13:20Z +port 30007 leads nowhere$/m);
    assert.match((await ok('pools')).out, /^ssh +gw-1 +ssh,shell +tcp +30000-30099,40000 +101 +20 +5 +0 +1 +75 +24\.8% +- +-$/m);
    assert.match((await ok('list')).out, /^env-1 +acme +gw-1 +host-a +1 +- +live +0 +2023-11-14 22:13:20Z$/m);
    assert.match((await ok('mappings')).out, /^env-1 +ssh +203\.0\.113\.1:30007 +tcp +live /m);
    assert.match((await ok('status')).out, /^coordinator +0\.1\.0, up 2h 5m$/m);
  });

  it('resolves a leak, or says what that would do', async () => {
    const plan = await ok('leaks', 'resolve', 'host-a', 'mappingWithoutContainer/m-1/78', '--reason', 'removed by hand', '--dry-run');
    assert.deepEqual(plan.request, { host: 'host-a', leak: 'mappingWithoutContainer/m-1/78', reason: 'removed by hand', dryRun: true });
    assert.match(plan.out, /^dry run: nothing was done; it would release the port\n/);
    assert.match((await ok('leaks', 'resolve', 'host-a', 'mappingWithoutContainer/m-1/78')).out, /^resolved\n/);
  });

  it('shows which ports are idle, since when, and when they are released', async () => {
    const idle = { idleSince: { seconds: 1_700_000_000, nanos: 0 } };
    const warned = { ...idle, idleReleaseAt: { seconds: 1_700_100_000, nanos: 0 } };
    const mappings = [mapping({ mappingId: 'm-1' }), mapping({ mappingId: 'm-2', ...idle }), mapping({ mappingId: 'm-3', ...warned })];
    coordinator.answers['listMappings'] = () => ({ mappings, ...page });
    coordinator.answers['listEnvironments'] = () => ({ environments: [environment({ mappings })], ...page });
    const lines = (await ok('mappings')).out.split('\n');
    assert.match(lines[1] ?? '', /m-1 .* - +-$/);
    assert.match(lines[2] ?? '', /m-2 .* since 2023-11-14 22:13:20Z +-$/);
    assert.match(lines[3] ?? '', /m-3 .* since 2023-11-14 22:13:20Z, release 2023-11-16 02:00:00Z +-$/);
    assert.match((await ok('list')).out, /^env-1 +acme +gw-1 +host-a +3 +- +live +2 /m);
    const [, , last] = (await json('mappings') as { mappings: { idleSince?: string; idleReleaseAt?: string }[] }).mappings;
    assert.deepEqual([last?.idleSince, last?.idleReleaseAt], ['2023-11-14T22:13:20.000Z', '2023-11-16T02:00:00.000Z']);
  });

  it('explains a port that is idle: since when, and when it is released', async () => {
    const idle = mapping({ idleSince: { seconds: 1_700_000_000, nanos: 0 }, idleReleaseAt: { seconds: 1_700_100_000, nanos: 0 } });
    coordinator.answers['explainPort'] = () => ExplainPortResponse.fromPartial({ space: 'gw-1', port: 30_007, condition: PortCondition.PORT_CONDITION_IN_USE, mapping: idle });
    assert.match((await ok('explain', '30007', '--space', 'gw-1')).out, /^idle +since 2023-11-14 22:13:20Z, release 2023-11-16 02:00:00Z$/m);
    coordinator.answers['explainPort'] = () => ExplainPortResponse.fromPartial({ space: 'gw-1', port: 30_007, condition: PortCondition.PORT_CONDITION_IN_USE, mapping: mapping() });
    assert.match((await ok('explain', '30007', '--space', 'gw-1')).out, /^idle +-$/m);
  });

  it('lets no text of others steer the terminal', async () => {
    coordinator.answers['listMappings'] = () => ({ mappings: [mapping({ reason: 'bad\x1b[2J\nline' })], ...page });
    assert.match((await ok('mappings')).out, /bad\?\[2J\?line$/m);
  });
});
