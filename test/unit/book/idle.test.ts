import assert from 'node:assert/strict';
import type { MappingRecord, PoolSpec } from '../../../coordinator/book/types.js';
import { agentOf, backUp, checkWorldsAfterEach, comeBack, hostScope, lose, mappingAt, release, shared, suspect } from './checked.js';
import { FakeAgent, poolSpec, portsOf, want, type World } from './world.js';

const LIMIT_MS = 60_000;
const WARNING_MS = 10_000;
const POOL = { idleLimitMs: LIMIT_MS, idleWarningMs: WARNING_MS, strategy: 'sequential' } as const;

/** A port of an environment, live on host a. */
function served(world: World, { environment = 'e', host = 'a', names = ['ssh'] } = {}): { world: World; mappings: MappingRecord[]; first: MappingRecord } {
  portsOf(world.allocate(environment, host, names.map((name) => want({ name }))));
  world.settle();
  const mappings = world.book.environment(environment)?.mappings ?? [];
  assert.ok(mappings.every(({ state }) => state === 'live'));
  return { world, mappings, first: mappings[0] as MappingRecord };
}

const start = (pool: Partial<PoolSpec> = {}) => served(shared({ ...POOL, ...pool }));

/** Its host says that these have been quiet for so long, and that the environment lives. */
function say(world: World, idleMs: number, mappings: readonly MappingRecord[], lives = false): void {
  const agent = agentOf(world, mappings[0]?.host ?? 'a');
  agent.idle = mappings.map(({ mappingId, generation }) => ({ mappingId, generation, idleMs, lives }));
  world.report(agent);
}

/** Reports every second, in which it stays quiet; `saidMs`: how long it was at last. */
function stayQuiet(world: World, ms: number, { saidMs, mappings, lives = false }: { saidMs: number; mappings: readonly MappingRecord[]; lives?: boolean }): number {
  for (let passed = 1_000; passed <= ms; passed += 1_000) {
    world.pass(1_000);
    say(world, saidMs + passed, mappings, lives);
  }
  return saidMs + ms;
}

type Told = { kind: string; mappingId: string; idleMs?: number; limitMs?: number; lives?: boolean; inMs?: number };

/** What was told of traffic; `inMs`: from the event to the release. */
function told(world: World): Told[] {
  return world.tables.events.filter(({ kind }) => kind === 'PortIdle' || kind === 'PortActive').map(({ kind, mappingId, atMs, detail }) => {
    const { idleMs, limitMs, lives, releaseAtMs } = JSON.parse(detail) as { idleMs: number; limitMs: number; lives: boolean; releaseAtMs: number };
    if (kind === 'PortActive') return { kind, mappingId };
    return { kind, mappingId, idleMs, limitMs, lives, ...(releaseAtMs === 0 ? {} : { inMs: releaseAtMs - atMs }) };
  });
}

const warned = ({ mappingId }: MappingRecord, idleMs: number, more: Partial<Told> = {}): Told =>
  ({ kind: 'PortIdle', mappingId, idleMs, limitMs: LIMIT_MS, lives: false, inMs: WARNING_MS, ...more });
const reported = ({ mappingId }: MappingRecord, idleMs: number): Told => ({ kind: 'PortIdle', mappingId, idleMs, limitMs: LIMIT_MS, lives: true });
const active = ({ mappingId }: MappingRecord): Told => ({ kind: 'PortActive', mappingId });

const releases = (world: World) => world.tables.audits.filter(({ action }) => action === 'ReleaseIdle').map(({ actor, outcome, environment, detail }) => ({ actor, outcome, environment, ...JSON.parse(detail) as object }));

describe('an idle port', () => {
  checkWorldsAfterEach();

  it('is told, warned of, and released by the system when it stays quiet, with one audit record (S11)', () => {
    const { world, mappings, first } = start();
    say(world, LIMIT_MS + 1, mappings);
    assert.deepEqual(told(world), [warned(first, LIMIT_MS + 1)]);
    assert.deepEqual(world.book.idle(first), { sinceMs: world.nowMs - LIMIT_MS - 1, releaseAtMs: world.nowMs + WARNING_MS });
    stayQuiet(world, WARNING_MS - 1_000, { saidMs: LIMIT_MS + 1, mappings });
    assert.equal(mappingAt(world, first.port), 'live');
    stayQuiet(world, 1_000, { saidMs: LIMIT_MS + WARNING_MS - 999, mappings });
    assert.equal(mappingAt(world, first.port), 'releasing');
    assert.deepEqual(releases(world), [{ actor: 'system', outcome: 'ok', environment: 'e', mappingId: first.mappingId, space: 'gw', protocol: 'tcp', port: first.port, host: 'a', idleMs: LIMIT_MS + WARNING_MS + 1 }]);
    assert.equal(world.book.idle(world.book.mapping(first.mappingId) as MappingRecord), undefined);
  });

  it('is released like any other: its host confirms, it rests, and the reason stays with it (S12)', () => {
    const { world, mappings, first } = start();
    say(world, LIMIT_MS + 1, mappings);
    stayQuiet(world, WARNING_MS, { saidMs: LIMIT_MS + 1, mappings });
    agentOf(world, 'a').idle = [];
    world.settle();
    assert.deepEqual([mappingAt(world, first.port), world.tables.mappings.get(first.mappingId)?.reason], ['quarantined', 'IDLE']);
    assert.match(world.tables.events.find(({ kind }) => kind === 'PortReleased')?.detail ?? '', /"reason":"IDLE"/);
    assert.equal(world.book.environment('e'), undefined);
    world.pass(1_500);
    const { state, reason } = world.tables.mappings.get(first.mappingId) as MappingRecord;
    assert.deepEqual([state, reason], ['released', 'IDLE']);
  });

  it('stays when there is traffic, which is told; the next time it is warned of anew', () => {
    const { world, mappings, first } = start();
    say(world, LIMIT_MS + 1, mappings);
    stayQuiet(world, WARNING_MS - 1_000, { saidMs: LIMIT_MS + 1, mappings });
    agentOf(world, 'a').idle = [];
    world.pass(10 * WARNING_MS);
    world.report(agentOf(world, 'a'));
    assert.deepEqual([mappingAt(world, first.port), told(world), world.book.idle(first)], ['live', [warned(first, LIMIT_MS + 1), active(first)], undefined]);
    say(world, LIMIT_MS + 5, mappings);
    assert.deepEqual(told(world).slice(2), [warned(first, LIMIT_MS + 5)]);
  });

  it('is not released for a time in which nobody saw that it stays quiet', () => {
    const { world, mappings, first } = start();
    say(world, LIMIT_MS + 1, mappings);
    world.pass(10 * WARNING_MS);
    say(world, LIMIT_MS + 1, mappings);
    assert.equal(mappingAt(world, first.port), 'live', 'its agent could not look');
    say(world, LIMIT_MS + WARNING_MS, mappings);
    assert.equal(mappingAt(world, first.port), 'live');
    say(world, LIMIT_MS + WARNING_MS + 1, mappings);
    assert.equal(mappingAt(world, first.port), 'releasing');
  });

  it('is not released before the time that was told, however long its host calls it idle', () => {
    const { world, mappings, first } = start();
    say(world, LIMIT_MS + 1, mappings);
    world.pass(WARNING_MS - 1_000);
    say(world, 1_000 * LIMIT_MS, mappings);
    assert.equal(mappingAt(world, first.port), 'live');
  });

  it('is not released by silence: what its host says when it is back is warned of anew (S9)', () => {
    const { world, mappings, first } = start();
    say(world, LIMIT_MS + 1, mappings);
    lose(world, 'a');
    world.pass(10 * WARNING_MS);
    assert.equal(world.book.idle(world.book.mapping(first.mappingId) as MappingRecord), undefined);
    agentOf(world, 'a').idle = [{ mappingId: first.mappingId, generation: first.generation, idleMs: 100 * LIMIT_MS, lives: false }];
    comeBack(world, 'a');
    assert.deepEqual([mappingAt(world, first.port), told(world).length], ['live', 2]);
    assert.deepEqual(told(world)[1], warned(first, 100 * LIMIT_MS));
  });

  it('is not released on a host whose heartbeat is late, nor while the gateway is silent: the warning begins anew', () => {
    const { world, mappings, first } = start();
    say(world, LIMIT_MS + 1, mappings);
    stayQuiet(world, WARNING_MS - 2_000, { saidMs: LIMIT_MS + 1, mappings });
    suspect(world, 'gw-1');
    say(world, 3 * LIMIT_MS, mappings);
    assert.deepEqual([mappingAt(world, first.port), told(world)], ['live', [warned(first, LIMIT_MS + 1), warned(first, 3 * LIMIT_MS)]]);
    comeBack(world, 'gw-1');
    stayQuiet(world, WARNING_MS - 2_000, { saidMs: 3 * LIMIT_MS, mappings });
    suspect(world, 'a');
    say(world, 5 * LIMIT_MS, mappings);
    assert.deepEqual([mappingAt(world, first.port), told(world).length], ['live', 3]);
  });

  it('gets a whole warning again after a start of the coordinator (S9)', () => {
    const { world, mappings, first } = start();
    say(world, LIMIT_MS + 1, mappings);
    stayQuiet(world, WARNING_MS - 1_000, { saidMs: LIMIT_MS + 1, mappings });
    world.nowMs += 100 * WARNING_MS;
    world.restart();
    for (const agent of world.agents.values()) world.hello(agent);
    say(world, 10 * LIMIT_MS, mappings);
    assert.deepEqual([mappingAt(world, first.port), told(world)], ['live', [warned(first, LIMIT_MS + 1), warned(first, 10 * LIMIT_MS)]]);
  });

  it('stays during a restore, and while its ports rest', () => {
    const world = shared({ ...POOL, quarantineMs: 5 * WARNING_MS });
    const { mappings, first } = served(world);
    const putBack = backUp(world);
    served(world, { environment: 'later', host: 'b' });
    putBack();
    for (const host of ['gw-1', 'a', 'b']) {
      const { bootId, roles, address, session, accepted, objects } = agentOf(world, host);
      world.decide({ kind: 'hello', actor: `host:${host}`, host, bootId, agentVersion: '1', roles, addresses: [address], lastSession: session, accepted, leases: [], routes: [], admit: true, state: [...objects.values()] });
    }
    for (const host of ['gw-1', 'a', 'b']) assert.equal(world.hello(agentOf(world, host)).kind, 'welcome');
    world.settle();
    say(world, LIMIT_MS + 1, mappings);
    stayQuiet(world, 3 * WARNING_MS, { saidMs: LIMIT_MS + 1, mappings });
    assert.deepEqual([world.book.restoring().phase, mappingAt(world, first.port)], ['resting', 'live']);
    stayQuiet(world, 4 * WARNING_MS, { saidMs: LIMIT_MS + 1 + 3 * WARNING_MS, mappings });
    assert.deepEqual([world.book.restoring().phase, mappingAt(world, first.port), releases(world).length], ['no', 'quarantined', 1]);
  });

  it('stays during a mass loss, and gets a whole warning when that is over', () => {
    const world = shared(POOL);
    for (const [i, host] of ['c', 'd'].entries()) world.addAgent(new FakeAgent(host, ['host'], `10.77.0.${100 + i}`));
    const { mappings, first } = served(world);
    say(world, LIMIT_MS + 1, mappings);
    lose(world, 'b', 'c', 'd');
    const saidMs = stayQuiet(world, WARNING_MS, { saidMs: LIMIT_MS + 1, mappings });
    assert.equal(mappingAt(world, first.port), 'live');
    for (const host of ['b', 'c', 'd']) comeBack(world, host);
    stayQuiet(world, WARNING_MS, { saidMs, mappings });
    assert.equal(mappingAt(world, first.port), 'releasing');
  });

  for (const [scope, make] of [['shared', shared], ['host', hostScope]] as const) {
    it(`of an environment that lives is told and never released, unless the pool says so (scope ${scope})`, () => {
      const world = make(POOL);
      const { mappings, first } = served(world);
      say(world, LIMIT_MS + 1, mappings, true);
      const saidMs = stayQuiet(world, 5 * WARNING_MS, { saidMs: LIMIT_MS + 1, mappings, lives: true });
      assert.deepEqual([world.book.environment('e')?.mappings[0]?.state, told(world)], ['live', [reported(first, LIMIT_MS + 1)]]);
      assert.deepEqual(world.book.idle(first)?.releaseAtMs, undefined);
      world.decide({ kind: 'updatePool', actor: 'o', pool: 'ssh', change: { idleAction: 'release' }, drain: false });
      say(world, saidMs, mappings, true);
      assert.deepEqual(told(world)[1], warned(first, saidMs, { lives: true }));
      stayQuiet(world, WARNING_MS, { saidMs, mappings, lives: true });
      assert.equal(world.book.mapping(first.mappingId)?.state, 'releasing');
    });
  }

  it('is warned of when its environment is not known to live any more, and not released when it turns out to live', () => {
    const { world, mappings, first } = start();
    for (const [more, lives] of [[1, true], [2, false], [3, true]] as const) say(world, LIMIT_MS + more, mappings, lives);
    world.pass(WARNING_MS);
    say(world, LIMIT_MS + WARNING_MS, mappings, true);
    assert.deepEqual([mappingAt(world, first.port), told(world)], ['live', [reported(first, LIMIT_MS + 1), warned(first, LIMIT_MS + 2), reported(first, LIMIT_MS + 3)]]);
  });

  it('of an environment with traffic on another port is told only: that one lives. It goes when all are idle', () => {
    const { world, mappings } = served(shared(POOL), { names: ['ssh', 'web'] });
    const [ssh, web] = mappings as [MappingRecord, MappingRecord];
    say(world, LIMIT_MS + 1, [web]);
    const saidMs = stayQuiet(world, 3 * WARNING_MS, { saidMs: LIMIT_MS + 1, mappings: [web] });
    assert.deepEqual([mappingAt(world, web.port), told(world)], ['live', [reported(web, LIMIT_MS + 1)]]);
    say(world, saidMs, [web, ssh]);
    assert.deepEqual(told(world).slice(1), [warned(web, saidMs), warned(ssh, saidMs)]);
    stayQuiet(world, WARNING_MS, { saidMs, mappings });
    assert.deepEqual([mappingAt(world, ssh.port), mappingAt(world, web.port)], ['releasing', 'releasing']);
  });

  it('is not kept by another port that nobody watches', () => {
    const world = shared(POOL);
    world.decide({ kind: 'createPool', actor: 'o', pool: poolSpec({ pool: 'web', serviceType: 'web', ranges: [{ first: 31_000, last: 31_031 }], idleLimitMs: 0 }), seed: false });
    portsOf(world.allocate('e', 'a', [want(), want({ name: 'web', source: { kind: 'pool', pool: 'web' } })]));
    world.settle();
    const [first] = world.book.environment('e')?.mappings as [MappingRecord];
    say(world, LIMIT_MS + 1, [first]);
    assert.deepEqual(told(world), [warned(first, LIMIT_MS + 1)]);
  });

  it('is that no longer when an operator raises the limit, of which its host is told', () => {
    const { world, mappings, first } = start();
    const limitToldTo = () => [...agentOf(world, 'a').objects.values()].flatMap((object) => (object.kind === 'mapping' ? object.idleLimitMs : []));
    assert.deepEqual(limitToldTo(), [LIMIT_MS]);
    say(world, LIMIT_MS + 1, mappings);
    world.decide({ kind: 'updatePool', actor: 'o', pool: 'ssh', change: { idleLimitMs: 2 * LIMIT_MS }, drain: false });
    assert.deepEqual(limitToldTo(), [2 * LIMIT_MS]);
    world.pass(WARNING_MS);
    say(world, LIMIT_MS + WARNING_MS + 1, mappings);
    assert.deepEqual([mappingAt(world, first.port), told(world)], ['live', [warned(first, LIMIT_MS + 1), active(first)]]);
    world.decide({ kind: 'updatePool', actor: 'o', pool: 'ssh', change: { idleLimitMs: 0 }, drain: false });
    assert.deepEqual(limitToldTo(), [undefined]);
    say(world, 1_000 * LIMIT_MS, mappings);
    assert.equal(told(world).length, 2);
  });

  it('has its new limit also on a host that it is moving to, once that is told of it', () => {
    const { world, first } = start();
    world.decide({ kind: 'move', actor: 'o', environment: 'e', host: 'b', targets: [], verify: false });
    world.decide({ kind: 'updatePool', actor: 'o', pool: 'ssh', change: { idleLimitMs: 3 * LIMIT_MS }, drain: false });
    const limits = () => [...agentOf(world, 'b').objects.values()].flatMap((object) => (object.kind === 'mapping' && object.port === first.port ? object.idleLimitMs : []));
    assert.deepEqual(limits(), []);
    world.settle();
    assert.deepEqual(limits(), [3 * LIMIT_MS]);
  });

  it('keeps the release time that was told when the warning time changes', () => {
    const { world, mappings, first } = start();
    say(world, LIMIT_MS + 1, mappings);
    world.decide({ kind: 'updatePool', actor: 'o', pool: 'ssh', change: { idleWarningMs: 0 }, drain: false });
    stayQuiet(world, WARNING_MS - 1_000, { saidMs: LIMIT_MS + 1, mappings });
    assert.equal(mappingAt(world, first.port), 'live');
  });

  it('of another host, of another generation, or that is not there is nothing that a host could call idle (S10)', () => {
    const { world, first } = start();
    const claims = [{ ...first, host: 'b' }, { ...first, generation: first.generation + 1 }, { ...first, mappingId: 'm-nothing' }];
    for (const claim of claims) {
      say(world, 100 * LIMIT_MS, [claim]);
      stayQuiet(world, 3 * WARNING_MS, { saidMs: 100 * LIMIT_MS, mappings: [claim] });
    }
    assert.deepEqual([mappingAt(world, first.port), told(world)], ['live', []]);
  });

  it('that is released or moved meanwhile is told no more', () => {
    const { world, mappings, first } = start();
    say(world, LIMIT_MS + 1, mappings);
    release(world, 'e');
    world.report(agentOf(world, 'a'));
    agentOf(world, 'a').idle = [];
    world.settle();
    assert.deepEqual([told(world), releases(world)], [[warned(first, LIMIT_MS + 1)], []]);
    const { mappings: [other] } = served(world, { environment: 'f' });
    say(world, LIMIT_MS + 1, [other as MappingRecord]);
    world.decide({ kind: 'move', actor: 'o', environment: 'f', host: 'b', targets: [], verify: false });
    world.settle();
    assert.equal(told(world).length, 2);
    assert.equal(world.book.idle(world.book.mapping(other?.mappingId ?? '') as MappingRecord), undefined);
  });

  it('writes nothing for a report that repeats what was told', () => {
    const { world, mappings } = start();
    say(world, LIMIT_MS + 1, mappings);
    const before = world.book.sequence;
    stayQuiet(world, 5_000, { saidMs: LIMIT_MS + 1, mappings });
    assert.equal(world.book.sequence, before);
  });
});
