import assert from 'node:assert/strict';
import { benchOfEachTest } from '../support/describe.js';
import { Dockerd, IMAGE } from '../support/docker.js';
import { DockerGate, GATE_SOCKET } from '../support/docker-gate.js';
import { privateKey, WEB_PORT } from '../support/image.js';
import { CLIENT, GATEWAY_PUBLIC } from '../support/layout.js';
import { argvOf } from '../support/processes.js';
import { MappingState, Wait } from '../support/requests.js';
import { eventually } from '../support/wait.js';
import type { Bench } from '../support/bench.js';
import type { DeepPartial, Mapping, Want } from '../../shared/gen/portlease/v1/ports.js';
import { IpFamily } from '../../shared/gen/portlease/v1/common.js';

type ContainerOf = { container?: string; network?: string; family?: IpFamily };

function wantOf(name: string, internalPort: number, container: ContainerOf): DeepPartial<Want> {
  return { name, source: { $case: 'pool', value: 'ssh' }, internalPort, target: { kind: { $case: 'container', value: { container: '', network: '', family: 0, ...container } } } };
}

async function allocate(bench: Bench, environment: string, wants: DeepPartial<Want>[], wait = Wait.WAIT_VERIFIED): Promise<Mapping[]> {
  return (await bench.api.allocate({ tenant: 'tenant-1', environment, host: 'host-a', wait, wants })).mappings;
}

async function page(bench: Bench, port: number, address: string = GATEWAY_PUBLIC[4]): Promise<string> {
  const host = address.includes(':') ? `[${address}]` : address;
  return (await bench.topology.run('client', ['curl', '--silent', '--globoff', '--max-time', '2', `http://${host}:${port}/`], { accept: [7, 28, 52, 56] })).stdout.trim();
}

async function answers(bench: Bench, port: number, who: string, address: string = GATEWAY_PUBLIC[4]): Promise<void> {
  await eventually(`${who} to answer on ${port}`, async () => await page(bench, port, address) === who, { withinMs: 10_000, everyMs: 20, hint: () => bench.agent('host-a').process.tail(10) });
}

async function stateOf(bench: Bench, environment: string): Promise<{ state: MappingState; reason: string }> {
  const [mapping] = (await bench.api.environment(environment)).mappings;
  assert.ok(mapping);
  return { state: mapping.state, reason: mapping.reason };
}

async function untilState(bench: Bench, environment: string, state: MappingState, reason = /./): Promise<void> {
  await eventually(`${environment} to be ${MappingState[state]}`, async () => {
    const now = await stateOf(bench, environment);
    return now.state === state && (state === MappingState.MAPPING_STATE_LIVE || reason.test(now.reason));
  }, { withinMs: 10_000, everyMs: 20 });
}

describe('a container that a mapping leads to', function () {
  this.timeout(60_000);
  const bench = benchOfEachTest();
  let docker: Dockerd;
  beforeEach(async () => { docker = await Dockerd.upFor(bench().agent('host-a')); });
  afterEach(async () => { await docker.close(); });

  it('is reached by ssh and HTTP, by its name, its id and its label', async () => {
    const id = await docker.container('web1', ['--label', 'portlease.environment=env-label']);
    const [ssh, web] = await allocate(bench(), 'env-1', [wantOf('ssh', 22, { container: 'web1' }), wantOf('web', WEB_PORT, { container: id.slice(0, 12) })]);
    const [labelled] = await allocate(bench(), 'env-label', [wantOf('web', WEB_PORT, {})]);
    assert.ok(ssh && web && labelled);
    await answers(bench(), web.publicPort, 'web1');
    await answers(bench(), labelled.publicPort, 'web1');
    const login = ['ssh', '-i', privateKey(), '-p', String(ssh.publicPort), '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null', '-o', 'BatchMode=yes', `root@${GATEWAY_PUBLIC[4]}`, 'hostname'];
    assert.equal((await bench().topology.run('client', login)).stdout.trim(), 'web1');
  });

  it('is followed when it starts later, restarts at another address, changes its network and is renamed', async () => {
    const [web] = await allocate(bench(), 'env-1', [wantOf('web', WEB_PORT, { container: 'web1' })], Wait.WAIT_RECORDED);
    assert.ok(web);
    await untilState(bench(), 'env-1', MappingState.MAPPING_STATE_BLOCKED, /there is no container web1/);
    await docker.container('web1');
    await answers(bench(), web.publicPort, 'web1');

    const before = await docker.addressOf('web1');
    await docker.run(['stop', '--time', '1', 'web1']);
    await untilState(bench(), 'env-1', MappingState.MAPPING_STATE_BLOCKED, /does not run: it is exited/);
    await docker.container('other');
    assert.equal(await docker.addressOf('other'), before, 'another container has inherited the address');
    assert.equal(await page(bench(), web.publicPort), '', 'nobody answers while it is stopped');
    await docker.run(['start', 'web1']);
    assert.notEqual(await docker.addressOf('web1'), before);
    await answers(bench(), web.publicPort, 'web1');

    await docker.run(['network', 'create', 'net1']);
    await docker.run(['network', 'connect', 'net1', 'web1']);
    await docker.run(['network', 'disconnect', 'bridge', 'web1']);
    await answers(bench(), web.publicPort, 'web1');
    await docker.run(['rename', 'web1', 'web2']);
    await untilState(bench(), 'env-1', MappingState.MAPPING_STATE_BLOCKED, /there is no container web1/);
    await docker.run(['rename', 'web2', 'web1']);
    await answers(bench(), web.publicPort, 'web1');
    await docker.run(['network', 'disconnect', 'net1', 'web1']);
    await untilState(bench(), 'env-1', MappingState.MAPPING_STATE_BLOCKED, /web1 is on no network/);
  });

  it('is reached over IPv6 on a network that has it, and not through an internal network', async () => {
    await docker.run(['network', 'create', '--ipv6', '--subnet', 'fd99:0:0:1::/64', 'net6']);
    await docker.run(['network', 'create', '--internal', 'hidden']);
    await docker.container('web6', ['--network', 'net6']);
    await docker.container('web7', ['--network', 'hidden']);
    const [web] = await allocate(bench(), 'env-6', [wantOf('web', WEB_PORT, { container: 'web6', network: 'net6', family: IpFamily.IP_FAMILY_IPV6 })], Wait.WAIT_LIVE);
    assert.ok(web);
    await answers(bench(), web.publicPort, 'web6', GATEWAY_PUBLIC[6]);
    await allocate(bench(), 'env-7', [wantOf('web', WEB_PORT, { container: 'web7' })], Wait.WAIT_RECORDED);
    await untilState(bench(), 'env-7', MappingState.MAPPING_STATE_BLOCKED, /network hidden is internal/);
  });

  it('on the network of the host is reached where it listens, and no other process of the host is', async () => {
    await docker.container('web9', ['--network', 'host'], ['sh', '-c', 'mkdir -p /www; echo web9 >/www/index.html; exec httpd -f -p 8889 -h /www']);
    const [web] = await allocate(bench(), 'env-9', [wantOf('web', 8_889, { container: 'web9' })], Wait.WAIT_RECORDED);
    assert.ok(web);
    await answers(bench(), web.publicPort, 'web9');
    const helpers = bench().agent('host-a').machine.processes().filter(pid => argvOf(pid)?.some(text => text.endsWith('/holders/server.js')));
    assert.equal(helpers.length, 1, 'one process of the agent looks who listens');
    await docker.run(['kill', 'web9']);
    await bench().serve('host-a/foreign', [{ transport: 'tcp', port: 8_889, style: 'http' }], { node: 'host-a' });
    await untilState(bench(), 'env-9', MappingState.MAPPING_STATE_BLOCKED, /does not run/);
    assert.equal(await page(bench(), web.publicPort), '');
  });

  it('goes on while the agent restarts, and is followed again after Docker was restarted or killed', async () => {
    await docker.container('web1', ['--restart', 'always']);
    const [web] = await allocate(bench(), 'env-1', [wantOf('web', WEB_PORT, { container: 'web1' })]);
    assert.ok(web);
    const rules = () => bench().rules('host-a', 'nat');
    const before = await rules();
    await bench().untilNewSession('host-a', () => bench().agent('host-a').restart('SIGKILL'));
    assert.deepEqual(await rules(), before, 'the agent touched no rule that is right');
    await answers(bench(), web.publicPort, 'web1');
    await docker.restart();
    await answers(bench(), web.publicPort, 'web1');
    await docker.kill();
    await docker.start();
    await answers(bench(), web.publicPort, 'web1');
  });

  it('leaves nothing to another one that inherits its address, not one packet, also while the agent is frozen or dead (S1)', async () => {
    await docker.container('web1');
    const [web] = await allocate(bench(), 'env-1', [wantOf('web', WEB_PORT, { container: 'web1' })]);
    assert.ok(web);
    await answers(bench(), web.publicPort, 'web1');
    const address = await docker.addressOf('web1');
    const { machine, process: agent } = bench().agent('host-a');
    agent.signal('SIGSTOP');
    // A client that has a connection, and goes on sending.
    const kept = bench().topology.run('client', ['bash', '-c', 'exec 3<>/dev/tcp/$0/$1; for i in 1 2 3 4 5 6; do printf G >&3; sleep 0.5; done', GATEWAY_PUBLIC[4], String(web.publicPort)], { accept: [0, 1, 141] });
    await eventually('the connection to be there', async () => (await bench().topology.run('host-a', ['conntrack', '-L', '-p', 'tcp', '--orig-port-dst', String(web.publicPort), '--state', 'ESTABLISHED'])).stdout !== '', { withinMs: 5_000, everyMs: 10 });
    await docker.run(['rm', '--force', 'web1']);
    await docker.container('heir');
    assert.equal(await docker.addressOf('heir'), address);
    const inside = (argv: string[]) => machine.run(['nsenter', '--target', heirPid, '--net', ...argv]);
    const heirPid = await docker.run(['inspect', '--format', '{{.State.Pid}}', 'heir']);
    await inside(['iptables', '-t', 'raw', '-A', 'PREROUTING', '-s', CLIENT[4]]);
    const packets = async () => /\[(\d+):\d+\] -A PREROUTING -s 203/.exec((await inside(['iptables-save', '-c', '-t', 'raw'])).stdout)?.[1];
    for (let i = 0; i < 3; i++) assert.equal(await page(bench(), web.publicPort), '');
    await kept;
    assert.equal(await packets(), '0');
    agent.signal('SIGKILL');
    await agent.ended;
    assert.equal(await page(bench(), web.publicPort), '');
    assert.equal(await packets(), '0');
    await bench().untilNewSession('host-a', () => bench().agent('host-a').start());
    await untilState(bench(), 'env-1', MappingState.MAPPING_STATE_BLOCKED, /there is no container web1/);
    assert.equal(await page(bench(), web.publicPort), '');
    assert.equal(await packets(), '0');
  });

  it('is guarded by a table that is put right when somebody changes it, and that changes nothing by itself', async () => {
    await docker.container('web1');
    const [web] = await allocate(bench(), 'env-1', [wantOf('web', WEB_PORT, { container: 'web1' })]);
    assert.ok(web);
    await answers(bench(), web.publicPort, 'web1');
    const table = async () => (await bench().topology.run('host-a', ['nft', 'list', 'table', 'bridge', 'portlease'], { accept: [0, 1] })).stdout;
    const before = await table();
    assert.match(before, /172\.17\.0\.2 \. "veth/);
    const repairs = async () => (await bench().api.host('host-a'))?.driftRepairs ?? 0;
    const first = await repairs();
    for (const argv of [['delete', 'table', 'bridge', 'portlease'], ['flush', 'set', 'bridge', 'portlease', 'place4'], ['flush', 'chain', 'bridge', 'portlease', 'output']]) {
      await bench().topology.run('host-a', ['nft', ...argv]);
      await eventually('the table to be back', async () => await table() === before, { withinMs: 10_000, everyMs: 20 });
      await answers(bench(), web.publicPort, 'web1');
    }
    // Marks and tables are read as they were written: what is right is not repaired.
    await eventually('the repairs to be counted', async () => await repairs() >= first + 3, { withinMs: 5_000 });
    assert.equal(await repairs(), first + 3);
    await bench().api.release({ selector: { $case: 'environment', value: 'env-1' } });
    await eventually('the address to be guarded no more', async () => !(await table()).includes('172.17.0.2'), { withinMs: 10_000, everyMs: 20 });
  });

  it('and another one that swap their addresses are never mistaken for each other', async () => {
    await docker.run(['network', 'create', '--subnet', '172.30.0.0/24', 'net1']);
    for (const [name, last] of [['web1', 11], ['web2', 12]] as const) await docker.container(name, ['--network', 'net1', '--ip', `172.30.0.${last}`]);
    const ports = new Map<string, number>();
    for (const name of ['web1', 'web2']) {
      const [web] = await allocate(bench(), `env-${name}`, [wantOf('web', WEB_PORT, { container: name })]);
      ports.set(name, web?.publicPort ?? 0);
    }
    const seen = new Map<string, Set<string>>([['web1', new Set()], ['web2', new Set()]]);
    let goesOn = true;
    const asking = ['web1', 'web2'].map(async (name) => {
      while (goesOn) seen.get(name)?.add(await page(bench(), ports.get(name) ?? 0));
    });
    for (const [one, two] of [[12, 11], [11, 12], [12, 11], [11, 12], [12, 11], [11, 12]] as const) {
      for (const name of ['web1', 'web2']) await docker.run(['network', 'disconnect', 'net1', name]);
      await docker.run(['network', 'connect', '--ip', `172.30.0.${one}`, 'net1', 'web1']);
      await docker.run(['network', 'connect', '--ip', `172.30.0.${two}`, 'net1', 'web2']);
      for (const name of ['web1', 'web2']) await answers(bench(), ports.get(name) ?? 0, name);
    }
    goesOn = false;
    await Promise.all(asking);
    for (const [name, who] of seen) assert.deepEqual([...who].filter((one) => one !== ''), [name]);
  });
});

describe('a container that publishes its ports itself', function () {
  this.timeout(60_000);
  const bench = benchOfEachTest();
  let docker: Dockerd;
  beforeEach(async () => { docker = await Dockerd.upFor(bench().agent('host-a')); });
  afterEach(async () => { await docker.close(); });

  const published = (name: string, container: string): DeepPartial<Want> => ({ name, source: { $case: 'pool', value: 'ssh' }, internalPort: WEB_PORT, target: { kind: { $case: 'published', value: { container } } } });

  it('is live once it publishes exactly its port, and reaches nobody any more when that is released (S12)', async () => {
    const [web] = await allocate(bench(), 'env-1', [published('web', 'web1')], Wait.WAIT_RECORDED);
    assert.ok(web);
    await untilState(bench(), 'env-1', MappingState.MAPPING_STATE_BLOCKED, /there is no container web1/);
    await docker.container('web1', ['--publish', `${web.publicPort}:22`]);
    await untilState(bench(), 'env-1', MappingState.MAPPING_STATE_BLOCKED, /publishes tcp port \d+ for its port 22, not 8888/);
    assert.equal(await page(bench(), web.publicPort), '', 'what is published wrongly reaches nobody');
    await docker.run(['rm', '--force', 'web1']);
    await docker.container('web1', ['--publish', `${web.publicPort}:${WEB_PORT}`]);
    await untilState(bench(), 'env-1', MappingState.MAPPING_STATE_LIVE);
    await answers(bench(), web.publicPort, 'web1');
    await bench().api.release({ selector: { $case: 'environment', value: 'env-1' } });
    assert.equal(await page(bench(), web.publicPort), '', 'nobody answers, though Docker still publishes it');
  });

  it('reaches nobody through a leased port that it was not given (S7)', async () => {
    const [web] = await allocate(bench(), 'env-1', [published('web', 'web1')], Wait.WAIT_RECORDED);
    assert.ok(web);
    const lease = (await bench().api.leases()).find(({ host, ports }) => host === 'host-a' && ports && ports.first <= web.publicPort && web.publicPort <= ports.last);
    assert.ok(lease?.ports);
    const other = web.publicPort === lease.ports.first ? lease.ports.last : lease.ports.first;
    assert.notEqual(other, web.publicPort);
    await docker.container('thief', ['--publish', `${other}:${WEB_PORT}`]);
    assert.equal(await page(bench(), other), '');
    assert.equal((await bench().topology.run('host-b', ['curl', '--silent', '--max-time', '2', `http://10.77.0.11:${other}/`], { accept: [7, 28] })).stdout, '');
  });

  it('is not disturbed on ports that portlease has nothing to do with', async () => {
    await docker.container('foreign', ['--publish', `9000:${WEB_PORT}`]);
    const ask = () => bench().topology.run('host-b', ['curl', '--silent', '--max-time', '2', 'http://10.77.0.11:9000/']);
    assert.equal((await ask()).stdout.trim(), 'foreign');
    await docker.container('web1');
    await allocate(bench(), 'env-1', [wantOf('web', WEB_PORT, { container: 'web1' })]);
    assert.equal((await ask()).stdout.trim(), 'foreign');
    assert.ok(IMAGE);
  });
});

describe('a container that a mapping leads to, when Docker is behind a proxy', function () {
  this.timeout(120_000);
  const bench = benchOfEachTest({ agent: { docker: { socket: GATE_SOCKET } } });
  let docker: Dockerd;
  let gate: DockerGate;
  beforeEach(async () => {
    const { machine, process: agent } = bench().agent('host-a');
    docker = await Dockerd.up(machine);
    gate = await DockerGate.open(machine);
    await agent.line(/"msg":"Docker answers again"/);
  });
  afterEach(async () => {
    await gate.close();
    await docker.close();
  });

  it('is followed again when nothing comes through its event stream any more, and left in peace while all does', async () => {
    await docker.container('still', ['--publish', '9000:80', '--publish', '9001:81/udp', '--label', 'a=b']);
    await docker.run(['network', 'create', '--ipv6', '--subnet', 'fd99:0:0:1::/64', 'net6']);
    await docker.container('still6', ['--network', 'net6']);
    await docker.run(['network', 'connect', 'bridge', 'still6']);
    await docker.run(['create', '--name', 'never', IMAGE]);
    await docker.container('web1');
    const [web] = await allocate(bench(), 'env-1', [wantOf('web', WEB_PORT, { container: 'web1' })]);
    assert.ok(web);
    await answers(bench(), web.publicPort, 'web1');
    const looks: string[] = [];
    gate.watch(path => { looks.push(path); });
    await eventually('two lists of all containers', () => looks.filter(path => /\/containers\/json$/.test(path)).length >= 2, { withinMs: 60_000, everyMs: 50 });
    assert.deepEqual(looks.filter(path => /\/containers\/[0-9a-f]+\/json$/.test(path)), [], 'a list says the same of a container as an inspection');

    const ended = bench().agent('host-a').process.line(/the event stream said nothing of a change of container [0-9a-f]{12}/, 60_000);
    const before = await docker.addressOf('web1');
    gate.freeze(/\/events$/);
    await docker.run(['stop', '--time', '1', 'web1']);
    await docker.container('other');
    assert.equal(await docker.addressOf('other'), before, 'another container has inherited the address');
    assert.equal(await page(bench(), web.publicPort), '', 'and gets nothing');
    await docker.run(['start', 'web1']);
    await eventually('web1 to answer', async () => await page(bench(), web.publicPort) === 'web1', { withinMs: 40_000, everyMs: 100, hint: () => bench().agent('host-a').process.tail(10) });
    await ended;
    await docker.run(['stop', '--time', '1', 'web1']);
    await untilState(bench(), 'env-1', MappingState.MAPPING_STATE_BLOCKED, /does not run: it is exited/);
  });
});
