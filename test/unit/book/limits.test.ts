import assert from 'node:assert/strict';
import type { ClientLimits, DesiredObject, HelloCommand, MappingRecord, Reply } from '../../../coordinator/book/types.js';
import { agentOf, backUp, checkWorldsAfterEach, comeBack, hostScope, lose, release, shared } from './checked.js';
import { portsOf, reasonOf, want, type World } from './world.js';

const LIMITS: ClientLimits = { networks: ['198.51.100.0/24'], maxConnections: 5 };

function allocated(world: World, limits: ClientLimits | undefined = LIMITS): MappingRecord {
  const reply = world.allocate('e', 'a', [want({ limits })]);
  const made = reply.kind === 'allocated' ? reply.mappings[0] : undefined;
  world.settle();
  return made ?? assert.fail(JSON.stringify(reply));
}

const update = (world: World, mappingId: string, of: { networks?: string[]; maxConnections?: number }): Reply =>
  world.decide({ kind: 'updateMapping', actor: 'o', mappingId, networks: of.networks, maxConnections: of.maxConnections });

function told(world: World, host: string): Extract<DesiredObject, { kind: 'mapping' }> | undefined {
  return [...agentOf(world, host).objects.values()].find((object) => object.kind === 'mapping');
}

function hello(world: World, hidesClients: boolean): Reply {
  const { host, bootId, roles, address, session, accepted } = agentOf(world, 'gw-1');
  const command: HelloCommand = { kind: 'hello', actor: 'x', host, bootId, agentVersion: '1', roles, addresses: [address], lastSession: session, accepted, leases: [], routes: [], admit: true, hidesClients };
  const reply = world.decide(command);
  if (reply.kind === 'welcome') {
    const agent = agentOf(world, 'gw-1');
    Object.assign(agent, { session: reply.session, accepted: reply.state.version, objects: new Map(reply.state.upserts.map((object) => [object.key, object])) });
  }
  return reply;
}

describe('limits of a mapping', () => {
  checkWorldsAfterEach();

  it('are recorded, told to the host, and there after a restart', () => {
    const world = shared();
    const { mappingId } = allocated(world);
    assert.deepEqual(told(world, 'a')?.limits, LIMITS);
    world.restart();
    assert.deepEqual(world.book.mapping(mappingId)?.limits, LIMITS);
    comeBack(world, 'b');
    comeBack(world, 'gw-1');
    world.allocate('f', 'b', [want()]);
    assert.equal('limits' in (told(world, 'b') ?? assert.fail('host b was told nothing')), false, 'of one without limits nothing is said');
  });

  it('go along to another host, in either scope', () => {
    for (const world of [shared(), hostScope()]) {
      allocated(world);
      const move = (): Reply => world.decide({ kind: 'move', actor: 'o', environment: 'e', host: 'b', targets: [], verify: false });
      for (let reply = move(); reply.kind === 'waiting'; reply = move()) world.settle();
      world.settle();
      assert.deepEqual(told(world, 'b')?.limits, LIMITS);
    }
  });

  it('belong to what a name of an environment has: asked for with others it is refused', () => {
    const world = shared();
    allocated(world);
    for (const [limits, field] of [[undefined, 'max_connections'], [{ ...LIMITS, networks: [] }, 'client_networks'], [{ ...LIMITS, maxConnections: 6 }, 'max_connections']] as const) {
      const reply = world.allocate('e', 'a', [want({ limits })]);
      assert.deepEqual(reply.kind === 'refused' && [reply.reason, reply.field], ['PORT_NAME_DIFFERS', `wants[0].${field}`]);
    }
    assert.equal(portsOf(world.allocate('e', 'a', [want({ limits: LIMITS })])).length, 1);
  });

  it('are changed on a live mapping, which keeps number and generation: live again when its host has applied it, with one audit record (S11)', () => {
    const world = shared();
    const { mappingId, port, generation } = allocated(world);
    const audits = world.tables.audits.length;
    const reply = update(world, mappingId, { networks: ['203.0.113.0/24', '2001:db8::/32'] });
    assert.equal(reply.kind === 'updated' && reply.mapping.state, 'pending');
    assert.deepEqual(world.tables.audits.slice(audits).map(({ action, outcome }) => [action, outcome]), [['UpdateMapping', 'ok']]);
    const event = world.tables.events.filter(({ kind }) => kind === 'PortChanged').at(-1);
    assert.deepEqual(event && [event.mappingId, (JSON.parse(event.detail) as Record<string, unknown>)['clientNetworks']], [mappingId, '203.0.113.0/24,2001:db8::/32']);
    world.settle();
    const now = world.book.mapping(mappingId);
    assert.deepEqual(now && [now.state, now.port, now.generation, now.limits], ['live', port, generation, { networks: ['203.0.113.0/24', '2001:db8::/32'], maxConnections: 5 }]);
    assert.deepEqual(told(world, 'a')?.limits, now?.limits);
  });

  it('are changed one without the other, and taken away', () => {
    const world = shared();
    const { mappingId } = allocated(world);
    update(world, mappingId, { maxConnections: 9 });
    assert.deepEqual(world.book.mapping(mappingId)?.limits, { networks: LIMITS.networks, maxConnections: 9 });
    update(world, mappingId, { networks: [], maxConnections: 0 });
    world.settle();
    assert.equal(told(world, 'a')?.limits, undefined);
    assert.equal(world.book.mapping(mappingId)?.state, 'live');
  });

  it('that are the same again change nothing: the mapping stays live, and no event is written', () => {
    const world = shared();
    const { mappingId } = allocated(world);
    const events = world.tables.events.length;
    const reply = update(world, mappingId, { networks: [...LIMITS.networks], maxConnections: 5 });
    assert.equal(reply.kind === 'updated' && reply.mapping.state, 'live');
    assert.equal(world.tables.events.length, events);
  });

  it('of a held mapping are told to its host when that is back', () => {
    const world = shared();
    const { mappingId } = allocated(world);
    lose(world, 'a');
    const reply = update(world, mappingId, { maxConnections: 1 });
    assert.equal(reply.kind === 'updated' && reply.mapping.state, 'held');
    comeBack(world, 'a');
    world.settle();
    assert.equal(told(world, 'a')?.limits?.maxConnections, 1);
    assert.equal(world.book.mapping(mappingId)?.state, 'live');
  });

  it('cannot be changed where there is no mapping, or none any more', () => {
    const world = shared();
    const { mappingId } = allocated(world);
    assert.equal(reasonOf(update(world, 'absent', { maxConnections: 1 })), 'MAPPING_UNKNOWN');
    release(world, 'e');
    assert.equal(reasonOf(update(world, mappingId, { maxConnections: 1 })), 'MAPPING_UNKNOWN');
    world.settle();
    assert.equal(reasonOf(update(world, mappingId, { maxConnections: 1 })), 'MAPPING_UNKNOWN');
  });

  it('are refused on a host whose agent does not know them, and of one that was not heard since the start nobody can say so', () => {
    for (const world of [shared(), hostScope()]) {
      const { mappingId } = allocated(world);
      const old = agentOf(world, 'b');
      old.capabilities = ['other'];
      world.hello(old);
      world.settle();
      const refusals: [Reply, string | undefined][] = [
        [world.allocate('f', 'b', [want(), want({ name: 'web', limits: LIMITS })]), 'wants[1].client_networks'],
        [world.allocate('f', 'b', [want({ limits: { networks: [], maxConnections: 1 } })]), 'wants[0].max_connections'],
        [world.decide({ kind: 'move', actor: 'o', environment: 'e', host: 'b', targets: [], verify: false }), 'host'],
      ];
      for (const [reply, field] of refusals) assert.deepEqual(reply.kind === 'refused' && [reply.reason, reply.field, reply.metadata?.['host']], ['AGENT_TOO_OLD', field, 'b']);
      assert.equal(world.book.environment('f'), undefined);
      assert.equal(world.allocate('f', 'b', [want()]).kind, 'allocated', 'without limits it gets ports');
      world.settle();

      const other = agentOf(world, 'a');
      other.capabilities = [];
      world.hello(other);
      assert.equal(reasonOf(update(world, mappingId, { maxConnections: 6 })), 'AGENT_TOO_OLD');
      assert.equal(update(world, mappingId, { networks: [], maxConnections: 0 }).kind, 'updated', 'what it does not keep to can be taken away');
      world.restart();
      assert.equal(update(world, mappingId, { maxConnections: 6 }).kind, 'updated');
      for (const agent of world.agents.values()) {
        agent.capabilities = ['client-limits'];
        comeBack(world, agent.host);
      }
    }
  });

  it('are read back from the host when an older copy of the database was restored, the newer ones too (S9)', () => {
    for (const isKnown of [true, false]) {
      const world = shared();
      const early = isKnown ? allocated(world) : undefined;
      const putBack = backUp(world);
      const { mappingId } = early ?? allocated(world);
      update(world, mappingId, { networks: ['2001:db8::/32'], maxConnections: 7 });
      world.settle();
      putBack();
      for (const host of ['a', 'b', 'gw-1']) {
        const { bootId, roles, address, session, accepted, objects } = agentOf(world, host);
        world.decide({ kind: 'hello', actor: 'x', host, bootId, agentVersion: '1', roles, addresses: [address], lastSession: session, accepted, leases: [], routes: [], admit: true, state: [...objects.values()] });
      }
      assert.deepEqual(world.book.mapping(mappingId)?.limits, { networks: ['2001:db8::/32'], maxConnections: 7 });
      for (const host of ['gw-1', 'a', 'b']) comeBack(world, host);
    }
  });
});

describe('client networks behind a gateway that hides clients', () => {
  checkWorldsAfterEach();

  it('are refused by allocation and update, and no others', () => {
    const world = shared();
    const { mappingId } = allocated(world, { networks: [], maxConnections: 2 });
    hello(world, true);
    const reply = world.allocate('f', 'a', [want({ limits: LIMITS })]);
    assert.deepEqual(reply.kind === 'refused' && [reply.reason, reply.field], ['CLIENTS_HIDDEN', 'wants[0].client_networks']);
    assert.equal(reasonOf(update(world, mappingId, { networks: ['10.0.0.0/8'] })), 'CLIENTS_HIDDEN');
    assert.equal(update(world, mappingId, { networks: [] }).kind, 'updated');
    assert.equal(update(world, mappingId, { maxConnections: 3 }).kind, 'updated');
  });

  it('are told to hosts as not to be served, from the hello that says so until the one that says otherwise, also across a restart', () => {
    const world = shared();
    const { mappingId } = allocated(world);
    hello(world, true);
    assert.equal(told(world, 'a')?.clientsHidden, true);
    assert.equal(update(world, mappingId, { maxConnections: 9 }).kind, 'updated', 'the rest of it can be changed');
    world.restart();
    comeBack(world, 'a');
    assert.equal(told(world, 'a')?.clientsHidden, true, 'before the gateway said hello again');
    hello(world, false);
    assert.equal(told(world, 'a')?.clientsHidden, undefined);
    world.settle();
    assert.equal(world.book.mapping(mappingId)?.state, 'live');
  });
});
