import assert from 'node:assert/strict';
import { agentOf, checkWorldsAfterEach, comeBack, hostScope, lose, mappingAt, release, shared, suspect } from './checked.js';
import { portsOf, reasonOf, TIMING, want, type World } from './world.js';

const FIRST = 30_000;
const eventsOf = (world: World, kind: string) => world.tables.events.filter((event) => event.kind === kind);
const hostOf = (world: World, port: number) => world.book.leases().find(({ record }) => record.first <= port && port <= record.last)?.record;

/** Passes time without any host's heartbeat but those of the given ones. */
function passTicks(world: World, ms: number): void {
  for (let left = ms; left > 0; left -= TIMING.heartbeatMs) {
    world.nowMs += Math.min(left, TIMING.heartbeatMs);
    world.decide({ kind: 'tick' });
  }
}

describe('a host whose heartbeat is late', () => {
  checkWorldsAfterEach();

  it('becomes suspect after J, not before, with an event', () => {
    const world = shared();
    const last = world.nowMs;
    passTicks(world, TIMING.suspectMs);
    assert.equal(world.book.host('a')?.state, 'alive');
    world.nowMs = last + TIMING.suspectMs + 1;
    world.decide({ kind: 'tick' });
    assert.equal(world.book.host('a')?.state, 'suspect');
    assert.equal(eventsOf(world, 'HostSuspect').filter(({ host }) => host === 'a').length, 1);
  });

  it('gets no new ports, and keeps those that it has', () => {
    const world = shared();
    const [port] = portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    suspect(world, 'a');
    assert.equal(reasonOf(world.allocate('f', 'a', [want()])), 'HOST_SUSPECT');
    assert.equal(mappingAt(world, port as number), 'live');
    assert.equal(hostOf(world, port as number)?.state, 'active');
  });

  it('is alive again with its next heartbeat', () => {
    const world = shared();
    suspect(world, 'a');
    agentOf(world, 'a').online = true;
    world.pass(TIMING.heartbeatMs);
    assert.equal(world.book.host('a')?.state, 'alive');
    portsOf(world.allocate('f', 'a', [want()]));
  });

  it('keeps its idle ports: they are neither called back for another host nor withdrawn as time passes', () => {
    const world = shared({ ranges: [{ first: FIRST, last: FIRST + 3 }] });
    portsOf(world.allocate('e', 'a', [want()]));
    release(world, 'e');
    world.settle();
    world.pass(1_000);
    agentOf(world, 'a').online = false;
    world.pass(2_500);
    assert.equal(world.book.host('a')?.state, 'suspect');
    assert.equal(reasonOf(world.allocate('f', 'b', [want()])), 'POOL_EXHAUSTED');
    assert.equal(reasonOf(world.allocate('f', 'b', [want({ choice: { kind: 'exact', port: FIRST + 2 } })])), 'PORT_TAKEN');
    assert.equal(world.book.host('a')?.leasedPorts, 4);
  });
});

describe('a host whose heartbeat was lost', () => {
  checkWorldsAfterEach();

  it('loses its leases after T, not before; its numbers are held for their environments (B3)', () => {
    const world = shared();
    const [port] = portsOf(world.allocate('e', 'a', [want()])) as [number];
    world.settle();
    const last = world.nowMs;
    passTicks(world, TIMING.lostMs);
    assert.equal(hostOf(world, port)?.state, 'active');
    world.nowMs = last + TIMING.lostMs + 1;
    world.decide({ kind: 'tick' });
    assert.equal(hostOf(world, port)?.state, 'expired');
    assert.equal(hostOf(world, port)?.expiredAtMs, world.nowMs);
    const held = world.book.environment('e')?.mappings[0];
    assert.deepEqual([held?.state, held?.reason, held?.untilMs], ['held', 'HOST_LOST', world.nowMs + 5_000]);
    assert.equal(eventsOf(world, 'HostLost').filter(({ host }) => host === 'a').length, 1);
    assert.ok(eventsOf(world, 'LeaseExpired').length > 0);
  });

  it('is refused new ports as HOST_LOST, and its heartbeat asks it to say hello again', () => {
    const world = shared();
    lose(world, 'a');
    assert.equal(reasonOf(world.allocate('f', 'a', [want()])), 'HOST_LOST');
    const agent = agentOf(world, 'a');
    const reply = world.decide({ kind: 'heartbeat', host: 'a', session: agent.session, acceptedRevision: 0, digest: '' });
    assert.deepEqual(reply, { kind: 'heartbeat', staleSession: true, rebuild: false, resolveLeaks: [] });
    assert.equal(world.book.host('a')?.state, 'lost');
  });

  it('serves the same numbers again when it returns before anybody needed them', () => {
    const world = shared();
    const ports = portsOf(world.allocate('e', 'a', [want({ count: 3 })]));
    world.settle();
    lose(world, 'a');
    world.pass(60_000);
    comeBack(world, 'a');
    assert.deepEqual(world.book.environment('e')?.mappings.map(({ port, state }) => [port, state]), ports.map((port) => [port, 'live']));
    assert.ok(eventsOf(world, 'LeaseRenewed').length > 0);
    assert.equal([...agentOf(world, 'a').kernel.values()].filter(({ kind }) => kind === 'mapping').length, 3);
  });

  it('still has all that it had while nobody needs it: time alone takes nothing (S13)', () => {
    const world = shared({ ranges: [{ first: FIRST, last: FIRST + 255 }] });
    portsOf(world.allocate('e', 'a', [want()]));
    portsOf(world.allocate('f', 'a', [want({ choice: { kind: 'exact', port: FIRST + 100 } })]));
    release(world, 'f');
    world.settle();
    world.pass(1_000);
    const before = world.book.host('a')?.leasedPorts;
    lose(world, 'a');
    world.pass(30_000);
    world.settle();
    assert.equal(world.book.host('a')?.leasedPorts, before);
  });

  it('gives its idle ports first when another host is short, and those of its environments only after that', () => {
    const world = shared({ ranges: [{ first: FIRST, last: FIRST + 3 }] });
    const [kept] = portsOf(world.allocate('e', 'a', [want()])) as [number];
    world.settle();
    lose(world, 'a');
    const got = portsOf(world.allocate('f', 'b', [want({ count: 3 })]));
    assert.ok(!got.includes(kept));
    assert.equal(mappingAt(world, kept), 'held');
    const full = world.allocate('g', 'b', [want()]);
    assert.equal(reasonOf(full), 'POOL_EXHAUSTED');
    assert.ok(full.kind === 'refused' && full.retryAfterMs === 1_000, 'the held number is being taken, and rests for Q');
    assert.equal(mappingAt(world, kept), 'releasing');
    world.settle();
    assert.equal(mappingAt(world, kept), 'quarantined');
    world.pass(1_000);
    assert.deepEqual(portsOf(world.allocate('g', 'b', [want()])), [kept]);
  });

  it('keeps, when it returns after a part of it was taken, all the rest', () => {
    const world = shared({ ranges: [{ first: FIRST, last: FIRST + 7 }], strategy: 'sequential' });
    const ports = portsOf(world.allocate('e', 'a', [want({ count: 2 })]));
    portsOf(world.allocate('x', 'b', [want({ count: 4 })]));
    world.settle();
    lose(world, 'a');
    portsOf(world.allocate('y', 'b', [want()]));
    comeBack(world, 'a');
    assert.deepEqual(world.book.environment('e')?.mappings.map(({ port, state }) => [port, state]), ports.map((port) => [port, 'live']));
    const served = [...agentOf(world, 'a').kernel.values()].filter((object) => object.kind === 'lease');
    assert.equal(served.reduce((sum, { ports: range }) => sum + range.last - range.first + 1, 0), world.book.host('a')?.leasedPorts);
  });

  it('has holds that are over reclaimed first, then the oldest ones', () => {
    const world = shared({ ranges: [{ first: FIRST, last: FIRST + 2 }], strategy: 'sequential', quarantineMs: 60_000 });
    portsOf(world.allocate('old', 'a', [want({ choice: { kind: 'exact', port: FIRST + 2 } })]));
    portsOf(world.allocate('young', 'b', [want({ count: 2 })]));
    world.settle();
    lose(world, 'a');
    lose(world, 'b');
    world.decide({ kind: 'createHost', actor: 'o', host: 'c', roles: ['host'], failureDomain: '', publicHost: '' });
    const c = Object.assign(Object.create(Object.getPrototypeOf(agentOf(world, 'a')) as object), agentOf(world, 'a'), { host: 'c', address: '10.77.0.13', online: true, session: 0, accepted: undefined, objects: new Map(), kernel: new Map() }) as ReturnType<typeof agentOf>;
    world.addAgent(c);
    world.settle();
    assert.equal(reasonOf(world.allocate('new', 'c', [want()])), 'POOL_EXHAUSTED');
    assert.equal(mappingAt(world, FIRST + 2), 'releasing', 'the oldest hold goes first');
    assert.deepEqual([mappingAt(world, FIRST), mappingAt(world, FIRST + 1)], ['held', 'held']);
    assert.equal(reasonOf(world.allocate('new', 'c', [want({ count: 2 })])), 'POOL_EXHAUSTED');
    assert.deepEqual([mappingAt(world, FIRST), mappingAt(world, FIRST + 1)].sort(), ['held', 'releasing'], 'no more than are wanted');
  });

  it('has unused ranges and holds that are over taken when the pool is below its low-water mark, and nothing else', () => {
    const world = shared({ ranges: [{ first: FIRST, last: FIRST + 39 }], strategy: 'sequential', holdMs: 20_000 });
    const held = portsOf(world.allocate('e', 'a', [want({ count: 2 })]));
    const others = Array.from({ length: 40 }, (_, i) => FIRST + i).filter((port) => world.book.leases().every(({ record }) => port < record.first || port > record.last));
    portsOf(world.allocate('f', 'b', others.map((port) => want({ name: `p${port}`, choice: { kind: 'exact', port } }))));
    world.settle();
    assert.equal(world.book.inside.pools.get('ssh')?.spaces.get('gw')?.blocks.size, 0);
    lose(world, 'a');
    world.pass(1_000);
    world.settle();
    assert.equal(world.book.inside.pools.get('ssh')?.spaces.get('gw')?.blocks.size, 2, 'its two unused ports are back');
    for (const port of held) assert.equal(mappingAt(world, port), 'held');
    portsOf(world.allocate('g', 'b', [want()]));
    world.pass(20_000);
    world.settle();
    assert.equal(held.filter((port) => mappingAt(world, port) === 'held').length, 1, 'the hold is over and one port was missing');
  });

  it('is reclaimed as a whole when an operator says so, and never before it is lost', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want({ count: 2 })]));
    world.settle();
    assert.equal(reasonOf(world.decide({ kind: 'reclaimHost', actor: 'o', host: 'a', reason: 'dead', override: false })), 'HOST_NOT_LOST');
    lose(world, 'a');
    const reply = world.decide({ kind: 'reclaimHost', actor: 'o', host: 'a', reason: 'dead', override: false });
    assert.deepEqual(reply, { kind: 'reclaimed', mappings: 2, ports: 4 });
    assert.equal(mappingAt(world, FIRST), 'releasing', 'nothing is free before the gateway confirmed (S8)');
    world.settle();
    assert.equal(mappingAt(world, FIRST), 'quarantined');
    assert.equal(world.book.environment('e'), undefined);
    assert.equal(world.book.host('a')?.leasedPorts, 0);
    comeBack(world, 'a');
    assert.equal(agentOf(world, 'a').kernel.size, 0, 'a host that comes back serves nothing old (B6)');
  });

  it('keeps everything in scope host: nobody else could use it', () => {
    const world = hostScope();
    const ports = portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    lose(world, 'a');
    world.pass(60_000);
    assert.equal(world.book.environment('e')?.mappings[0]?.state, 'held');
    comeBack(world, 'a');
    assert.deepEqual(world.book.environment('e')?.mappings.map(({ port, state }) => [port, state]), ports.map((port) => [port, 'live']));
  });
});

describe('time', () => {
  checkWorldsAfterEach();

  it('expires no lease before T after a start, even of a host that was silent before (S9)', () => {
    const world = shared();
    const [port] = portsOf(world.allocate('e', 'a', [want()])) as [number];
    world.settle();
    suspect(world, 'a');
    world.restart();
    assert.equal(world.book.host('a')?.state, 'unknown');
    const start = world.nowMs;
    passTicks(world, TIMING.lostMs);
    assert.equal(hostOf(world, port)?.state, 'active');
    world.nowMs = start + TIMING.lostMs + 1;
    world.decide({ kind: 'tick' });
    assert.equal(hostOf(world, port)?.state, 'expired');
  });

  it('grants nothing on a host before its hello after a start, not even what was free there', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    world.restart();
    assert.equal(reasonOf(world.allocate('f', 'a', [want()])), 'HOST_NOT_READY');
    world.hello(agentOf(world, 'a'));
    portsOf(world.allocate('f', 'a', [want()]));
  });

  it('remembers over a start that a host was lost, and since when', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    lose(world, 'a');
    const lostAt = world.book.host('a')?.record.lostAtMs;
    world.restart();
    assert.deepEqual([world.book.host('a')?.state, world.book.host('a')?.record.lostAtMs], ['lost', lostAt]);
    comeBack(world, 'gw-1');
    comeBack(world, 'a');
    assert.equal(world.book.environment('e')?.mappings[0]?.state, 'live');
  });

  it('counts a tick that comes later than 2 H as a start: nobody is suspected, nothing expires (S9)', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    world.nowMs += 600_000;
    world.decide({ kind: 'tick' });
    for (const { state } of world.book.hosts()) assert.equal(state, 'alive');
    world.nowMs += TIMING.heartbeatMs;
    world.decide({ kind: 'tick' });
    for (const { state } of world.book.hosts()) assert.equal(state, 'alive');
    assert.equal(eventsOf(world, 'LeaseExpired').length, 0);
  });

  it('leaves a host that never said hello alone', () => {
    const world = shared();
    world.decide({ kind: 'createHost', actor: 'o', host: 'c', roles: ['host'], failureDomain: 'rack-1', publicHost: '' });
    world.pass(10_000);
    assert.equal(world.book.host('c')?.state, 'unknown');
    assert.equal(world.book.host('c')?.heartbeatAgeMs, undefined);
  });
});
