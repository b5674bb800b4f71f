import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { agentConfigSchema, loadAgentConfig } from '../../../agent/config.js';
import { ConfigError } from '../../../shared/config.js';
import { leavesOf } from '../../../shared/config/keys.js';

type Tree = Record<string, unknown>;

const good = () => ({ host: 'host-a', gateway: 'gw', coordinator: '127.0.0.1:7410', addresses: ['10.0.0.1'], timing: {}, paths: {}, log: {} });

/** What a text is not; the bad texts of each key are in the unit test of the agent's config. */
const NO_TEXT = [null, [], {}, true, 5, 1.5, ['a', 'b']];
const NO_LIST = [null, {}, true, 5, '', 'host', [null], [[]], [{}], [5], [true]];
const NO_NUMBER = [null, [], {}, true, '', '5', 1.5, 0, -1];
const NO_COUNT = [null, [], {}, true, '', '5', -1];
const NO_FLAG = [null, [], {}, 5, 0, 1, 'yes', 'true', ''];

/** By key: values of the wrong kind, as a file may have them. */
const WRONG: Record<string, readonly unknown[]> = {
  host: NO_TEXT, gateway: NO_TEXT, coordinator: NO_TEXT,
  driver: NO_TEXT,
  'docker.enabled': NO_FLAG, 'docker.socket': NO_TEXT, 'docker.markBit': NO_NUMBER.filter((value) => value !== 0),
  'environments.enabled': NO_FLAG, 'environments.pull': NO_FLAG, 'environments.gpus': NO_FLAG, 'environments.noNewPrivileges': NO_FLAG,
  'environments.images': [...NO_LIST, ['-x']], 'environments.volumes': [...NO_LIST, ['/x']], 'environments.networks': [...NO_LIST, ['a/b']], 'environments.hostPaths': [...NO_LIST, ['x'], ['/']],
  'environments.ulimits': [...NO_LIST, ['rtprio']], 'environments.maxProcesses': NO_NUMBER, 'environments.maxMemoryMiB': NO_COUNT, 'environments.maxCpus': NO_COUNT,
  'userspace.maxConnections': NO_NUMBER, 'userspace.maxConnectionsPerMapping': NO_NUMBER, 'userspace.connectTimeout': NO_TEXT,
  roles: [...NO_LIST, [], ['host', 'host'], ['operator'], ['HOST'], ['host', 'gateway', 'host']],
  addresses: [...NO_LIST, [], ['10.0.0.1', '10.0.0.1'], ['10.0.0.1/24'], Array.from({ length: 17 }, (_, i) => `10.0.0.${i + 1}`)],
  targetNetworks: [...NO_LIST, ['10.0.0.1'], ['10.0.0.0/33'], ['127.0.0.0/8'], ['::1/128']],
  snat: NO_FLAG, insecure: NO_FLAG,
  routes: NO_TEXT, 'nginx.program': NO_TEXT, 'nginx.unit': NO_TEXT, 'nginx.streamModule': NO_TEXT, 'nginx.directory': NO_TEXT, 'nginx.user': NO_TEXT, 'nginx.workers': NO_NUMBER, 'nginx.connections': NO_NUMBER,
  'nginx.connectTimeout': NO_TEXT, 'nginx.shutdownTimeout': NO_TEXT, 'nginx.reloadInterval': NO_TEXT, 'nginx.certificates': NO_TEXT, 'nginx.accessLogMiB': NO_COUNT,
  'timing.reconcileInterval': NO_TEXT, 'timing.idleInterval': NO_TEXT, 'timing.reconnectMin': NO_TEXT, 'timing.reconnectMax': NO_TEXT, 'timing.connect': NO_TEXT,
  'timing.leakInterval': NO_TEXT, 'leaks.sightings': NO_NUMBER, 'leaks.tunnelProcesses': NO_TEXT, 'leaks.containers': NO_TEXT,
  'paths.state': NO_TEXT, 'paths.lock': NO_TEXT, 'paths.bootId': NO_TEXT, 'paths.run': NO_TEXT,
  'tunnels.engine': NO_TEXT, 'tunnels.gateway': NO_TEXT, 'tunnels.servers': [null, [], true, 5, '', { 'A.b': {} }, { edge: {} }, { edge: null }], 'tunnels.options': [...NO_LIST, ['ProxyCommand']],
  'tunnels.forwards.listen': NO_LIST, 'tunnels.forwards.to': NO_LIST, 'tunnels.forwards.minPort': NO_NUMBER, 'tunnels.list': [...NO_LIST, [{}], [{ tunnel: 'a', server: 'none', forwards: [{ direction: 'local', listen: '1', to: '2' }] }]],
  'tunnels.logs.dir': NO_TEXT, 'tunnels.logs.maxKiB': NO_NUMBER, 'tunnels.logs.keep': NO_COUNT, 'tunnels.probeFailures': NO_NUMBER, 'tunnels.flapping.downs': NO_NUMBER, 'tunnels.flapping.window': NO_TEXT,
  'tunnels.backoff.min': NO_TEXT, 'tunnels.backoff.max': NO_TEXT,
  'tls.certificate': NO_TEXT, 'tls.key': NO_TEXT, 'tls.ca': NO_TEXT,
  'log.level': NO_TEXT,
};

describe('values of the wrong kind in the config of the agent', () => {
  let folder = '';
  beforeEach(() => { folder = mkdtempSync(path.join(tmpdir(), 'portlease-bad-config-')); });
  afterEach(() => { rmSync(folder, { recursive: true }); });

  function problemsOf(config: object): readonly string[] {
    const configPath = path.join(folder, 'a.yaml');
    writeFileSync(configPath, JSON.stringify(config));
    try {
      loadAgentConfig({ configPath, set: {} }, {});
    } catch (error) {
      assert.ok(error instanceof ConfigError, String(error));
      return error.problems;
    }
    return [];
  }

  it('have a row for each key, and none besides', () => {
    assert.deepEqual(Object.keys(WRONG).sort(), leavesOf(agentConfigSchema).map(({ path: at }) => at.join('.')).sort());
  });

  it('are all that is wrong with it', () => {
    assert.deepEqual(problemsOf(good()), []);
  });

  for (const [key, values] of Object.entries(WRONG)) {
    it(`are refused by their key: ${values.length} of ${key}`, () => {
      for (const value of values) {
        const tree: Tree = good();
        if (key.startsWith('tls.')) tree['tls'] = { certificate: '/c.pem', key: '/k.pem', ca: '/ca.pem' };
        const path = key.split('.');
        let at = tree;
        for (const part of path.slice(0, -1)) at = (at[part] = { ...at[part] as Tree });
        at[path.at(-1)!] = value;
        const problems = problemsOf(tree);
        assert.ok(problems.some((problem) => problem.startsWith(key)), `${JSON.stringify(value)}: ${problems.join(' | ')}`);
      }
    });
  }

  for (const section of ['timing', 'paths', 'userspace', 'nginx', 'tls', 'log']) {
    it(`are refused for the whole of ${section}`, () => {
      for (const value of [null, [], 5, 'x', true, { __proto__x: 1 }]) {
        assert.ok(problemsOf({ ...good(), [section]: value }).some((problem) => problem.startsWith(section)), JSON.stringify(value));
      }
    });
  }
});
