import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { cidrText, ConfigError, dnsLabelText, durationMs, endpointText, filePathText, ipAddressText, loadConfig, parseEndpoint } from '../../../shared/config.js';

const schema = z.strictObject({
  host: dnsLabelText,
  listen: endpointText.default({ kind: 'tcp', host: '127.0.0.1', port: 7410 }),
  addresses: z.array(ipAddressText).default([]),
  workers: z.number().int().min(1).default(2),
  insecure: z.boolean().default(false),
  token: z.string().max(5).optional(),
  timing: z.strictObject({ heartbeat: durationMs.default(5000), lostAfter: durationMs.default(120_000) })
    .refine((timing) => timing.heartbeat <= timing.lostAfter, { path: ['lostAfter'], error: 'is shorter than timing.heartbeat' }).prefault({}),
  pools: z.array(z.strictObject({ name: dnsLabelText, networks: z.array(cidrText).default([]) })).default([]),
});

describe('config', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'portlease-config-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const fileName = () => path.join(folder, 'agent.yaml');
  type Given = { yaml?: string; env?: Record<string, string>; flags?: Record<string, string | undefined> };

  function load({ yaml = 'host: a', env = {}, flags = {} }: Given) {
    writeFileSync(fileName(), yaml);
    return loadConfig({ schema, file: { path: fileName(), optional: false }, env, flags, envPrefix: 'PORTLEASE_' });
  }

  function problemsOf(given: Given): readonly string[] {
    try {
      load(given);
    } catch (error) {
      assert.ok(error instanceof ConfigError, String(error));
      return error.problems.map((problem) => problem.replaceAll(fileName(), 'FILE'));
    }
    return assert.fail('nothing was refused');
  }

  it('fills in what is not said', () => {
    const config = load({});
    assert.deepEqual(config.timing, { heartbeat: 5000, lostAfter: 120_000 });
    assert.deepEqual(config.listen, { kind: 'tcp', host: '127.0.0.1', port: 7410 });
  });

  it('lets the environment win over the file, and flags over both', () => {
    const yaml = 'host: a\ntiming: { heartbeat: 1s, lostAfter: 1m }\nworkers: 3';
    const env = { PORTLEASE_TIMING_HEARTBEAT: '2s', PORTLEASE_TIMING_LOST_AFTER: '2m', PORTLEASE_CONFIG: 'x', PATH: '/bin', PORTLEASE_INSECURE: 'true' };
    const config = load({ yaml, env, flags: { 'timing.heartbeat': '300ms', workers: undefined } });
    assert.deepEqual(config.timing, { heartbeat: 300, lostAfter: 120_000 });
    assert.deepEqual([config.workers, config.insecure], [3, true]);
  });

  it('reads numbers and lists from the environment', () => {
    const config = load({ env: { PORTLEASE_WORKERS: '8', PORTLEASE_ADDRESSES: '10.0.0.1, FD00::1', PORTLEASE_HOST: '123' } });
    assert.deepEqual([config.workers, config.addresses, config.host], [8, ['10.0.0.1', 'fd00::1'], '123']);
  });

  it('names every problem at once, with key, place, value and remedy', () => {
    const yaml = 'host: -j\ntiming: { heartbeat: 5, lostAfter: soon }\npools: [{ name: a, networks: [10.0.0.0] }]';
    const problems = problemsOf({ yaml, env: { PORTLEASE_WORKERS: 'many' } });
    assert.deepEqual(problems.map((problem) => problem.split(':')[0]), [
      'host (FILE)', 'workers (PORTLEASE_WORKERS)', 'timing.heartbeat (FILE)', 'timing.lostAfter (FILE)', 'pools.0.networks.0 (FILE)',
    ]);
    assert.match(problems[2] ?? '', /5 is not a duration: write for example/);
    assert.match(problems[3] ?? '', /"soon" is not a duration/);
    assert.match(problems[1] ?? '', /"many"/);
  });

  it('says so when a default does not go with what is set', () => {
    assert.deepEqual(problemsOf({ yaml: 'host: a\ntiming: { heartbeat: 3m }' }), ['timing.lostAfter (default): is shorter than timing.heartbeat']);
  });

  it('says where a missing value can be set', () => {
    assert.deepEqual(problemsOf({ yaml: '' }), ['host: is missing: set it in FILE or as PORTLEASE_HOST']);
  });

  it('refuses unknown keys at every depth and names the nearest known one', () => {
    const yaml = 'host: a\nworkesr: 1\ntiming: { hearbeat: 1s }\npools: [{ name: a, zzzzzzzz: 1 }]';
    const problems = problemsOf({ yaml, env: { PORTLEASE_TIMING_HEARTBEET: '1s' }, flags: { 'timing.heart': '1s' } });
    const all = problems.join('\n');
    assert.equal(problems.length, 5, all);
    assert.match(all, /^workesr \(FILE\): no such key; did you mean "workers"\?$/m);
    assert.match(all, /^timing\.hearbeat \(FILE\): .*"heartbeat"/m);
    assert.match(all, /^pools\.0\.zzzzzzzz \(FILE\): no such key; known are: name, networks$/m);
    assert.match(all, /^PORTLEASE_TIMING_HEARTBEET: .*"PORTLEASE_TIMING_HEARTBEAT"/m);
    assert.match(all, /^--timing\.heart: no such key/m);
  });

  it('does not show a secret', () => {
    assert.deepEqual(problemsOf({ yaml: 'host: a\ntoken: hunter2hunter2' }).filter((problem) => problem.includes('hunter2')), []);
  });

  it('refuses files that are no YAML mapping, and keys that come twice', () => {
    assert.match(problemsOf({ yaml: 'host: [' })[0] ?? '', /^FILE: /);
    assert.match(problemsOf({ yaml: 'host: a\nhost: b' })[0] ?? '', /unique/);
    assert.match(problemsOf({ yaml: '- host' })[0] ?? '', /is not a mapping/);
    assert.match(problemsOf({ yaml: 'host: a\ntiming: 5', env: { PORTLEASE_TIMING_HEARTBEAT: '1s' } })[0] ?? '', /^timing \(FILE\): 5 /);
  });

  it('misses a file only when it was asked for', () => {
    const file = { path: path.join(folder, 'absent.yaml'), optional: true };
    const rest = { schema, env: { PORTLEASE_HOST: 'a' }, flags: {}, envPrefix: 'PORTLEASE_' };
    assert.equal(loadConfig({ ...rest, file }).host, 'a');
    assert.throws(() => loadConfig({ ...rest, file: { ...file, optional: false } }), /absent\.yaml: cannot be read \(ENOENT\)/);
  });

  it('does not accept a schema that lets unknown keys pass', () => {
    const loose = z.strictObject({ inner: z.object({}) });
    assert.throws(() => loadConfig({ schema: loose, file: undefined, env: {}, flags: {}, envPrefix: 'X_' }), /"inner" is not a z\.strictObject/);
  });
});

describe('config types', () => {
  it('reads durations with their unit only', () => {
    const cases = { '300ms': 300, '5s': 5000, '1.5s': 1500, '10m': 600_000, '24h': 86_400_000, '7d': 604_800_000, '0s': 0, '3650d': 315_360_000_000 };
    for (const [text, ms] of Object.entries(cases)) assert.equal(durationMs.parse(text), ms, text);
    for (const text of ['5', '', 's', '-5s', '5 s', '5S', '1e3s', '5s5s', '9999999999s', '3651d', '999999999d', '5s\n']) assert.ok(!durationMs.safeParse(text).success, text);
  });

  it('reads places to listen', () => {
    assert.deepEqual(parseEndpoint('[FD00::1]:7410'), { kind: 'tcp', host: 'fd00::1', port: 7410 });
    assert.deepEqual(parseEndpoint('gw.example.com:0'), { kind: 'tcp', host: 'gw.example.com', port: 0 });
    assert.deepEqual(parseEndpoint('unix:/run/portlease/api.sock'), { kind: 'unix', path: '/run/portlease/api.sock' });
    for (const text of ['', '7410', ':7410', 'a:', 'a:65536', 'a:-1', '::1:7410', '[::1]', '[10.0.0.1', 'unix:relative', 'unix:/a/../b', 'unix:/a\0', `unix:/${'x'.repeat(120)}`, '-j:1', 'a:1\n']) {
      assert.equal(parseEndpoint(text), undefined, text);
    }
  });

  it('reads absolute paths that stay where they say', () => {
    assert.ok(filePathText.safeParse('/etc/portlease/tls.pem').success);
    for (const text of ['a', '/a/../b', '/a\n', '/a b', '/a\0', '']) assert.ok(!filePathText.safeParse(text).success, text);
  });
});
