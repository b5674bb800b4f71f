import assert from 'node:assert/strict';
import { agentOf, checkWorldsAfterEach, comeBack, hostScope, lose, mappingAt, release, shared } from './checked.js';
import type { Command, Confirmation, DesiredObject, Reply } from '../../../coordinator/book/types.js';
import { targetText } from '../../../shared/target.js';
import { poolSpec, portsOf, reasonOf, want, type World } from './world.js';

type Targets = Extract<Command, { kind: 'move' }>['targets'];
const FIRST = 30_000;
const move = (world: World, environment: string, host: string, targets: Targets = []): Reply => world.decide({ kind: 'move', actor: 'o', environment, host, targets, verify: false });
const mappingsOf = (world: World, environment: string) => world.book.environment(environment)?.mappings ?? [];
const told = (world: World, host: string, kind: DesiredObject['kind']) => [...agentOf(world, host).objects.values()].filter((object) => object.kind === kind);

/** The gateway's word for a fenced route, as it stands or changed by `over`. */
function confirmFence(world: World, over: Partial<Confirmation> = {}): void {
  const agent = agentOf(world, 'gw-1');
  const [route] = told(world, 'gw-1', 'route').filter((object) => object.kind === 'route' && object.fence);
  assert.ok(route?.kind === 'route', 'a route is to be fenced');
  const confirmation = { key: route.key, generation: route.generation, ports: route.ports, protocol: route.protocol, ...over };
  world.decide({ kind: 'report', host: 'gw-1', session: agent.session, applied: { epoch: 0, session: 0, revision: 0 }, problems: [], confirmations: [confirmation], verified: [], driftRepairs: 0, occupied: [] });
}

describe('an environment that moves in a shared space', () => {
  checkWorldsAfterEach();

  it('keeps its numbers, and its new host is told only after the gateway has confirmed the fence (S1, S8)', () => {
    const world = shared();
    const ports = portsOf(world.allocate('e', 'a', [want({ count: 2 })]));
    world.settle();
    assert.equal(move(world, 'e', 'b', [{ name: 'ssh', target: { kind: 'address', address: '10.0.0.9' }, internalPort: 2_222 }]).kind, 'moved');
    assert.deepEqual(mappingsOf(world, 'e').map(({ port, state, reason, host }) => [port, state, reason, host]), ports.map((port) => [port, 'pending', 'WAITS_FOR_FENCE', 'b']));
    assert.deepEqual(told(world, 'a', 'mapping'), [], 'the old host ends them at once');
    assert.deepEqual(told(world, 'b', 'mapping'), []);
    world.report(agentOf(world, 'a'));
    world.report(agentOf(world, 'b'));
    assert.deepEqual(told(world, 'b', 'mapping'), []);
    confirmFence(world);
    assert.deepEqual(told(world, 'b', 'mapping').map((object) => object.kind === 'mapping' && [object.port, targetText(object.target), object.internalPort]), [[ports[0], '10.0.0.9', 2_222], [ports[1], '10.0.0.9', 2_223]]);
    world.settle();
    assert.ok(mappingsOf(world, 'e').every(({ state }) => state === 'live'));
    assert.equal(world.book.environment('e')?.environment.host, 'b');
  });

  it('is not helped by a confirmation of another generation, range, protocol or host (S3)', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    move(world, 'e', 'b');
    world.report(agentOf(world, 'b'));
    const route = told(world, 'gw-1', 'route').find((object) => object.kind === 'route' && object.fence) as Extract<DesiredObject, { kind: 'route' }>;
    const wrong: Partial<Confirmation>[] = [
      { generation: route.generation - 1 }, { generation: route.generation + 1 }, { ports: { first: route.ports.first, last: route.ports.last + 1 } },
      { protocol: 'udp' }, { key: route.key.replace('route/', 'withdrawal/') }, { key: 'route/none' }, { key: 'nonsense' },
    ];
    for (const over of wrong) confirmFence(world, over);
    const b = agentOf(world, 'b');
    world.decide({ kind: 'report', host: 'b', session: b.session, applied: b.accepted as never, problems: [], verified: [], driftRepairs: 0, occupied: [],
      confirmations: [{ key: route.key, generation: route.generation, ports: route.ports, protocol: route.protocol }] });
    assert.equal(mappingsOf(world, 'e')[0]?.reason, 'WAITS_FOR_FENCE');
    assert.deepEqual(told(world, 'b', 'mapping'), []);
    confirmFence(world);
    assert.equal(told(world, 'b', 'mapping').length, 1);
  });

  it('moves away from a lost host, which serves nothing old when it comes back (B6)', () => {
    const world = shared();
    const ports = portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    lose(world, 'a');
    move(world, 'e', 'b');
    world.settle();
    assert.deepEqual(mappingsOf(world, 'e').map(({ port, state, host }) => [port, state, host]), [[ports[0], 'live', 'b']]);
    comeBack(world, 'a');
    assert.equal([...agentOf(world, 'a').kernel.values()].some(({ kind }) => kind === 'mapping'), false);
    assert.equal(mappingsOf(world, 'e')[0]?.state, 'live');
  });

  it('may move twice before the first fence is confirmed, and back again', () => {
    const world = shared();
    const ports = portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    move(world, 'e', 'b');
    assert.equal(move(world, 'e', 'a').kind, 'waiting', 'host a has not ended the old mapping yet');
    world.report(agentOf(world, 'a'));
    assert.equal(move(world, 'e', 'a').kind, 'moved');
    world.settle();
    assert.deepEqual(mappingsOf(world, 'e').map(({ port, state, host }) => [port, state, host]), [[ports[0], 'live', 'a']]);
    for (const host of ['b', 'a', 'b']) {
      move(world, 'e', host);
      world.settle();
      assert.deepEqual(mappingsOf(world, 'e').map(({ port, state, host: on }) => [port, state, on]), [[ports[0], 'live', host]]);
    }
    assert.ok(world.tables.events.filter(({ kind }) => kind === 'LeaseReclaimed').length >= 4);
  });

  it('gets a strictly larger generation with each move (S3)', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    let before = mappingsOf(world, 'e')[0]?.generation as number;
    for (const host of ['b', 'a']) {
      move(world, 'e', host);
      world.settle();
      const now = mappingsOf(world, 'e')[0]?.generation as number;
      assert.ok(now > before);
      before = now;
    }
    world.restart();
    for (const host of ['gw-1', 'a', 'b']) comeBack(world, host);
    move(world, 'e', 'b');
    assert.ok((mappingsOf(world, 'e')[0]?.epoch as number) > 1 && (mappingsOf(world, 'e')[0]?.generation as number) > before);
  });

  it('goes on with its fence after a restart: nobody is told before the gateway', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    move(world, 'e', 'b');
    world.restart();
    for (const host of ['a', 'b']) world.hello(agentOf(world, host));
    world.report(agentOf(world, 'a'));
    assert.deepEqual([...told(world, 'a', 'mapping'), ...told(world, 'b', 'mapping')], []);
    world.hello(agentOf(world, 'gw-1'));
    world.settle();
    assert.deepEqual(mappingsOf(world, 'e').map(({ state, host }) => [state, host]), [['live', 'b']]);
  });

  it('waits while the gateway is not there', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    world.restart();
    for (const host of ['a', 'b']) world.hello(agentOf(world, host));
    assert.equal(move(world, 'e', 'b').kind, 'waiting');
    assert.equal(mappingsOf(world, 'e')[0]?.host, 'a');
  });

  it('may be released while it is fenced: the port rests only after gateway and host', () => {
    const world = shared();
    const [port] = portsOf(world.allocate('e', 'a', [want()])) as [number];
    world.settle();
    move(world, 'e', 'b');
    release(world, 'e');
    world.report(agentOf(world, 'b'));
    assert.equal(mappingAt(world, port), 'releasing');
    const mapping = mappingsOf(world, 'e')[0];
    const b = agentOf(world, 'b');
    world.decide({ kind: 'report', host: 'b', session: b.session, applied: b.accepted as never, problems: [], verified: [], driftRepairs: 0, occupied: [],
      confirmations: [{ key: `release/${mapping?.mappingId}`, generation: mapping?.generation as number, ports: { first: port, last: port }, protocol: 'tcp' }] });
    assert.equal(mappingAt(world, port), 'releasing', 'a host that was never told cannot confirm it (S8)');
    world.settle();
    assert.equal(mappingAt(world, port), 'quarantined');
  });

  it('is held for when its new host is lost before the fence is confirmed', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    move(world, 'e', 'b');
    agentOf(world, 'gw-1').online = false;
    lose(world, 'b');
    comeBack(world, 'gw-1');
    assert.equal(mappingsOf(world, 'e')[0]?.state, 'held');
    comeBack(world, 'b');
    assert.equal(mappingsOf(world, 'e')[0]?.state, 'live');
  });

  it('on the host that it is on only gets its new targets', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    const leases = structuredClone(world.book.leases());
    move(world, 'e', 'a', [{ name: 'ssh', target: { kind: 'address', address: '10.0.0.77' }, internalPort: 0 }]);
    const [mapping] = mappingsOf(world, 'e');
    assert.deepEqual([mapping?.state, mapping && targetText(mapping.target), mapping?.internalPort], ['pending', '10.0.0.77', 22]);
    assert.deepEqual(world.book.leases(), leases);
    world.settle();
    assert.equal(mappingsOf(world, 'e')[0]?.state, 'live');
    const { sequence } = world.book;
    assert.equal(move(world, 'e', 'a').kind, 'moved');
    assert.equal(mappingsOf(world, 'e')[0]?.state, 'live', 'nothing is different');
    assert.equal(world.book.sequence, sequence + 1, 'but the audit record');
  });

  it('is refused when it is not known, its host cannot take it, or a target has no port', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    assert.equal(reasonOf(move(world, 'none', 'b')), 'ENVIRONMENT_UNKNOWN');
    assert.equal(reasonOf(move(world, 'e', 'none')), 'HOST_UNKNOWN');
    assert.equal(reasonOf(move(world, 'e', 'gw-1')), 'HOST_NOT_SERVING');
    const reply = move(world, 'e', 'b', [{ name: 'web', target: undefined, internalPort: 80 }]);
    assert.ok(reply.kind === 'refused');
    assert.deepEqual([reply.reason, reply.field], ['INVALID_FIELD', 'targets[0].name']);
    assert.equal(mappingsOf(world, 'e')[0]?.host, 'a');
  });
});

describe('an environment that moves between hosts of scope host', () => {
  checkWorldsAfterEach();

  it('gets its numbers there when they are free; the old ones are released (B9)', () => {
    const world = hostScope();
    const ports = portsOf(world.allocate('e', 'a', [want({ count: 2 })]));
    world.settle();
    assert.equal(move(world, 'e', 'b').kind, 'moved');
    assert.deepEqual(mappingsOf(world, 'e').map(({ port, state, host }) => [port, state, host]).sort(), [...ports.map((port) => [port, 'releasing', 'a']), ...ports.map((port) => [port, 'pending', 'b'])].sort());
    world.settle();
    assert.deepEqual(mappingsOf(world, 'e').map(({ port, state, space }) => [port, state, space]), ports.map((port) => [port, 'live', 'gw/b']));
    assert.equal(mappingAt(world, ports[0] as number, 'gw/a'), 'quarantined');
    assert.equal(world.book.leases().filter(({ record }) => record.host === 'b').length, 1, 'as one lease per range');
  });

  it('is refused when one of them is taken there, and nothing has changed', () => {
    const world = hostScope({ strategy: 'sequential' });
    portsOf(world.allocate('e', 'a', [want({ count: 2 })]));
    portsOf(world.allocate('f', 'b', [want({ choice: { kind: 'exact', port: FIRST + 1 } })]));
    const before = structuredClone(world.book.leases());
    const reply = move(world, 'e', 'b');
    assert.ok(reply.kind === 'refused');
    assert.deepEqual([reply.reason, reply.metadata], ['PORT_TAKEN', { host: 'b', port: `${FIRST + 1}` }]);
    assert.deepEqual(world.book.leases(), before);
    assert.deepEqual(mappingsOf(world, 'e').map(({ host }) => host), ['a', 'a']);
  });

  it('leaves no lease behind on a host that refused it', () => {
    const world = hostScope({ strategy: 'sequential' });
    world.decide({ kind: 'createPool', actor: 'o', pool: poolSpec({ pool: 'web', serviceType: 'web', ranges: [{ first: 31_000, last: 31_003 }] }), seed: false });
    const web = want({ name: 'web', source: { kind: 'pool', pool: 'web' }, choice: { kind: 'exact', port: 31_002 } });
    portsOf(world.allocate('e', 'a', [want(), web]));
    portsOf(world.allocate('f', 'b', [web]));
    assert.equal(reasonOf(move(world, 'e', 'b')), 'PORT_TAKEN');
    assert.deepEqual(world.book.leases().filter(({ record }) => record.host === 'b').map(({ record }) => record.pool), ['web']);
  });

  it('leaves what its lost host still has to be released when that returns', () => {
    const world = hostScope();
    const [port] = portsOf(world.allocate('e', 'a', [want()])) as [number];
    world.settle();
    lose(world, 'a');
    move(world, 'e', 'b');
    world.settle();
    assert.deepEqual([mappingAt(world, port, 'gw/a'), mappingAt(world, port, 'gw/b')], ['releasing', 'live']);
    comeBack(world, 'a');
    assert.equal(mappingAt(world, port, 'gw/a'), 'quarantined');
  });
});
