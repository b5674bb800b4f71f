import assert from 'node:assert/strict';
import type { HelloCommand, Reply } from '../../../coordinator/book/types.js';
import { checkInvariants } from './invariants.js';
import { agentOf, backUp, checkWorldsAfterEach, shared } from './checked.js';
import { FakeAgent, portsOf, reasonOf, want, type World } from './world.js';

/** The machine says hello, with all that it accepted. */
function tell(world: World, host: string, more: Partial<HelloCommand> = {}): Reply {
  const { bootId, roles, address, session, accepted, objects } = agentOf(world, host);
  return world.decide({
    kind: 'hello', actor: `host:${host}`, host, bootId, agentVersion: '1', roles, addresses: [address], lastSession: session, accepted, leases: [], routes: [], admit: true,
    state: [...objects.values()], ...more,
  });
}

function comeBackAll(world: World): void {
  for (const host of ['gw-1', 'a', 'b']) assert.equal(world.hello(agentOf(world, host)).kind, 'welcome', host);
  world.settle();
}

/** Two environments, of which the copy knows the first one only. */
function restored(): { world: World; first: number | undefined; second: number | undefined } {
  const world = shared();
  const [first] = portsOf(world.allocate('e-1', 'a', [want()]));
  world.settle();
  const putBack = backUp(world);
  const [second] = portsOf(world.allocate('e-2', 'b', [want()]));
  world.settle();
  putBack();
  return { world, first, second };
}

describe('restore mode', () => {
  checkWorldsAfterEach();

  it('grants nothing before the gateway and every known host have reported, and then for one more quarantine (S9)', () => {
    const { world } = restored();
    assert.equal(reasonOf(world.hello(agentOf(world, 'b'))), 'STATE_NEEDED');
    for (const host of ['b', 'a']) {
      assert.equal(reasonOf(tell(world, host)), 'RESTORING');
      assert.equal(reasonOf(world.allocate('e-3', 'a', [want()])), 'RESTORING');
    }
    assert.deepEqual(world.book.restoring(), { phase: 'reporting', awaited: ['gw-1'], problem: undefined });
    assert.equal(reasonOf(tell(world, 'gw-1')), 'RESTORING');
    assert.equal(world.book.restoring().phase, 'resting');
    comeBackAll(world);
    assert.equal(reasonOf(world.allocate('e-3', 'a', [want()])), 'RESTORING');
    world.pass(1_000);
    comeBackAll(world);
    world.pass(1_000);
    assert.equal(world.book.restoring().phase, 'no');
    assert.equal(portsOf(world.allocate('e-3', 'a', [want()])).length, 1);
  });

  it('has all mappings again that agents hold, with tenant, name and number, and takes none from them (S9, S13)', () => {
    const { world, first, second } = restored();
    const before = [...agentOf(world, 'b').objects.keys()].sort();
    for (const host of ['gw-1', 'a', 'b']) tell(world, host);
    comeBackAll(world);
    checkInvariants(world.book.inside);
    assert.deepEqual([...agentOf(world, 'b').objects.keys()].sort(), before);
    const [mapping] = world.book.environment('e-2')?.mappings ?? [];
    assert.deepEqual([mapping?.port, mapping?.tenant, mapping?.name, mapping?.state], [second, 't1', 'ssh', 'live']);
    assert.equal(world.book.environment('e-1')?.mappings[0]?.port, first);
  });

  it('goes on in an epoch and with sequences above all that was heard of (S3)', () => {
    const { world } = restored();
    const { epoch = 0, revision = 0 } = agentOf(world, 'b').accepted ?? {};
    for (const host of ['gw-1', 'a', 'b']) tell(world, host);
    assert.ok(world.book.gateway.epoch > epoch && world.book.sequence > revision);
  });

  it('is found again after a restart in the middle of it', () => {
    const { world } = restored();
    tell(world, 'b');
    world.restart();
    assert.equal(reasonOf(world.allocate('e-3', 'a', [want()])), 'RESTORING');
    for (const host of ['gw-1', 'a', 'b']) tell(world, host);
    comeBackAll(world);
    assert.equal(world.book.environment('e-2')?.mappings.length, 1);
  });

  it('goes on without a host that was waived: what it has is taken back behind the fence (S8)', () => {
    const { world, second } = restored();
    for (const host of ['gw-1', 'a']) tell(world, host, { lastSession: 99 });
    assert.equal(reasonOf(world.decide({ kind: 'waiveHost', actor: 'o', host: 'a', reason: 'it reported' })), 'HOST_NOT_AWAITED');
    assert.equal(world.decide({ kind: 'waiveHost', actor: 'o', host: 'b', reason: 'burnt' }).kind, 'host');
    assert.equal(world.book.restoring().phase, 'resting');
    for (const host of ['gw-1', 'a']) {
      agentOf(world, host).session = 99;
      world.hello(agentOf(world, host));
    }
    world.settle();
    assert.equal([...agentOf(world, 'gw-1').objects.values()].some((object) => object.kind === 'route' && object.ports.first <= (second ?? 0) && object.ports.last >= (second ?? 0)), false);
    assert.equal(world.book.environment('e-2'), undefined);
    world.agents.delete('b');
  });

  it('waits for a pool that agents hold ports of, and names the ports', () => {
    const { world } = restored();
    const stray = { kind: 'lease' as const, key: 'lease/l-9', version: 1, leaseId: 'l-9', ports: { first: 50_000, last: 50_003 }, protocol: 'tcp' as const, generation: 99, host: 'b' };
    for (const host of ['gw-1', 'a']) tell(world, host);
    tell(world, 'b', { state: [...agentOf(world, 'b').objects.values(), stray] });
    const view = world.book.restoring();
    assert.ok(view.phase === 'reporting' && view.awaited.length === 0);
    assert.match(view.problem ?? '', /50000-50003/);
    tell(world, 'b');
    assert.equal(world.book.restoring().phase, 'resting');
  });

  it('believes the machine that knows the newer session, of two that say they are one host (S4)', () => {
    const { world } = restored();
    tell(world, 'b');
    assert.equal(reasonOf(tell(world, 'b', { lastSession: 0, accepted: undefined, state: [] })), 'SECOND_MACHINE');
  });

  it('takes back the leave to replace a machine that the copy has: it may have been used since (S4)', () => {
    const world = shared();
    const before = agentOf(world, 'b');
    world.decide({ kind: 'replaceHost', actor: 'o', host: 'b', reason: 'new disk' });
    const putBack = backUp(world);
    const next = new FakeAgent('b', ['host'], before.address, 'boot-9');
    world.agents.set('b', next);
    assert.equal(world.hello(next).kind, 'welcome');
    world.settle();
    world.allocate('e-2', 'b', [want()]);
    world.settle();
    putBack();
    assert.equal(reasonOf(tell(world, 'b')), 'RESTORING', 'the machine that knows more says so, whatever the copy would allow');
    world.agents.set('b', before);
    assert.equal(reasonOf(world.hello(before)), 'SECOND_MACHINE');
    world.agents.set('b', next);
    for (const host of ['gw-1', 'a']) tell(world, host);
    comeBackAll(world);
    assert.equal(reasonOf(world.hello(before)), 'SECOND_MACHINE');
    before.online = false;
  });

  it('releases what the copy has on a port that an agent has mapped anew since, in one transaction (S2)', () => {
    const world = shared();
    const [port = 0] = portsOf(world.allocate('e-1', 'a', [want()]));
    world.settle();
    world.decide({ kind: 'release', actor: 's', selector: { kind: 'environment', environment: 'e-1' } });
    const putBack = backUp(world);
    world.settle();
    world.pass(1_500);
    assert.deepEqual(portsOf(world.allocate('e-2', 'a', [want({ choice: { kind: 'exact', port } })])), [port]);
    world.settle();
    putBack();
    for (const host of ['a', 'gw-1', 'b']) tell(world, host);
    comeBackAll(world);
    world.tables.check();
    assert.deepEqual([...world.tables.mappings.values()].filter((row) => row.port === port).map(({ environment, state }) => `${environment} ${state}`).sort(), ['e-1 released', 'e-2 live']);
  });

  it('keeps an environment while what another tenant had under its name is being released', () => {
    const world = shared();
    world.allocate('e-1', 'a', [want()], { tenant: 't1' });
    world.settle();
    const putBack = backUp(world);
    // As if the first tenant's host had not heard of the release.
    const state = [...agentOf(world, 'a').objects.values()];
    world.decide({ kind: 'release', actor: 's', selector: { kind: 'environment', environment: 'e-1' } });
    world.settle();
    world.pass(1_500);
    const [port] = portsOf(world.allocate('e-1', 'b', [want()], { tenant: 't2' }));
    world.settle();
    putBack();
    for (const host of ['gw-1', 'b']) tell(world, host);
    tell(world, 'a', { state });
    comeBackAll(world);
    world.pass(1_500);
    const view = world.book.environment('e-1');
    assert.deepEqual(view?.mappings.map((mapping) => [mapping.tenant, mapping.port]), [['t2', port]]);
  });

  it('knows hosts again that the copy has never heard of and that the config admits', () => {
    const world = shared();
    const putBack = backUp(world);
    world.agents.set('c', new FakeAgent('c', ['host'], '10.77.0.13'));
    assert.equal(world.hello(agentOf(world, 'c')).kind, 'welcome');
    world.settle();
    const [port] = portsOf(world.allocate('e-2', 'c', [want()]));
    world.settle();
    putBack();
    for (const host of ['c', 'a', 'b', 'gw-1']) tell(world, host);
    assert.equal(world.book.restoring().phase, 'resting');
    assert.equal(world.hello(agentOf(world, 'c')).kind, 'welcome');
    comeBackAll(world);
    assert.deepEqual(world.book.environment('e-2')?.mappings.map((mapping) => [mapping.port, mapping.host]), [[port, 'c']]);
  });

  it('does not end before the agent of a gateway is known that the copy has never heard of', () => {
    const world = shared();
    const putBack = backUp(world, { without: 'gw-1' });
    world.allocate('e-2', 'b', [want()]);
    world.settle();
    putBack();
    for (const host of ['b', 'a']) tell(world, host);
    const view = world.book.restoring();
    assert.ok(view.phase === 'reporting' && view.awaited.length === 0);
    assert.match(view.problem ?? '', /role gateway/);
    world.decide({ kind: 'createHost', actor: 'o', host: 'gw-1', roles: ['gateway'], failureDomain: '', publicHost: '' });
    assert.deepEqual(world.book.restoring(), { phase: 'reporting', awaited: ['gw-1'], problem: undefined });
    assert.equal(reasonOf(tell(world, 'gw-1')), 'RESTORING');
    assert.equal(world.book.restoring().phase, 'resting');
    comeBackAll(world);
  });
});
