import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { PoolSpec } from '../../../coordinator/book/types.js';
import { agentOf, checkWorldsAfterEach, hostScope, mappingAt, release, shared } from './checked.js';
import { portsOf, reasonOf, want, type World } from './world.js';

const Q = 1_000;
const FIRST = 30_000;

/** Gives the environment back, confirmed; the quarantine runs from now. */
function giveBack(world: World, environment: string): void {
  release(world, environment);
  world.settle();
}

/** Takes the lowest `count` ports, so that a pool that counts up gives others first. */
function allocate(world: World, environment: string, wants = [want()], tenant = 't1'): number[] {
  const ports = portsOf(world.allocate(environment, 'a', wants, { tenant }));
  world.settle();
  return ports;
}

describe('an environment that comes back', () => {
  checkWorldsAfterEach();

  it('gets the ports that it had, each under its name, while they are free', () => {
    for (const strategy of ['sequential', 'random', 'leastRecentlyUsed'] as const) {
      const world = shared({ strategy });
      const wants = [want({ name: 'ssh' }), want({ name: 'web', count: 2 })];
      allocate(world, 'other');
      const before = allocate(world, 'e', wants);
      giveBack(world, 'e');
      giveBack(world, 'other');
      world.pass(Q + 500);
      assert.deepEqual(allocate(world, 'e', [...wants].reverse()), [before[1], before[2], before[0]], strategy);
    }
  });

  it('gets them before their quarantine is over, and nobody else does (S12)', () => {
    const world = shared({ strategy: 'sequential' });
    const [port] = allocate(world, 'e');
    giveBack(world, 'e');
    assert.equal(mappingAt(world, port as number), 'quarantined');
    assert.notDeepEqual(allocate(world, 'stranger'), [port]);
    assert.deepEqual(allocate(world, 'e'), [port]);
  });

  it('gets others when it is of another tenant, or was released by a host that has not confirmed', () => {
    const world = shared({ strategy: 'sequential' });
    const [port] = allocate(world, 'e');
    agentOf(world, 'a').online = false;
    release(world, 'e');
    assert.equal(mappingAt(world, port as number), 'releasing');
    agentOf(world, 'a').online = true;
    assert.notDeepEqual(portsOf(world.decide(world.allocateCommand('e', 'a', [want({ name: 'ssh' })]))), [port]);
    const fresh = shared({ strategy: 'sequential' });
    const [other] = allocate(fresh, 'e');
    giveBack(fresh, 'e');
    assert.notDeepEqual(allocate(fresh, 'e', [want()], 't2'), [other]);
  });

  it('has no claim: a port that another one took is gone, and it gets any', () => {
    const world = shared({ strategy: 'sequential' });
    const [port] = allocate(world, 'e');
    giveBack(world, 'e');
    world.pass(Q + 500);
    assert.deepEqual(allocate(world, 'stranger'), [port]);
    assert.notDeepEqual(allocate(world, 'e'), [port]);
    giveBack(world, 'stranger');
    world.pass(Q + 500);
    giveBack(world, 'e');
    assert.deepEqual(allocate(world, 'stranger'), [port], 'its last owner is the stranger now');
  });

  it('never waits or is refused for it: with a pool that is short it gets what there is', () => {
    const world = shared({ ranges: [{ first: FIRST, last: FIRST + 3 }], strategy: 'sequential' });
    const ports = allocate(world, 'e', [want({ count: 4 })]);
    giveBack(world, 'e');
    world.pass(Q + 500);
    assert.deepEqual(allocate(world, 's1', [want({ count: 3 })]).length, 3);
    assert.equal(allocate(world, 'e').length, 1);
    assert.equal(reasonOf(world.decide(world.allocateCommand('s2', 'a', [want()]))), 'POOL_EXHAUSTED');
    assert.equal(ports.length, 4);
  });

  it('lets what a request says go first: an exact port, then a preferred one, then what it had', () => {
    const world = shared({ strategy: 'sequential' });
    const [port] = allocate(world, 'e');
    giveBack(world, 'e');
    world.pass(Q + 500);
    assert.deepEqual(allocate(world, 'e', [want({ choice: { kind: 'exact', port: FIRST + 9 } })]), [FIRST + 9]);
    giveBack(world, 'e');
    assert.deepEqual(allocate(world, 'e', [want({ choice: { kind: 'preferred', port: FIRST + 7 } })]), [FIRST + 7]);
    giveBack(world, 'e');
    assert.deepEqual(allocate(world, 'taker', [want({ choice: { kind: 'exact', port: FIRST + 5 } })]), [FIRST + 5]);
    assert.deepEqual(allocate(world, 'e', [want({ choice: { kind: 'preferred', port: FIRST + 5 } })]), [FIRST + 7], 'the newest of those that it had');
    assert.notEqual(port, FIRST + 7);
  });

  it('gets a run again as a run', () => {
    const world = shared({ strategy: 'sequential' });
    const run = want({ name: 'cluster', count: 3, contiguous: true });
    allocate(world, 'below', [want({ count: 2 })]);
    const before = allocate(world, 'e', [run]);
    giveBack(world, 'below');
    giveBack(world, 'e');
    world.pass(Q + 500);
    assert.deepEqual(allocate(world, 'e', [run]), before);
  });

  it('is not robbed by another want of its own request', () => {
    const world = shared({ strategy: 'sequential' });
    const [port] = allocate(world, 'e', [want({ name: 'web' })]);
    assert.equal(port, FIRST);
    giveBack(world, 'e');
    world.pass(Q + 500);
    assert.equal(allocate(world, 'e', [want({ name: 'ssh' }), want({ name: 'web' })])[1], port);
  });

  it('is remembered across a restart, also while its ports rest', () => {
    for (const passes of [0, Q + 500]) {
      const world = shared({ strategy: 'sequential' });
      allocate(world, 'below');
      const before = allocate(world, 'e', [want({ count: 2 })]);
      giveBack(world, 'below');
      giveBack(world, 'e');
      world.pass(passes);
      world.restart();
      for (const agent of world.agents.values()) world.hello(agent);
      world.settle();
      assert.deepEqual(allocate(world, 'e', [want({ count: 2 })]), before, `${passes} ms after the release`);
    }
  });

  it('gets its number on another host, where each host has a port space of its own', () => {
    const world = hostScope({ strategy: 'sequential' });
    allocate(world, 'below');
    const before = allocate(world, 'e');
    giveBack(world, 'e');
    world.pass(Q + 500);
    assert.deepEqual(portsOf(world.allocate('e', 'b', [want()])), before);
  });

  it('does not get a port that its pool gave up or reserved since', () => {
    const changes: [Partial<PoolSpec>, string][] = [[{ ranges: [{ first: FIRST + 1, last: FIRST + 31 }] }, 'PORT_NOT_IN_POOL'], [{ reserved: [{ first: FIRST, last: FIRST }] }, 'PORT_RESERVED']];
    for (const [change, reason] of changes) {
      for (const passes of [0, Q + 500]) {
        const world = shared({ strategy: 'sequential' });
        assert.deepEqual(allocate(world, 'e'), [FIRST]);
        giveBack(world, 'e');
        world.pass(passes);
        world.decide({ kind: 'updatePool', actor: 'operator:local', pool: 'ssh', change, drain: true });
        assert.notDeepEqual(allocate(world, 'e'), [FIRST]);
        assert.equal(reasonOf(world.decide(world.allocateCommand('e', 'a', [want({ name: 'exact', choice: { kind: 'exact', port: FIRST } })]))), reason);
      }
    }
  });

  for (const [when, ms] of [['while it rests', 0], ['when it has rested', Q + 500]] as const) {
    it(`is not given a port that a process of the host listens on by now, ${when}`, () => {
      const world = shared({ strategy: 'sequential' });
      const [port] = allocate(world, 'e');
      giveBack(world, 'e');
      if (ms > 0) world.pass(ms);
      const agent = agentOf(world, 'a');
      agent.apply();
      world.decide({
        kind: 'report', host: 'a', session: agent.session, applied: agent.accepted as { epoch: number; session: number; revision: number },
        problems: [], confirmations: [], verified: [], driftRepairs: 0, occupied: [{ transport: 'tcp', port: port as number }],
      });
      assert.notDeepEqual(portsOf(world.allocate('e', 'a', [want()])), [port]);
    });
  }

  it('costs no more memory than there are ports, however many environments come and go', () => {
    const world = shared({ ranges: [{ first: FIRST, last: FIRST + 7 }], quarantineMs: 0 });
    for (let i = 0; i < 100; i += 1) {
      allocate(world, `e-${i}`, [want({ count: 2 })]);
      giveBack(world, `e-${i}`);
      world.pass(500);
    }
    const { formers, spaces } = world.book.inside;
    const remembered = [...formers.values()].flat();
    assert.ok(remembered.length <= 8, `${remembered.length}`);
    assert.equal(spaces.get('gw')?.formerAt.size, remembered.length);
  });

  it('gets what it had whenever that is free, whoever comes and goes in between', () => {
    const step = fc.record({ who: fc.integer({ min: 0, max: 5 }), comes: fc.boolean(), ms: fc.constantFrom(0, 500, 1_500) });
    fc.assert(fc.property(fc.constantFrom('sequential' as const, 'random' as const, 'leastRecentlyUsed' as const), fc.array(step, { maxLength: 40 }), (strategy, steps) => {
      const world = shared({ strategy, ranges: [{ first: FIRST, last: FIRST + 7 }] });
      const last = new Map<number, string>();
      const had = new Map<string, number>();
      const here = new Set<string>();
      for (const { who, comes, ms } of steps) {
        const name = `e-${who}`;
        if (comes && !here.has(name)) {
          const before = had.get(name);
          const [port = 0] = allocate(world, name);
          if (before !== undefined && last.get(before) === name) assert.equal(port, before, `${name} had ${before}, which nobody has had since`);
          last.set(port, name);
          had.set(name, port);
          here.add(name);
        } else if (!comes && here.delete(name)) giveBack(world, name);
        world.pass(ms);
      }
    }), { numRuns: 60 });
  });
});
