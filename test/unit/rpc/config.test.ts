import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { ConfigError } from '../../../shared/config.js';
import { rangeSize } from '../../../shared/ports.js';
import { loadCoordinatorConfig } from '../../../coordinator/config.js';
import { overlapsOf, planPools } from '../../../coordinator/config/pools.js';

describe("the coordinator's config", () => {
  let folder = '';
  beforeEach(() => { folder = mkdtempSync(path.join(tmpdir(), 'portlease-config-')); });
  afterEach(() => { rmSync(folder, { recursive: true }); });

  const load = (yaml: string, set: Record<string, string> = {}, env: Record<string, string> = {}) => {
    const file = path.join(folder, 'c.yaml');
    writeFileSync(file, yaml);
    return loadCoordinatorConfig({ configPath: file, set }, env);
  };
  const problemsOf = (yaml: string, set: Record<string, string> = {}): string => {
    try {
      load(yaml, set);
    } catch (error) {
      assert.ok(error instanceof ConfigError);
      return error.message;
    }
    throw new Error('the config was accepted');
  };

  it('has a default for everything', () => {
    const config = load('');
    assert.deepEqual(config.timing, { heartbeatMs: 5000, deadlineMs: 3000, suspectMs: 15_000, lostMs: 120_000 });
    assert.deepEqual([config.listen.grpc, config.admit, config.insecure, config.gateways], [{ kind: 'tcp', host: '127.0.0.1', port: 7410 }, 'known', false, []]);
  });

  it('takes flags over the environment over the file', () => {
    const yaml = 'timing: {heartbeat: 1s, deadline: 1s, lost: 61s}';
    const { timing } = load(yaml, { 'timing.lost': '63s' }, { PORTLEASE_COORDINATOR_TIMING_LOST: '62s', PORTLEASE_COORDINATOR_TIMING_DEADLINE: '2s' });
    assert.deepEqual([timing.heartbeatMs, timing.deadlineMs, timing.lostMs], [1000, 2000, 63_000]);
  });

  it('takes exactly the timing in which H + 2D is at most J, and J is less than T', () => {
    const duration = fc.integer({ min: 60, max: 600_000 });
    // Chance alone hardly ever hits the border.
    const timing = fc.tuple(duration, duration, fc.oneof(duration, fc.constantFrom(-1, 0, 1)), fc.oneof(duration, fc.constantFrom(-1, 0, 1))).map(([heartbeat, deadline, j, t]) => {
      const suspect = j <= 1 ? heartbeat + 2 * deadline + j : j;
      return { heartbeat, deadline, suspect, lost: t <= 1 ? suspect + t : t };
    });
    fc.assert(fc.property(timing, ({ heartbeat, deadline, suspect, lost }) => {
      const yaml = `timing: {heartbeat: ${heartbeat}ms, deadline: ${deadline}ms, suspect: ${suspect}ms, lost: ${lost}ms}`;
      if (heartbeat + 2 * deadline <= suspect && suspect < lost) assert.deepEqual(load(yaml).timing, { heartbeatMs: heartbeat, deadlineMs: deadline, suspectMs: suspect, lostMs: lost });
      else assert.match(problemsOf(yaml), /timing\.(suspect|lost) .* is \d+ ms/);
    }), { numRuns: 300 });
  });

  it('takes exactly the pools whose ports are nobody else\'s: of no other pool, and not the coordinator\'s own', () => {
    const range = fc.tuple(fc.integer({ min: 7_400, max: 7_440 }), fc.integer({ min: 0, max: 12 })).map(([first, more]) => ({ first, last: first + more }));
    fc.assert(fc.property(fc.array(range, { minLength: 1, maxLength: 4 }), (ranges) => {
      const pools = ranges.map(({ first, last }, i) => `{pool: p${i}, ranges: ["${first}-${last}"], protocol: tcp}`).join(', ');
      const ports = ranges.flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, i) => first + i));
      const yaml = `gateways: [{gateway: gw, scope: host, pools: [${pools}]}]`;
      if (new Set(ports).size === ports.length && !ports.includes(7_410)) assert.deepEqual(load(yaml).gateways[0]?.pools.map((pool) => pool.ranges[0]), ranges);
      else assert.match(problemsOf(yaml), /POOL_OVERLAP/);
    }), { numRuns: 300 });
  });

  for (const [yaml, message] of [
    ['timing: {suspect: 10s}', /timing\.suspect .*timing\.heartbeat \+ 2 × timing\.deadline = 11000 ms/],
    ['timing: {lost: 15s}', /timing\.lost .*longer than timing\.suspect/],
    ['timing: {heartbeat: 5}', /timing\.heartbeat/],
    ['listen: {grpc: "0.0.0.0:7410"}', /listen\.grpc .*tls/],
    ['listen: {grpc: "unix:/tmp/x.sock"}', /listen\.grpc .*listen\.unix/],
    ['listen: {unix: relative.sock}', /listen\.unix/],
    ['leaks: {mappings: release}', /leaks\.mappings .*report or repair/],
    ['admit: all', /admit .*known or any/],
    ['database: {path: ../x.db}', /database\.path/],
    ['gateways: [{gateway: gw, scope: shared}]', /gateways\.0\.publicHost/],
    ['gateways: [{gateway: gw, scope: host, publicHost: x.example.com}]', /gateways\.0\.publicHost/],
    ['gateways: [{gateway: Bad, scope: host}]', /gateways\.0\.gateway/],
    ['gateways: [{gateway: gw, scope: host}, {gateway: gw, scope: host}]', /gateways\.1\.gateway/],
    ['gateways: [{gateway: gw, scope: host, plan: domain}]', /gateways\.0\.domain/],
    ['gateways: [{gateway: gw, scope: host, pools: [{pool: p, ranges: [7400-7420], protocol: tcp}]}]', /POOL_OVERLAP.*7410/],
    ['gateways: [{gateway: gw, scope: host, plan: service, pools: [{pool: p, ranges: [30500], protocol: tcp}]}]', /POOL_OVERLAP.*ssh-linux/],
    [`gateways: [${['a', 'b'].map((name) => `{gateway: ${name}, scope: shared, publicHost: x.example.com, plan: domain, domain: example.com}`).join(', ')}]`, /gateways\.1\.pools.*\*\.ssh\.example\.com, as gateway a does: put \{gateway\}/],
    ...['0-5', '5-1', '65536', '-1', '1-65536', 'x'].map((range) => [`gateways: [{gateway: gw, scope: host, pools: [{pool: p, ranges: ["${range}"], protocol: tcp}]}]`, /gateways\.0\.pools\.0\.ranges\.0/] as const),
  ] as const) {
    it(`refuses ${yaml}`, () => { assert.match(problemsOf(yaml), message); });
  }

  it('ships a service plan with the ranges that it names', () => {
    const pools = planPools('service', '');
    assert.deepEqual(pools.map(({ pool, ranges: [range] }) => [pool, range?.first, range?.last]), [
      ['ssh-linux', 30000, 30999], ['ssh-windows', 31000, 31999], ['rdp', 33000, 33999], ['jupyter', 38000, 38999], ['custom', 40000, 40999], ['reserved', 41000, 41999],
    ]);
    assert.deepEqual(overlapsOf(pools, [7410, 7411]), []);
  });

  it('ships a domain plan of four equal shares that end at the last port, under the domain that is asked for', () => {
    const pools = planPools('domain', 'gpu.example.com');
    assert.deepEqual(pools.map(({ ranges }) => ranges.reduce((sum, range) => sum + rangeSize(range), 0)), [3884, 3884, 3884, 3884]);
    assert.deepEqual([pools[0]?.ranges[0]?.first, pools.at(-1)?.ranges[0]?.last], [50_000, 65_535]);
    assert.deepEqual(pools.map(({ domainTemplate }) => domainTemplate), ['ssh', 'jupyter', 'code', 'rdp'].map((service) => `{env}.${service}.gpu.example.com`));
    assert.deepEqual(overlapsOf(pools, []), []);
  });
});
