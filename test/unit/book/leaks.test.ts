import assert from 'node:assert/strict';
import type { MappingRecord } from '../../../coordinator/book/types.js';
import type { Leak } from '../../../shared/leak.js';
import { agentOf, checkWorldsAfterEach, hostScope, lose, mappingAt, shared, suspect } from './checked.js';
import { portsOf, want, type World } from './world.js';

/** A port of the environment e, live on host a. */
function served({ policy = 'report', scope = 'shared' }: { policy?: 'report' | 'repair'; scope?: 'shared' | 'host' } = {}): { world: World; mapping: MappingRecord } {
  const world = scope === 'shared' ? shared() : hostScope();
  portsOf(world.allocate('e', 'a', [want({ name: 'ssh' })]));
  world.settle();
  world.leakPolicy = policy;
  if (policy === 'repair') {
    world.restart();
    for (const agent of world.agents.values()) world.hello(agent);
    world.settle();
  }
  return { world, mapping: world.book.environment('e')?.mappings[0] as MappingRecord };
}

const lostContainer = ({ mappingId, generation, port }: MappingRecord, isAutomatic = true): Leak => ({
  id: `mappingWithoutContainer/${mappingId}/${generation}`, kind: 'mappingWithoutContainer', message: 'leads nowhere', sightings: 3, repair: 'release', isAutomatic, mappingId, generation,
  at: { transport: 'tcp', port },
});
const process: Leak = { id: 'tunnelProcess/7/100', kind: 'tunnelProcess', message: 'process 7', sightings: 3, repair: 'endProcess', isAutomatic: false, mappingId: '', generation: 0, at: undefined };
const foreign = (port: number): Leak => ({ ...process, id: `publishedPort/tcp/${port}/0123456789ab`, kind: 'publishedPort', repair: 'none', at: { transport: 'tcp', port } });

function say(world: World, leaks: Leak[], host = 'a'): void {
  agentOf(world, host).leaks = leaks;
  world.report(agentOf(world, host));
}

const told = (world: World) => world.tables.events.filter(({ kind }) => kind === 'LeakFound' || kind === 'LeakOver').map(({ kind, host, detail }) => [kind, host, (JSON.parse(detail) as { leak: string }).leak]);
const audits = (world: World, action: string) => world.tables.audits.filter((one) => one.action === action).map(({ actor, outcome, environment }) => ({ actor, outcome, environment }));
const resolve = (world: World, leak: string, dryRun = false) => world.decide({ kind: 'resolveLeak', actor: 'operator:o', host: 'a', leak, reason: '', dryRun });

describe('leaks', () => {
  checkWorldsAfterEach();

  it('are told once when a host finds them and once when they are over, and listed in between', () => {
    const { world } = served();
    say(world, [process]);
    say(world, [process]);
    assert.deepEqual([told(world), world.book.leaks().map(({ host, leak }) => [host, leak.id])], [[['LeakFound', 'a', process.id]], [['a', process.id]]]);
    say(world, []);
    assert.deepEqual([told(world).slice(1), world.book.leaks()], [[['LeakOver', 'a', process.id]], []]);
  });

  it('that are many are told with the next reports', () => {
    const { world, mapping } = served();
    const many = Array.from({ length: 100 }, (_, i) => ({ ...process, id: `tunnelProcess/${i}/1` }));
    say(world, many);
    assert.equal(told(world).length, 64);
    say(world, many);
    assert.deepEqual([told(world).length, mappingAt(world, mapping.port)], [100, 'live']);
  });

  it('at ports of no pool are nobody\'s business', () => {
    const { world, mapping } = served();
    say(world, [foreign(9), foreign(mapping.port + 1)]);
    assert.deepEqual(world.book.leaks().map(({ pool, leak }) => [pool, leak.at?.port]), [['ssh', mapping.port + 1]]);
  });

  it('of a host that is lost are forgotten without a word, and told again when it finds them again', () => {
    const { world } = served();
    say(world, [process]);
    lose(world, 'a');
    assert.deepEqual([world.book.leaks(), told(world).length], [[], 1]);
  });

  for (const scope of ['shared', 'host'] as const) {
    it(`whose container has gone are released where the policy is repair, by the system, with one audit record (S11): scope ${scope}`, () => {
      const { world, mapping } = served({ policy: 'repair', scope });
      say(world, [lostContainer(mapping)]);
      assert.deepEqual([mappingAt(world, mapping.port, mapping.space), audits(world, 'ReleaseLeaked')], ['releasing', [{ actor: 'system', outcome: 'ok', environment: 'e' }]]);
      agentOf(world, 'a').leaks = [];
      world.settle();
      assert.deepEqual([mappingAt(world, mapping.port, mapping.space), world.tables.mappings.get(mapping.mappingId)?.reason], ['quarantined', 'LEAKED']);
      assert.deepEqual(told(world).map(([kind]) => kind), ['LeakFound', 'LeakOver']);
    });
  }

  it('are only reported where the policy is report', () => {
    const { world, mapping } = served();
    say(world, [lostContainer(mapping)]);
    assert.deepEqual([mappingAt(world, mapping.port), world.book.leaks().map(({ environment, leak }) => [environment, leak.isAutomatic])], ['live', [['e', false]]]);
  });

  it('are not released when their container was never there, or may come back', () => {
    const { world, mapping } = served({ policy: 'repair' });
    say(world, [lostContainer(mapping, false)]);
    assert.equal(mappingAt(world, mapping.port), 'live');
  });

  it('are not released on a host whose heartbeat is late', () => {
    const { world, mapping } = served({ policy: 'repair' });
    suspect(world, 'a');
    say(world, [lostContainer(mapping)]);
    assert.equal(mappingAt(world, mapping.port), 'live');
  });

  it('of a mapping that has another generation by now, or was given up, are none', () => {
    const { world, mapping } = served({ policy: 'repair' });
    say(world, [{ ...lostContainer(mapping), generation: mapping.generation - 1 }]);
    assert.deepEqual([mappingAt(world, mapping.port), world.book.leaks()], ['live', []]);
    world.decide({ kind: 'release', actor: 'operator:o', selector: { kind: 'environment', environment: 'e' } });
    say(world, [lostContainer(mapping)]);
    assert.deepEqual([world.book.leaks(), audits(world, 'ReleaseLeaked')], [[], []]);
  });
});

describe('resolving a leak', () => {
  checkWorldsAfterEach();

  it('of a mapping releases its port, also where the policy is report', () => {
    const { world, mapping } = served();
    say(world, [lostContainer(mapping, false)]);
    const reply = resolve(world, lostContainer(mapping).id);
    assert.ok(reply.kind === 'resolving');
    assert.deepEqual([reply.leak.environment, mappingAt(world, mapping.port), world.book.leaks()], ['e', 'releasing', []]);
    assert.deepEqual(audits(world, 'ResolveLeak').map(({ actor, outcome }) => [actor, outcome]), [['operator:o', 'ok']]);
  });

  it('on the host is asked of its agent until a report is without it, for a minute at most', () => {
    const { world } = served();
    say(world, [process]);
    resolve(world, process.id);
    world.heartbeat(agentOf(world, 'a'));
    world.heartbeat(agentOf(world, 'a'));
    assert.deepEqual(agentOf(world, 'a').toResolve, [process.id]);
    say(world, []);
    world.heartbeat(agentOf(world, 'a'));
    assert.deepEqual(agentOf(world, 'a').toResolve, []);
    say(world, [process]);
    resolve(world, process.id);
    world.pass(60_000);
    world.heartbeat(agentOf(world, 'a'));
    assert.deepEqual(agentOf(world, 'a').toResolve, []);
  });

  it('in a dry run changes nothing and leaves no record', () => {
    const { world, mapping } = served();
    say(world, [lostContainer(mapping), process]);
    const before = world.book.sequence;
    for (const { id } of [lostContainer(mapping), process]) assert.equal(resolve(world, id, true).kind, 'resolving');
    world.heartbeat(agentOf(world, 'a'));
    assert.deepEqual([world.book.sequence, mappingAt(world, mapping.port), agentOf(world, 'a').toResolve, audits(world, 'ResolveLeak')], [before, 'live', [], []]);
  });

  it('that is not portlease\'s, or not there, is refused', () => {
    const { world, mapping } = served();
    say(world, [foreign(mapping.port + 1)]);
    const reasonOf = (leak: string): string => {
      const reply = resolve(world, leak);
      return reply.kind === 'refused' ? reply.reason : reply.kind;
    };
    assert.deepEqual([reasonOf(foreign(mapping.port + 1).id), reasonOf('listener/tcp/1/1')], ['LEAK_IS_FOREIGN', 'LEAK_UNKNOWN']);
  });
});
