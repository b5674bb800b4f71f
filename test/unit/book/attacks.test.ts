/** Ways to make two tenants meet on one port, or to lose what was answered, that were found by looking for them. */
import assert from 'node:assert/strict';
import { isAboutPorts } from '../../../shared/desired.js';
import { agentOf, backUp, checkWorldsAfterEach, comeBack, lose, release, shared } from './checked.js';
import { FakeAgent, portsOf, reasonOf, want, type World } from './world.js';

function mappingIdOf(world: World, environment: string): string {
  return world.book.environment(environment)?.mappings[0]?.mappingId ?? '';
}

/** Addresses that the gateway leads the clients of a host's ports to. */
function addressesOf(world: World, host: string): string[] {
  return [...agentOf(world, 'gw-1').objects.values()].flatMap((object) => (object.kind === 'route' && object.host === host ? object.addresses : []));
}

describe('an old copy of the database', () => {
  checkWorldsAfterEach();

  it('is noticed by what an agent accepted also once as many decisions were made on it as had been lost (S9)', () => {
    const world = shared();
    portsOf(world.allocate('e-1', 'b', [want()]));
    world.settle();
    const putBack = backUp(world);
    portsOf(world.allocate('e-2', 'b', [want()]));
    world.settle();
    putBack();
    for (let n = 0; n < 20; n += 1) comeBack(world, 'a');
    assert.ok(world.book.sequence > (agentOf(world, 'b').accepted?.revision ?? 0));
    assert.equal(reasonOf(world.hello(agentOf(world, 'b'))), 'STATE_NEEDED');
    world.agents.delete('b');
  });
});

describe('an address that passed from a host to another machine', () => {
  checkWorldsAfterEach();

  it('is led to no more for the ports of the host that had it, until that says where it is (S1)', () => {
    const world = shared();
    const [port] = portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    assert.ok(addressesOf(world, 'a').length > 0);
    lose(world, 'a');
    world.addAgent(new FakeAgent('c', ['host'], '10.77.0.11'));
    world.settle();
    assert.deepEqual(addressesOf(world, 'a'), []);
    world.restart();
    comeBack(world, 'gw-1');
    assert.deepEqual(addressesOf(world, 'a'), [], 'also after a start');
    const a = new FakeAgent('a', ['host'], '10.77.0.99');
    Object.assign(a, { session: agentOf(world, 'a').session, accepted: agentOf(world, 'a').accepted });
    world.addAgent(a);
    world.settle();
    for (const host of ['b', 'c']) comeBack(world, host);
    assert.deepEqual(addressesOf(world, 'a'), addressesOf(world, 'a').map(() => '10.77.0.99'));
    assert.equal(world.book.environment('e')?.mappings[0]?.state, 'live');
    assert.equal(world.book.environment('e')?.mappings[0]?.port, port);
  });
});

describe('a fence towards an address that passed to another machine', () => {
  checkWorldsAfterEach();

  it('is not waited for: the environment can move on', () => {
    const world = shared();
    portsOf(world.allocate('e', 'b', [want()]));
    world.settle();
    const move = (host: string) => world.decide({ kind: 'move', actor: 'o', environment: 'e', host, targets: [], verify: false }).kind;
    assert.equal(move('a'), 'moved');
    world.report(agentOf(world, 'a'));
    agentOf(world, 'gw-1').online = false;
    lose(world, 'a');
    world.addAgent(new FakeAgent('c', ['host'], '10.77.0.11'));
    comeBack(world, 'b');
    assert.equal(move('b'), 'moved');
    comeBack(world, 'gw-1');
    assert.equal(world.book.environment('e')?.mappings[0]?.state, 'live');
  });
});

describe('a late word', () => {
  checkWorldsAfterEach();

  it('that a target answered does not verify the target that came after it', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()], { verify: true }));
    world.settle();
    const applied = structuredClone(agentOf(world, 'a').accepted) as { epoch: number; session: number; revision: number };
    const id = mappingIdOf(world, 'e');
    world.decide({ kind: 'move', actor: 'o', environment: 'e', host: 'a', targets: [{ name: 'ssh', target: { kind: 'address', address: '10.0.0.9' }, internalPort: 0 }], verify: true });
    const report = { kind: 'report' as const, host: 'a', session: agentOf(world, 'a').session, problems: [], confirmations: [], verified: [id], driftRepairs: 0, occupied: [] };
    world.decide({ ...report, applied });
    assert.equal(world.book.isVerified(id), false);
    agentOf(world, 'a').apply();
    world.decide({ ...report, applied: agentOf(world, 'a').accepted as typeof applied });
    assert.equal(world.book.isVerified(id), true);
  });
});

describe('a retry', () => {
  checkWorldsAfterEach();

  it('by another request in the same millisecond did not make what it gets: taking it back would lose what the first was answered (S6)', () => {
    const world = shared();
    const [first, second] = [world.decide(world.allocateCommand('e', 'a', [want()])), world.decide(world.allocateCommand('e', 'a', [want()]))];
    assert.ok(first.kind === 'allocated' && second.kind === 'allocated');
    assert.deepEqual([first.made.length, second.made.length], [1, 0]);
    assert.deepEqual(portsOf(first), portsOf(second));
  });

  it('of one tenant shows nothing of the environment that another tenant has under its name now (S6)', () => {
    const world = shared();
    const command = world.allocateCommand('e', 'a', [want()]);
    portsOf(world.decide(command));
    world.settle();
    release(world, 'e');
    world.settle();
    world.pass(2_000);
    portsOf(world.allocate('e', 'a', [want({ target: { kind: 'address', address: '10.0.0.66' } })], { tenant: 't2' }));
    world.settle();
    for (const when of ['at once', 'after a start']) {
      const reply = world.decide(command);
      assert.ok(reply.kind === 'allocated' && reply.replayed);
      assert.deepEqual([reply.view.environment.tenant, reply.view.mappings.length], ['t1', 0], when);
      world.restart();
      for (const host of ['gw-1', 'a', 'b']) comeBack(world, host);
    }
  });
});

describe('a gateway role that passes to another host', () => {
  checkWorldsAfterEach();

  it('waits until the host that had it has applied that it routes nothing any more (S1)', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    const former = agentOf(world, 'gw-1');
    former.roles.splice(0, 1, 'host');
    world.hello(former);
    const next = new FakeAgent('gw-2', ['gateway'], '10.77.0.2');
    assert.equal(reasonOf(world.hello(next)), 'GATEWAY_HAS_AGENT', 'its kernel still routes');
    former.online = false;
    world.pass(4_000);
    assert.equal(reasonOf(world.hello(next)), 'GATEWAY_HAS_AGENT', 'also when it falls silent');
    comeBack(world, 'gw-1');
    assert.equal(world.addAgent(next).kind, 'welcome');
    world.settle();
  });

  it('makes nothing live before the new one has the routes, also where that machine was known', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    agentOf(world, 'gw-1').roles.splice(0, 1, 'host');
    comeBack(world, 'gw-1');
    agentOf(world, 'b').roles.push('gateway');
    world.hello(agentOf(world, 'b'));
    portsOf(world.allocate('e-2', 'a', [want()]));
    world.report(agentOf(world, 'a'));
    assert.equal(world.book.environment('e-2')?.mappings[0]?.state, 'pending');
    world.settle();
    assert.equal(world.book.environment('e-2')?.mappings[0]?.state, 'live');
  });
});

describe('a machine that takes the place of another', () => {
  checkWorldsAfterEach();

  it('at the same address is led to only once it guards the ports, too (S1, S7)', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    world.settle();
    world.decide({ kind: 'replaceHost', actor: 'o', host: 'a', reason: 'new disk' });
    const next = new FakeAgent('a', ['host'], '10.77.0.11', 'boot-2');
    world.addAgent(next);
    assert.deepEqual(addressesOf(world, 'a'), [], 'nothing on it keeps clients from its own processes yet');
    world.settle();
    assert.ok(addressesOf(world, 'a').length > 0);
    assert.equal(world.book.environment('e')?.mappings[0]?.state, 'live');
  });
});

describe('a report about what another host has', () => {
  checkWorldsAfterEach();

  it('changes nothing: neither its releases, nor its mappings, nor its ports, nor what the gateway is to confirm (S10)', () => {
    const world = shared();
    const [served] = portsOf(world.allocate('e-1', 'a', [want()], { verify: true }));
    portsOf(world.allocate('e-2', 'a', [want()]));
    world.settle();
    world.decide({ kind: 'move', actor: 'o', environment: 'e-2', host: 'b', targets: [], verify: false });
    world.report(agentOf(world, 'b'));
    release(world, 'e-1');
    const others = [...agentOf(world, 'a').objects.values(), ...agentOf(world, 'gw-1').objects.values()];
    const confirmations = others.flatMap((object) => {
      if (object.kind === 'mapping' || !isAboutPorts(object)) return [];
      const ports = object.kind === 'release' ? { first: object.port, last: object.port } : object.ports;
      return [{ key: object.key, generation: object.generation, ports, protocol: object.protocol }];
    });
    assert.ok(['release/', 'route/'].every((kind) => confirmations.some(({ key }) => key.startsWith(kind))));
    const before = { mappings: structuredClone([...world.tables.mappings.values()]), leases: structuredClone([...world.tables.leases.values()]) };
    world.decide({
      kind: 'report', host: 'b', session: agentOf(world, 'b').session, applied: agentOf(world, 'b').accepted as { epoch: number; session: number; revision: number },
      problems: [{ key: `mapping/${mappingIdOf(world, 'e-1')}`, reason: 'X', message: '' }], confirmations, verified: [mappingIdOf(world, 'e-1')], driftRepairs: 0,
      occupied: [{ transport: 'tcp', port: served as number }],
    });
    assert.deepEqual({ mappings: [...world.tables.mappings.values()], leases: [...world.tables.leases.values()] }, before);
    world.settle();
  });
});
