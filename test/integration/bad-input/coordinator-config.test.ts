import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { coordinatorConfigSchema, loadCoordinatorConfig } from '../../../coordinator/config.js';
import { parseArguments } from '../../../shared/arguments.js';
import { ConfigError } from '../../../shared/config.js';
import { keysAt, leavesOf } from '../../../shared/config/keys.js';

type Tree = Record<string, unknown>;

/** A config that is good, with every key that a row below spoils in its place. */
const good = () => ({
  leaks: { mappings: 'report' },
  listen: {}, database: {}, timing: {}, purge: {}, log: {},
  gateways: [{ gateway: 'gw', scope: 'shared', publicHost: 'gw.example.com', pools: [{ pool: 'p', ranges: ['30000-30099'], protocol: 'tcp' }] }],
});

const NASTY = ['', ' ', 'a b', '-j', '$(id)', '../etc', 'a\nb', 'a\0b', 'ä', 'x'.repeat(10_000), '__proto__'];
const NO_TEXT = [null, [], {}, true, 5];
const PATHS = [...NASTY, ...NO_TEXT, 'relative', '/a/../b', '/a b'];
const TIMES = [...NASTY, ...NO_TEXT, '5', '-1s', '1e3s', '5 s', 'Infinity', '999999999d'];
const LABELS = [...NASTY, ...NO_TEXT, 'UPPER', 'a.b', 'a-', 'a'.repeat(64)].filter((value) => value !== 5);
const HOSTS = [...NASTY, ...NO_TEXT, 'gw_1', '300.1.1.1', 'gw:80', 'http://gw', '::ffff:10.0.0.1'];
const WORDS = [...NASTY, ...NO_TEXT, 'constructor'];
const RANGES = [
  ...['0', '65536', '-1', '10-5', '1-2-3', '30000-', '-30000', '30000-65536', ' 1-2', 'x', '', 'a\n', '$(id)', 0, -1, 65536, 1.5, null, {}, [], true].map((range) => [range]),
  Array.from({ length: 257 }, (_, i) => `${30_000 + 2 * i}`), null, '30000-30099', 5, {},
];

/** By key, 0 for the position in a list: what it may not be. */
const BAD: Record<string, readonly unknown[]> = {
  'listen.grpc': [...NASTY, ...NO_TEXT, 'host', ':7410', 'host:65536', '127.0.0.1', 'http://127.0.0.1:1', '::1:7410', 'unix:/tmp/x.sock', '0.0.0.0:7410', '[::]:7410', '203.0.113.1:7410'],
  'listen.unix': [...PATHS, `/${'x'.repeat(100)}`],
  'database.path': PATHS,
  'timing.heartbeat': [...TIMES, '0s', '49ms', '601s'],
  'timing.deadline': [...TIMES, '0s', '49ms', '601s'],
  'timing.suspect': [...TIMES, '0s', '49ms', '61m', '10s'],
  'timing.lost': [...TIMES, '0s', '49ms', '25h', '15s'],
  'purge.at': [...NASTY, ...NO_TEXT, '2:00', '24:00', '02:60', '02:00:00', '2am', '02:00 '],
  'purge.timeZone': [...NASTY, ...NO_TEXT, 'Nowhere/X', 'Europe/Berlin '],
  'purge.releasedAfter': [...TIMES, '0s', '59s'],
  'purge.eventsAfter': [...TIMES, '0s', '59s'],
  'purge.auditAfter': [...TIMES, '0s', '59s'],
  admit: WORDS,
  'leaks.mappings': WORDS,
  'tls.certificate': PATHS,
  'tls.key': PATHS,
  'tls.ca': PATHS,
  insecure: [...NASTY, null, [], {}, 5, 'yes', 'true'],
  'log.level': [...WORDS, 'verbose'],
  gateways: ['', 'gw', {}, 5, true, null, [null], ['gw'], [[]]],
  'gateways.0.gateway': LABELS,
  'gateways.0.scope': WORDS,
  'gateways.0.publicHost': HOSTS,
  'gateways.0.plan': WORDS,
  'gateways.0.domain': HOSTS,
  'gateways.0.pools': ['', 'p', {}, 5, true, null, [null], ['p']],
  'gateways.0.pools.0.pool': LABELS,
  'gateways.0.pools.0.description': ['a\nb', 'a\0b', 'a\x1b[2J', 'x'.repeat(257), ...NO_TEXT],
  'gateways.0.pools.0.serviceType': LABELS.filter((value) => value !== ''),
  'gateways.0.pools.0.aliases': ['a', {}, null, [''], ['Bad'], ['-j'], ['a\0'], [null], Array.from({ length: 17 }, (_, i) => `a${i}`)],
  'gateways.0.pools.0.ranges': [...RANGES, [], ['30000-30010', '30010-30020'], ['30000', '30000'], ['7400-7420']],
  'gateways.0.pools.0.protocol': [...WORDS, 'TCP', 'icmp'],
  'gateways.0.pools.0.defaultInternalPort': [...NASTY, null, [], {}, true, -1, 65536, 1.5, '22'],
  'gateways.0.pools.0.strategy': WORDS,
  'gateways.0.pools.0.reserved': RANGES,
  'gateways.0.pools.0.quarantine': TIMES,
  'gateways.0.pools.0.hold': TIMES,
  'gateways.0.pools.0.idleLimit': TIMES,
  'gateways.0.pools.0.idleWarning': TIMES,
  'gateways.0.pools.0.idleAction': WORDS,
  'gateways.0.pools.0.onConflict': WORDS, 'gateways.0.pools.0.tls': WORDS,
  'gateways.0.pools.0.connectionTimeout': TIMES,
  'gateways.0.pools.0.domainTemplate': [...NASTY.filter((value) => value !== ''), ...NO_TEXT, '{host}.example.com', '{env}..x', '10.0.0.1', 'x'.repeat(254)],
};

/** Rules that keys have together: where the problem is told instead. */
const TOLD_AT: Record<string, string> = { 'gateways.0.pools.0.ranges': 'gateways.0.pools' };

function keysOfSchema(): string[] {
  const single = leavesOf(coordinatorConfigSchema).map(({ path: at }) => at.join('.'));
  const gateway = (keysAt(coordinatorConfigSchema, ['gateways', 0]) ?? []).map((key) => `gateways.0.${key}`);
  const pool = (keysAt(coordinatorConfigSchema, ['gateways', 0, 'pools', 0]) ?? []).map((key) => `gateways.0.pools.0.${key}`);
  return [...single, ...gateway, ...pool];
}

function spoilt(key: string, value: unknown): object {
  const tree: Tree = good();
  if (key.startsWith('tls.')) tree['tls'] = { certificate: '/c.pem', key: '/k.pem', ca: '/ca.pem' };
  const steps = key.split('.');
  const last = steps.pop() ?? '';
  const at = steps.reduce<Tree>((inner, step) => inner[step] as Tree, tree);
  Object.defineProperty(at, last, { value, enumerable: true });
  return tree;
}

describe('bad values in the config of the coordinator', () => {
  let folder = '';
  beforeEach(() => { folder = mkdtempSync(path.join(tmpdir(), 'portlease-bad-config-')); });
  afterEach(() => { rmSync(folder, { recursive: true }); });

  function problemsOf(config: object, set: Record<string, string> = {}): readonly string[] {
    const configPath = path.join(folder, 'c.yaml');
    writeFileSync(configPath, JSON.stringify(config));
    try {
      loadCoordinatorConfig({ configPath, set }, {});
    } catch (error) {
      assert.ok(error instanceof ConfigError, String(error));
      return error.problems;
    }
    return [];
  }

  it('have a row for each key, and none besides', () => {
    assert.deepEqual(Object.keys(BAD).sort(), keysOfSchema().sort());
  });

  it('are all that is wrong with it', () => {
    assert.deepEqual(problemsOf(good()), []);
  });

  for (const [key, values] of Object.entries(BAD)) {
    it(`are refused by their key: ${values.length} of ${key}`, () => {
      for (const value of values) {
        const problems = problemsOf(spoilt(key, value));
        const what = `${JSON.stringify(value)?.slice(0, 60)}: ${problems.join(' | ')}`;
        assert.ok(problems.some((problem) => problem.startsWith(TOLD_AT[key] ?? key)), what);
        assert.ok(problems.every((problem) => problem.length < 600 && !/[\0-\x08\x0b-\x1f]/.test(problem)), what);
      }
    });
  }

  it('are refused as flags as they are in the file', () => {
    for (const { path: at } of leavesOf(coordinatorConfigSchema)) {
      const key = at.join('.');
      const texts = (BAD[key] ?? []).filter((value): value is string => typeof value === 'string' && value !== 'true');
      for (const text of texts) {
        const tls = key.startsWith('tls.') ? { 'tls.certificate': '/c', 'tls.key': '/k', 'tls.ca': '/a' } : {};
        if (key === 'gateways' && text === '') continue;
        assert.ok(problemsOf(good(), { ...tls, [key]: text }).some((problem) => problem.startsWith(key)), `--set ${key}=${text.slice(0, 60)}`);
      }
    }
  });

  it('name the key that was probably meant', () => {
    const config = { ...good(), timing: { hearbeat: '1s' }, gateways: [{ ...good().gateways[0], pols: [] }], __proto_: 1 };
    const problems = problemsOf(config).join('\n');
    assert.match(problems, /timing\.hearbeat .*did you mean "heartbeat"/);
    assert.match(problems, /gateways\.0\.pols .*did you mean "pools"/);
  });
});

describe('bad flags of the coordinator', () => {
  for (const argv of [['--wrong'], ['--config'], ['--set'], ['--set', 'novalue'], ['--set', '=value'], ['positional'], ['--check=1'], ['--config', '--set'], ['-j'], ['--', 'x'], ['$(id)']]) {
    it(`are refused: ${argv.join(' ')}`, () => { assert.throws(() => parseArguments(argv), TypeError); });
  }
});
