import assert from 'node:assert/strict';
import { agentOf, checkWorldsAfterEach, hostScope, release, shared } from './checked.js';
import type { AllocateCommand, Reply } from '../../../coordinator/book/types.js';
import { poolSpec, portsOf, reasonOf, want, type World } from './world.js';

const DAY = 24 * 3_600_000;
const ids = (reply: Reply): string[] => (reply.kind === 'allocated' ? reply.mappings.map(({ mappingId }) => mappingId) : []);

function once(world: World, over: Partial<AllocateCommand> = {}): { command: AllocateCommand; reply: Reply } {
  const command = world.allocateCommand('e', 'a', [want({ count: 2 })], over);
  const reply = world.decide(command);
  assert.equal(reply.kind, 'allocated');
  world.settle();
  return { command, reply };
}

describe('the same request id', () => {
  checkWorldsAfterEach();

  it('gets the same mappings again, in the state of today, also after a restart (S6)', () => {
    const world = shared();
    const { command, reply } = once(world);
    const { sequence } = world.book;
    const audits = world.tables.audits.length;
    for (const restart of [false, true]) {
      if (restart) world.restart();
      const again = world.decide(command);
      assert.ok(again.kind === 'allocated' && again.replayed);
      assert.deepEqual(ids(again), ids(reply));
      assert.ok(again.mappings.every(({ state }) => state === 'live'));
    }
    assert.equal(world.book.sequence, sequence, 'and changes nothing');
    assert.equal(world.tables.audits.length, audits);
  });

  it('with another body is refused, also after a restart (S6)', () => {
    const world = shared();
    const { command } = once(world);
    for (const restart of [false, true]) {
      if (restart) world.restart();
      const reply = world.decide({ ...command, bodyHash: 'other', environment: 'f' });
      assert.ok(reply.kind === 'refused');
      assert.deepEqual([reply.reason, reply.field], ['REQUEST_ID_REUSED', 'request_id']);
    }
  });

  it('is answered while its host is away: the ports exist', () => {
    const world = shared();
    const { command, reply } = once(world);
    agentOf(world, 'a').online = false;
    world.pass(5_000);
    const again = world.decide(command);
    assert.deepEqual(ids(again), ids(reply));
    assert.ok(again.kind === 'allocated' && again.mappings.every(({ state }) => state === 'held'));
  });

  it('may be tried again after a refusal: refusals are not remembered', () => {
    const world = shared();
    const command = world.allocateCommand('e', 'none', [want()]);
    assert.equal(reasonOf(world.decide(command)), 'HOST_UNKNOWN');
    assert.equal(portsOf(world.decide({ ...command, host: 'a', bodyHash: 'corrected' })).length, 1);
  });

  it('is remembered for 7 days after the release of its ports, also over restarts, and forgotten within 7 days more (C3)', () => {
    const world = hostScope();
    const { command, reply } = once(world);
    const skip = (ms: number): void => {
      world.nowMs += ms;
      world.decide({ kind: 'tick' });
      for (const agent of world.agents.values()) world.hello(agent);
      world.nowMs += 1;
      world.decide({ kind: 'tick' });
    };
    skip(30 * DAY);
    assert.deepEqual(ids(world.decide(command)), ids(reply), 'a request whose ports live is kept for ever');
    release(world, 'e');
    world.settle();
    world.pass(1_500);
    world.restart();
    skip(6.9 * DAY);
    const again = world.decide(command);
    assert.deepEqual(ids(again), ids(reply));
    assert.ok(again.kind === 'allocated' && again.mappings.every(({ state }) => state === 'released'));
    skip(7.1 * DAY);
    assert.equal(world.tables.requests.size, 0);
    const fresh = world.decide(command);
    assert.ok(fresh.kind === 'allocated' && !fresh.replayed);
  });

  it('is remembered under another id of the same environment, too', () => {
    const world = shared();
    const { command, reply } = once(world);
    const other = { ...command, requestId: 'other' };
    const again = world.decide(other);
    assert.ok(again.kind === 'allocated' && !again.replayed);
    assert.deepEqual(ids(again), ids(reply), 'the environment has a port of this name');
    assert.ok((world.decide(other) as { replayed?: boolean }).replayed);
  });
});

describe('the same environment and port name', () => {
  checkWorldsAfterEach();

  it('gets the mapping that it has, live or held, and a new one once that is released', () => {
    const world = shared();
    const { reply } = once(world);
    assert.deepEqual(ids(world.allocate('e', 'a', [want({ count: 2 })])), ids(reply));
    release(world, 'e');
    const fresh = world.allocate('e', 'a', [want({ count: 2 })]);
    assert.equal(ids(fresh).some((id) => ids(reply).includes(id)), false);
    world.settle();
    assert.deepEqual(world.book.environment('e')?.mappings.map(({ state }) => state), ['live', 'live']);
  });

  it('is refused with PORT_NAME_DIFFERS when pool, protocol, target, internal port or exact port are other ones', () => {
    const world = shared({ protocol: 'tcp+udp' });
    world.decide({ kind: 'createPool', actor: 'o', pool: poolSpec({ pool: 'web', serviceType: 'web', ranges: [{ first: 31_000, last: 31_009 }], protocol: 'tcp+udp' }), seed: false });
    const [port] = portsOf(world.allocate('e', 'a', [want({ protocol: 'tcp' })])) as [number];
    const same = { protocol: 'tcp' as const };
    const rows = [
      [{ ...same, source: { kind: 'pool' as const, pool: 'web' } }, 'pool'],
      [{ ...same, source: { kind: 'serviceType' as const, serviceType: 'web' } }, 'service_type'],
      [{ protocol: 'udp' as const }, 'protocol'],
      [{ protocol: undefined }, 'protocol'],
      [{ ...same, target: { kind: 'address' as const, address: '10.0.0.6' } }, 'target'],
      [{ ...same, internalPort: 2_222 }, 'internal_port'],
      [{ ...same, choice: { kind: 'exact' as const, port: port + 1 } }, 'exact_port'],
    ] as const;
    for (const [over, field] of rows) {
      const reply = world.allocate('e', 'a', [want(over)]);
      assert.ok(reply.kind === 'refused', JSON.stringify(over));
      assert.deepEqual([reply.reason, reply.field], ['PORT_NAME_DIFFERS', `wants[0].${field}`]);
    }
    assert.deepEqual(portsOf(world.allocate('e', 'a', [want({ ...same, internalPort: 22, choice: { kind: 'exact', port } })])), [port]);
    assert.deepEqual(portsOf(world.allocate('e', 'a', [want({ ...same, choice: { kind: 'preferred', port: port + 1 } })])), [port], 'a preference is no difference');
  });

  it('is refused on another host and for another tenant', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    const elsewhere = world.allocate('e', 'b', [want({ name: 'x' })]);
    assert.ok(elsewhere.kind === 'refused' && elsewhere.reason === 'ENVIRONMENT_ELSEWHERE');
    assert.deepEqual(elsewhere.metadata, { host: 'a' });
    assert.equal(reasonOf(world.allocate('e', 'a', [want({ name: 'x' })], { tenant: 't2' })), 'ENVIRONMENT_OF_OTHER_TENANT');
  });

  it('may be on another host once its ports there are being released', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()]));
    release(world, 'e');
    portsOf(world.allocate('e', 'b', [want()]));
    world.settle();
    assert.deepEqual(world.book.environment('e')?.mappings.map(({ host, state }) => [host, state]), [['b', 'live']]);
  });

  it('keeps its labels unless new ones are given, and its revision grows with each change (C10)', () => {
    const world = shared();
    portsOf(world.allocate('e', 'a', [want()], { labels: { team: 'red' } }));
    const first = world.book.environment('e')?.environment;
    portsOf(world.allocate('e', 'a', [want({ name: 'x' })]));
    const second = world.book.environment('e')?.environment;
    assert.deepEqual(second?.labels, { team: 'red' });
    assert.ok((second?.revision) > (first?.revision as number));
    portsOf(world.allocate('e', 'a', [want({ name: 'y' })], { labels: { team: 'blue' } }));
    assert.deepEqual(world.book.environment('e')?.environment.labels, { team: 'blue' });
  });
});
