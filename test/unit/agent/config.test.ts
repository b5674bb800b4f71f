import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { agentConfigSchema, loadAgentConfig, type AgentConfig } from '../../../agent/config.js';
import { parseArguments } from '../../../shared/arguments.js';
import { settingsOf } from '../../../agent/drivers/nginx/settings.js';
import { ConfigError } from '../../../shared/config.js';
import { leavesOf } from '../../../shared/config/keys.js';

const GOOD = { host: 'host-a', gateway: 'gw', coordinator: '127.0.0.1:7410', addresses: '10.0.0.1' };

function load(set: Record<string, string>, env: Record<string, string> = {}): AgentConfig {
  return loadAgentConfig({ configPath: '/dev/null', set: { ...GOOD, ...set } }, env);
}

function problemsOf(action: () => unknown): readonly string[] {
  try {
    action();
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.problems;
  }
  return [];
}

/** Values that each key refuses. A key without a row fails the test. */
const NASTY = ['', ' ', 'a b', '-j', '$(id)', '../etc', 'a\nb', 'a\0b', 'x'.repeat(10_000)];
const BAD: Record<string, string[]> = {
  host: [...NASTY, 'UPPER', 'a.b', '-a', 'a-'],
  gateway: [...NASTY, 'UPPER', 'a/b'],
  driver: [...NASTY, 'nft', 'IPTABLES', 'iptables,userspace'],
  'docker.enabled': [...NASTY, 'yes', '1'],
  'docker.socket': [...NASTY, 'run/docker.sock', '/run/../docker.sock', 'unix:/run/docker.sock'],
  'docker.markBit': [...NASTY, '-1', '32', '1.5', '0x8'],
  'environments.enabled': [...NASTY, 'yes', '1'],
  'environments.images': NASTY.slice(1).concat('lab/$x', '/lab', 'a'.repeat(256)),
  'environments.pull': [...NASTY, 'yes'],
  'environments.hostPaths': NASTY.slice(1).concat('data', '/data/..', '/data/../etc', '/./data', '/data:rw', '/', '/data/'),
  'environments.volumes': NASTY.slice(1).concat('/data', 'a'.repeat(256)),
  'environments.networks': NASTY.slice(1).concat('container:web', 'a/b'),
  'environments.gpus': [...NASTY, 'all', '1'],
  'environments.maxMemoryMiB': [...NASTY, '-1', '1.5', '1GiB', 'Infinity'],
  'environments.maxCpus': [...NASTY, '-1', '4097', 'two', 'Infinity'],
  'environments.maxProcesses': [...NASTY, '0', '-1', '1.5', '4194305'],
  'environments.ulimits': NASTY.slice(1).concat('rtprio', 'NOFILE'),
  'environments.noNewPrivileges': [...NASTY, 'yes'],
  'userspace.maxConnections': [...NASTY, '0', '-1', '1.5', '100001', 'Infinity'],
  'userspace.maxConnectionsPerMapping': [...NASTY, '0', '-1', '1.5', '100001'],
  'userspace.connectTimeout': [...NASTY, '0s', '99ms', '121s', '5'],
  roles: [...NASTY, 'host,host', 'operator', 'HOST'],
  coordinator: [...NASTY, 'host', 'host:0', 'host:65536', ':7410', 'unix:relative', 'unix:/a/../b', 'http://host:1', '10.0.0.9:7410'],
  addresses: [...NASTY, '0.0.0.0', '127.0.0.1', '169.254.169.254', '::1', 'fe80::1', '::', '224.0.0.1', '10.0.0.256', '10.0.0.1/24', '10.0.0.1,10.0.0.1', '::ffff:10.0.0.1', 'fe80::1%eth0', 'host.example'],
  snat: [...NASTY, 'yes', '1', 'true'],
  routes: [...NASTY, 'dnat', 'NGINX', 'nginx'],
  'nginx.program': [...NASTY, 'nginx', '/usr/sbin/nginx;', '/a b'],
  'nginx.unit': [...NASTY, 'nginx', '-x.service', 'a/b.service', 'a b.service', '.service'],
  'nginx.streamModule': [...NASTY, 'modules/x.so', '/x.so;', '/x{y'],
  'nginx.directory': [...NASTY, 'relative', '/a/../b', '/a b', "/a'b", '/a;b', '/$a'],
  'nginx.user': [...NASTY, 'root;', 'www data', 'A'],
  'nginx.workers': [...NASTY, '0', '-1', '1.5', '65'],
  'nginx.connections': [...NASTY, '0', '-1', '1.5', '1000001'],
  'nginx.connectTimeout': [...NASTY, '0s', '99ms', '121s', '5'],
  'nginx.shutdownTimeout': [...NASTY, '0s', '999ms', '31d'],
  'nginx.reloadInterval': [...NASTY, '-1s', '61s', '1'],
  'nginx.accessLogMiB': [...NASTY, '-1', '1.5', '100001'],
  'nginx.certificates': [...NASTY, 'relative', '/a/../b'],
  targetNetworks: NASTY.slice(1).concat('10.0.0.1', '127.0.0.0/8', '169.254.0.0/16', '0.0.0.0/8', '::1/128', 'fe80::/10', '10.0.0.0/33'),
  'timing.reconcileInterval': [...NASTY, '2', '0s', '99ms', '61s', '-1s', '1e3s', 'Infinity'],
  'timing.idleInterval': [...NASTY, '2', '0s', '99ms', '61m', '-1s', 'Infinity'],
  'timing.leakInterval': [...NASTY, '30', '0s', '99ms', '61m', '-1s', 'Infinity'],
  'leaks.sightings': [...NASTY, '0', '-1', '1.5', '1001', 'Infinity'],
  'leaks.tunnelProcesses': [...NASTY, 'kill', 'REPAIR', 'report,repair'],
  'leaks.containers': [...NASTY, 'remove', 'REPAIR', 'report,repair'],
  'tunnels.engine': [...NASTY, 'openssh', 'SSH'],
  'tunnels.servers': [...NASTY, 'edge'],
  'tunnels.options': NASTY.slice(1).concat('ProxyCommand', 'compression', 'LocalCommand'),
  'tunnels.forwards.listen': NASTY.slice(1).concat('127.0.0.1', '10.0.0.0/33'),
  'tunnels.forwards.minPort': [...NASTY, '0', '65536', '1.5'],
  'tunnels.forwards.to': NASTY.slice(1).concat('127.0.0.1', '10.0.0.0/33'),
  'tunnels.gateway': [...NASTY, 'absent'],
  'tunnels.list': NASTY.slice(1).concat('edge'),
  'tunnels.logs.dir': [...NASTY, 'relative', '/a/../b'],
  'tunnels.logs.maxKiB': [...NASTY, '3', '1048577', '1.5'],
  'tunnels.logs.keep': [...NASTY, '-1', '101', '1.5'],
  'tunnels.probeFailures': [...NASTY, '0', '1001', '1.5'],
  'tunnels.flapping.downs': [...NASTY, '0', '1001', '1.5'],
  'tunnels.flapping.window': [...NASTY, '999ms', '25h', '5'],
  'tunnels.backoff.min': [...NASTY, '9ms', '61s'],
  'tunnels.backoff.max': [...NASTY, '9ms', '601s', '500ms'],
  'timing.reconnectMin': [...NASTY, '0ms', '9ms', '61s', '31s'],
  'timing.reconnectMax': [...NASTY, '9ms', '601s', '500ms'],
  'timing.connect': [...NASTY, '99ms', '121s'],
  'paths.state': [...NASTY, 'relative', '/a/../b'],
  'paths.run': [...NASTY, 'relative'],
  'paths.lock': [...NASTY, 'relative'],
  'paths.bootId': [...NASTY, 'relative'],
  'tls.certificate': [...NASTY, 'relative'],
  'tls.key': [...NASTY, 'relative'],
  'tls.ca': [...NASTY, 'relative'],
  insecure: [...NASTY, 'yes'],
  'log.level': [...NASTY, 'verbose'],
};

describe("the agent's config", () => {
  it('needs host, gateway, coordinator and addresses, and has a default for the rest', () => {
    const config = load({});
    assert.deepEqual([config.driver, config.roles, config.snat, config.insecure, config.tls], ['iptables', ['host'], false, false, undefined]);
    assert.deepEqual(config.paths, { state: '/var/lib/portlease', run: '/run/portlease', lock: '/run/portlease/agent.lock', bootId: '/proc/sys/kernel/random/boot_id' });
    assert.deepEqual(config.timing, { reconcileInterval: 2_000, idleInterval: 60_000, leakInterval: 30_000, reconnectMin: 1_000, reconnectMax: 30_000, connect: 10_000 });
    const problems = problemsOf(() => loadAgentConfig({ configPath: '/dev/null', set: {} }, {}));
    assert.deepEqual(problems.map(problem => problem.split(':')[0]), ['host', 'gateway', 'coordinator', 'addresses']);
  });

  it('has a row of bad values for each key', () => {
    assert.deepEqual(leavesOf(agentConfigSchema).map(({ path }) => path.join('.')).sort(), Object.keys(BAD).sort());
  });

  for (const [key, values] of Object.entries(BAD)) {
    it(`refuses ${values.length} bad values of ${key}, and names it`, () => {
      const rest: Record<string, string> = key.startsWith('tls.') ? { 'tls.certificate': '/c', 'tls.key': '/k', 'tls.ca': '/a' } : {};
      for (const value of values) {
        const problems = problemsOf(() => load({ ...rest, [key]: value }));
        assert.ok(problems.some(problem => problem.startsWith(key) || problem.startsWith('timing.reconnectMax')), `${JSON.stringify(value).slice(0, 40)}: ${problems.join(' | ')}`);
      }
    });
  }

  it('takes both roles on one machine, and SNAT only with the role gateway', () => {
    assert.deepEqual(load({ roles: 'gateway,host', snat: 'true' }).roles, ['gateway', 'host']);
    assert.equal(load({ roles: 'gateway', snat: 'true' }).snat, true);
  });

  it('lets nginx serve the routes of a gateway only, with files of its own in the state folder', () => {
    assert.equal(load({ roles: 'gateway', routes: 'nginx' }).routes, 'nginx');
    assert.equal(load({}).routes, 'kernel');
    assert.deepEqual(load({}).nginx, { program: '/usr/sbin/nginx', user: 'www-data', workers: 2, connections: 4_096, connectTimeout: 5_000, reloadInterval: 1_000, certificates: '/etc/portlease/certificates', accessLogMiB: 64 });
    const { directory, shutdownMs } = settingsOf(load({ roles: 'gateway', routes: 'nginx', 'nginx.shutdownTimeout': '1h' }).nginx, '/state');
    assert.deepEqual([directory, shutdownMs], ['/state/nginx', 3_600_000]);
    assert.equal(settingsOf(load({ 'nginx.directory': '/there', 'nginx.streamModule': '/m.so' }).nginx, '/state').directory, '/there');
  });

  it('has a driver for an ordinary user, with a state folder for each host and limits, and nothing for the role gateway', () => {
    const userspace = { driver: 'userspace', addresses: '127.0.0.1,::1' };
    const { paths, userspace: limits, addresses } = load(userspace, { HOME: '/home/me' });
    assert.deepEqual([paths.state, addresses], ['/home/me/.local/state/portlease/host-a', ['127.0.0.1', '::1']]);
    assert.deepEqual(limits, { maxConnections: 4_096, maxConnectionsPerMapping: 1_024, connectTimeout: 5_000 });
    assert.equal(load(userspace, { HOME: '/home/me', XDG_STATE_HOME: '/state' }).paths.state, '/state/portlease/host-a');
    assert.equal(load({ ...userspace, 'paths.state': '/there' }).paths.state, '/there');
    assert.match(problemsOf(() => load(userspace)).join(), /^paths.state .*XDG_STATE_HOME/);
    assert.match(problemsOf(() => load({ ...userspace, roles: 'host,gateway' }, { HOME: '/h' })).join(), /^driver .*set driver: iptables/);
  });

  it('lets no scheduler run anything unless it says so, and environments only with Docker', () => {
    const { environments } = load({});
    assert.deepEqual(environments, {
      enabled: false, images: [], pull: false, hostPaths: [], volumes: [], networks: ['bridge'], gpus: false, maxMemoryMiB: 0, maxCpus: 0, maxProcesses: 4_096,
      ulimits: ['core', 'memlock', 'nofile', 'nproc', 'stack'], noNewPrivileges: true,
    });
    assert.deepEqual(load({ 'environments.hostPaths': '/data,/models:ro' }).environments.hostPaths, [{ path: '/data', readOnly: false }, { path: '/models', readOnly: true }]);
    assert.match(problemsOf(() => load({ 'environments.enabled': 'true', 'docker.enabled': 'false' })).join(), /^environments.enabled .*docker.enabled: true/);
  });

  it('takes IPv6 addresses in their one text form', () => {
    assert.deepEqual(load({ addresses: '10.0.0.1, FD00:0:0::1' }).addresses, ['10.0.0.1', 'fd00::1']);
    assert.equal(problemsOf(() => load({ addresses: 'fd00::1,fd00:0::1' })).length, 1);
  });

  it('leaves this machine without TLS only where insecure says so', () => {
    assert.equal(problemsOf(() => load({ coordinator: 'coordinator.example:7410' })).length, 1);
    assert.equal(load({ coordinator: 'coordinator.example:7410', insecure: 'true' }).insecure, true);
    const tls = { 'tls.certificate': '/c.pem', 'tls.key': '/k.pem', 'tls.ca': '/ca.pem' };
    assert.deepEqual(load({ coordinator: 'coordinator.example:7410', ...tls }).tls, { certificate: '/c.pem', key: '/k.pem', ca: '/ca.pem' });
    assert.ok(problemsOf(() => load({ 'tls.key': '/k.pem' })).some(problem => problem.startsWith('tls.certificate')));
  });

  it('lets flags override the environment, and that the file', () => {
    const dir = mkdtempSync(join(tmpdir(), 'portlease-config-'));
    try {
      writeFileSync(join(dir, 'agent.yaml'), 'host: from-file\ngateway: from-file\ncoordinator: 127.0.0.1:1\naddresses: [10.0.0.1]\n');
      const env = { PORTLEASE_AGENT_HOST: 'from-env', PORTLEASE_AGENT_GATEWAY: 'from-env', PORTLEASE_AGENT_CONFIG: join(dir, 'agent.yaml') };
      const config = loadAgentConfig({ configPath: undefined, set: { host: 'from-flag' } }, env);
      assert.deepEqual([config.host, config.gateway, config.addresses], ['from-flag', 'from-env', ['10.0.0.1']]);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  it('refuses unknown keys, and suggests the one that was meant', () => {
    assert.match(problemsOf(() => load({ 'timing.conect': '1s' })).join(), /did you mean "timing.connect"/);
    assert.match(problemsOf(() => load({}, { PORTLEASE_AGENT_HOSTS: 'a' })).join(), /PORTLEASE_AGENT_HOST"/);
  });

  it('needs the file only where one is named', () => {
    assert.match(problemsOf(() => loadAgentConfig({ configPath: '/nonexistent.yaml', set: GOOD }, {})).join(), /nonexistent.yaml: cannot be read/);
  });
});

describe("the agent's flags", () => {
  it('are understood', () => {
    assert.deepEqual(parseArguments(['--config', 'f', '--set', 'a.b=c=d', '--set', 'e=']), { command: 'run', configPath: 'f', set: { 'a.b': 'c=d', e: '' } });
    assert.equal(parseArguments(['--check']).command, 'check');
    assert.equal(parseArguments(['--version']).command, 'version');
    assert.equal(parseArguments(['--help', '--check']).command, 'help');
  });

  for (const argv of [['--wrong'], ['--config'], ['--set', 'novalue'], ['--set', '=value'], ['positional'], ['--check=1']]) {
    it(`refuse ${argv.join(' ')}`, () => assert.throws(() => parseArguments(argv), TypeError));
  }
});
