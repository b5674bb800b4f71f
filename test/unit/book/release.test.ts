import assert from 'node:assert/strict';
import { agentOf, checkWorldsAfterEach, comeBack, hostScope, lose, mappingAt, release, shared, suspect } from './checked.js';
import type { ReleaseSelector, Reply } from '../../../coordinator/book/types.js';
import { portsOf, reasonOf, TIMING, want, type World } from './world.js';

const FIRST = 30_000;
const exact = (port: number) => [want({ choice: { kind: 'exact' as const, port } })];

function by(world: World, selector: ReleaseSelector): Extract<Reply, { kind: 'released' }> {
  const reply = world.decide({ kind: 'release', actor: 'o', selector });
  assert.ok(reply.kind === 'released');
  return reply;
}

function serving(): { world: World; port: number; mappingId: string } {
  const world = shared();
  const reply = world.allocate('e', 'a', [want()]);
  world.settle();
  assert.ok(reply.kind === 'allocated');
  return { world, port: reply.mappings[0]?.port as number, mappingId: reply.mappings[0]?.mappingId as string };
}

/** At which age of the release the port is given to another environment. */
function tickAt(world: World, nowMs: number): void {
  while (world.nowMs < nowMs) {
    world.nowMs = Math.min(nowMs, world.nowMs + TIMING.heartbeatMs);
    for (const agent of world.agents.values()) world.heartbeat(agent);
    world.decide({ kind: 'tick' });
  }
}

describe('a release', () => {
  checkWorldsAfterEach();

  it('is done when the host confirms it: until then the port is releasing, then it rests (C6)', () => {
    const { world, port } = serving();
    const reply = by(world, { kind: 'environment', environment: 'e' });
    assert.deepEqual([reply.mappings.map(({ state }) => state), reply.boundMs], [['releasing'], TIMING.suspectMs + 2 * TIMING.heartbeatMs]);
    assert.equal(mappingAt(world, port), 'releasing');
    world.report(agentOf(world, 'gw-1'));
    assert.equal(mappingAt(world, port), 'releasing', 'the gateway has no say while the host answers');
    world.report(agentOf(world, 'a'));
    assert.equal(mappingAt(world, port), 'quarantined');
    assert.equal(world.book.environment('e'), undefined);
    assert.deepEqual(by(world, { kind: 'environment', environment: 'e' }), { kind: 'released', mappings: [], boundMs: undefined });
  });

  it('can name an environment, a mapping or a port with its space and a protocol of it', () => {
    const { world, port, mappingId } = serving();
    assert.equal(by(world, { kind: 'port', space: 'gw', protocol: 'udp', port }).mappings.length, 0);
    assert.equal(by(world, { kind: 'port', space: 'other', protocol: 'tcp', port }).mappings.length, 0);
    assert.equal(by(world, { kind: 'port', space: 'gw', protocol: 'tcp+udp', port }).mappings[0]?.mappingId, mappingId);
    assert.equal(by(world, { kind: 'mapping', mappingId }).mappings[0]?.state, 'releasing', 'one that is under way is answered again');
    assert.equal(by(world, { kind: 'environment', environment: 'e' }).mappings.length, 1);
  });

  it('of what is absent is fine and empty', () => {
    const world = shared();
    for (const selector of [{ kind: 'environment', environment: 'none' }, { kind: 'mapping', mappingId: 'm0' }, { kind: 'port', space: 'gw', protocol: 'tcp', port: FIRST }] as const) {
      assert.deepEqual(by(world, selector), { kind: 'released', mappings: [], boundMs: undefined });
    }
  });

  it('is confirmed by its host, port and generation only', () => {
    const { world, port, mappingId } = serving();
    release(world, 'e');
    const generation = world.book.mapping(mappingId)?.generation as number;
    const good = { key: `release/${mappingId}`, generation, ports: { first: port, last: port }, protocol: 'tcp' as const };
    const confirm = (host: string, over: Partial<typeof good>): Reply => {
      const agent = agentOf(world, host);
      return world.decide({ kind: 'report', host, session: agent.session, applied: agent.accepted as never, problems: [], confirmations: [{ ...good, ...over }], verified: [], driftRepairs: 0, occupied: [] });
    };
    confirm('b', {});
    confirm('gw-1', {});
    confirm('a', { generation: generation - 1 });
    confirm('a', { ports: { first: port + 1, last: port + 1 } });
    confirm('a', { key: 'release/none' });
    assert.equal(mappingAt(world, port), 'releasing');
    confirm('a', {});
    assert.equal(mappingAt(world, port), 'quarantined');
  });

  it('on a suspect host is carried out by the gateway, which withdraws the port (S8)', () => {
    const { world, port } = serving();
    suspect(world, 'a');
    const reply = by(world, { kind: 'environment', environment: 'e' });
    assert.equal(reply.boundMs, TIMING.suspectMs);
    assert.equal(mappingAt(world, port), 'releasing');
    world.settle();
    assert.equal(mappingAt(world, port), 'quarantined');
    assert.equal(world.book.leases().some(({ record }) => record.first <= port && port <= record.last), false, 'the port is split off its lease');
    assert.ok((world.book.host('a')?.leasedPorts as number) > 0, 'the host keeps the rest');
    comeBack(world, 'a');
    assert.equal([...agentOf(world, 'a').kernel.values()].some(({ kind }) => kind === 'mapping' || kind === 'release'), false);
  });

  it('that a host does not confirm is taken over by the gateway once the host is suspect', () => {
    const { world, port } = serving();
    release(world, 'e');
    assert.equal(mappingAt(world, port), 'releasing');
    suspect(world, 'a');
    world.settle();
    assert.equal(mappingAt(world, port), 'quarantined');
  });

  it('waits for the gateway when that is away, too', () => {
    const { world, port } = serving();
    world.restart();
    lose(world, 'a', 'gw-1');
    release(world, 'e');
    assert.equal(mappingAt(world, port), 'releasing');
    comeBack(world, 'gw-1');
    assert.equal(mappingAt(world, port), 'quarantined');
  });

  it('in scope host waits for the host, however long: there is nobody else who could end it', () => {
    const world = hostScope();
    const [port] = portsOf(world.allocate('e', 'a', [want()])) as [number];
    world.settle();
    lose(world, 'a');
    assert.equal(by(world, { kind: 'environment', environment: 'e' }).boundMs, undefined);
    world.pass(30_000);
    assert.equal(mappingAt(world, port, 'gw/a'), 'releasing');
    comeBack(world, 'a');
    assert.equal(mappingAt(world, port, 'gw/a'), 'quarantined');
  });
});

describe('a released port', () => {
  checkWorldsAfterEach();

  it('is given to another environment after exactly Q: not at 999 ms, at 1000 ms (S12)', () => {
    const { world, port } = serving();
    release(world, 'e');
    world.settle();
    const released = world.nowMs;
    tickAt(world, released + 999);
    const early = world.allocate('f', 'a', exact(port));
    assert.equal(reasonOf(early), 'PORT_QUARANTINED');
    assert.ok(early.kind === 'refused' && early.retryAfterMs === 1);
    tickAt(world, released + 1_000);
    assert.deepEqual(portsOf(world.allocate('f', 'a', exact(port))), [port]);
  });

  it('rests a full Q again after a restart (S9, S12)', () => {
    const { world, port } = serving();
    release(world, 'e');
    world.settle();
    tickAt(world, world.nowMs + 900);
    world.restart();
    const started = world.nowMs;
    for (const agent of world.agents.values()) world.hello(agent);
    tickAt(world, started + 999);
    assert.equal(reasonOf(world.allocate('f', 'a', exact(port))), 'PORT_QUARANTINED');
    tickAt(world, started + 1_000);
    assert.deepEqual(portsOf(world.allocate('f', 'a', exact(port))), [port]);
  });

  it('may go back to its own environment earlier, but only once its release is confirmed', () => {
    const { world, port, mappingId } = serving();
    release(world, 'e');
    assert.equal(reasonOf(world.allocate('e', 'a', exact(port))), 'PORT_TAKEN');
    world.settle();
    const again = world.allocate('e', 'a', exact(port));
    assert.deepEqual(portsOf(again), [port]);
    assert.ok(again.kind === 'allocated' && again.mappings[0]?.mappingId !== mappingId);
    world.settle();
    assert.equal(mappingAt(world, port), 'live');
    world.pass(3_000);
    assert.equal(mappingAt(world, port), 'live', 'the end of the old quarantine changes nothing');
  });

  it('does not go back early to an environment of that name but of another tenant', () => {
    const { world, port } = serving();
    release(world, 'e');
    world.settle();
    assert.equal(reasonOf(world.allocate('e', 'a', exact(port), { tenant: 't2' })), 'PORT_QUARANTINED');
  });

  it('is used again in the order of release, which a restart does not change', () => {
    const world = shared({ ranges: [{ first: FIRST, last: FIRST + 7 }] });
    portsOf(world.allocate('e', 'a', [want({ count: 8 })]));
    world.settle();
    const order = [5, 1, 7, 0, 3, 6, 2, 4].map((n) => FIRST + n);
    for (const port of order) {
      by(world, { kind: 'port', space: 'gw', protocol: 'tcp', port });
      world.settle();
    }
    world.pass(1_000);
    assert.deepEqual(portsOf(world.allocate('f', 'a', [want({ count: 2 })])), order.slice(0, 2));
    world.restart();
    for (const agent of world.agents.values()) world.hello(agent);
    world.settle();
    assert.deepEqual(portsOf(world.allocate('f', 'a', [want({ name: 'more', count: 4 })])), order.slice(2, 6));
  });

  it('keeps its pool out of work until then, and the refusal says how long', () => {
    const world = shared({ ranges: [{ first: FIRST, last: FIRST }] });
    portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    release(world, 'e');
    world.settle();
    tickAt(world, world.nowMs + 400);
    const reply = world.allocate('f', 'b', [want()]);
    assert.ok(reply.kind === 'refused');
    assert.deepEqual([reply.reason, reply.retryAfterMs, reply.metadata?.['quarantined']], ['POOL_EXHAUSTED', 600, '1']);
  });
});
