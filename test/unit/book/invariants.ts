/** What must hold of a book between any two decisions. Throws with the first rule that is broken. */
import assert from 'node:assert/strict';
import type { Holder, Pool, PoolSpace, Space, State } from '../../../coordinator/book/state.js';
import { snapshot } from '../../../coordinator/book/outbox.js';
import type { DesiredObject } from '../../../coordinator/book/types.js';

export function checkInvariants(state: State): void {
  for (const space of state.spaces.values()) checkSpace(state, space);
  for (const pool of state.pools.values()) checkPool(state, pool);
  checkDesired(state);
  checkGuards(state);
  checkFormers(state);
}

/** Each port remembers one owner at most, none while another one has it, and both indexes say the same. */
function checkFormers(state: State): void {
  let remembered = 0;
  for (const space of state.spaces.values()) {
    for (const [port, former] of space.formerAt) {
      remembered += 1;
      const owner = space.mappingAt.get(port)?.record;
      assert.ok(owner === undefined || (owner.state === 'quarantined' && owner.environment === former.environment), `port ${port} has an owner and remembers ${former.environment}`);
      assert.ok(state.formers.get(former.environment)?.includes(former), `${former.environment} does not know that it had ${port}`);
    }
  }
  assert.equal([...state.formers.values()].reduce((sum, { length }) => sum + length, 0), remembered);
}

function checkSpace(state: State, space: Space): void {
  let end = 0;
  for (const start of space.leaseStarts.within(0, 65_535)) {
    const lease = space.leaseByStart.get(start);
    assert.ok(lease !== undefined, `lease start ${start} without lease`);
    assert.ok(start > end, `S2: leases overlap at ${start} in ${space.name}`);
    end = lease.record.last;
    assert.equal(state.leases.get(lease.record.leaseId), lease);
  }
  assert.equal(space.mapped.size, space.mappingAt.size);
  for (const [port, mapping] of space.mappingAt) {
    assert.ok(space.mapped.has(port));
    assert.equal(mapping.record.port, port);
    assert.notEqual(mapping.record.state, 'released', `released mapping owns ${port}`);
    const lease = state.leaseAt(space, port);
    const { state: is } = mapping.record;
    if (is === 'pending' || is === 'live' || is === 'blocked' || is === 'held') {
      assert.ok(lease !== undefined, `mapping in state ${is} at ${port} without lease`);
      assert.equal(lease.record.host, mapping.record.host, `S1: port ${port} is leased to another host than its mapping's`);
      assert.notEqual(lease.record.state, 'withdrawing', `mapping in state ${is} at ${port} on a lease that is withdrawn`);
    }
  }
}

function checkPool(state: State, pool: Pool): void {
  const counts = { leased: 0, allocated: 0, held: 0, quarantined: 0, releasing: 0 };
  for (const mapping of state.mappings.values()) {
    if (mapping.record.pool !== pool.spec.pool) continue;
    const is = mapping.record.state;
    if (is === 'held') counts.held += 1;
    else if (is === 'quarantined') counts.quarantined += 1;
    else counts.allocated += 1;
    if (is === 'releasing') counts.releasing += 1;
  }
  for (const lease of state.leases.values()) if (lease.record.pool === pool.spec.pool) counts.leased += lease.record.last - lease.record.first + 1;
  assert.deepEqual(pool.counts, counts, `counts of pool ${pool.spec.pool}`);
  const isUsable = (port: number): boolean => pool.spec.ranges.some(({ first, last }) => port >= first && port <= last) && !pool.reserved.has(port);
  const leftover = [...state.mappings.values()].filter(({ record }) => record.pool === pool.spec.pool && !isUsable(record.port));
  assert.deepEqual(new Set(pool.leftover), new Set(leftover), `ports of ${pool.spec.pool} that are not its own any more`);
  for (const { holders } of pool.spaces.values()) for (const holder of holders.values()) for (const port of holder.free.within(1, 65_535)) assert.ok(isUsable(port), `port ${port} is free on ${holder.host}, and ${pool.spec.pool} does not have it`);
  for (const poolSpace of pool.spaces.values()) checkPoolSpace(state, pool, poolSpace);
}

function checkPoolSpace(state: State, pool: Pool, poolSpace: PoolSpace): void {
  for (const holder of poolSpace.holders.values()) checkHolder(holder);
  for (const range of pool.spec.ranges) for (let port = range.first; port <= range.last; port += 1) checkPort(state, poolSpace, port);
}

/** A port is in a block of the pool, or free in one host's lease, or neither: as who owns it and who leases it says. */
function checkPort(state: State, { pool, space, blocks, holders }: PoolSpace, port: number): void {
  const lease = state.leaseAt(space, port)?.record;
  const claimed = space.mapped.has(port) || pool.reserved.has(port);
  assert.equal(blocks.has(port), lease === undefined && !claimed, `block of port ${port} of ${pool.spec.pool}`);
  const served = lease?.state === 'active' || lease?.state === 'expired';
  const setAside = lease !== undefined && state.hosts.get(lease.host)?.occupied.has(port) === true;
  const free = served && !claimed && !setAside;
  for (const holder of holders.values()) {
    assert.equal(holder.free.has(port), free && lease.host === holder.host, `free port ${port} of ${holder.host}`);
  }
}

function checkHolder(holder: Holder): void {
  let ports = 0;
  let fencing = 0;
  for (const lease of holder.leases) {
    const size = lease.record.last - lease.record.first + 1;
    ports += size;
    if (lease.record.state === 'fencing') fencing += size;
    assert.equal(lease.record.host, holder.host);
  }
  assert.deepEqual({ ports: holder.ports, fencing: holder.fencing }, { ports, fencing }, `ports of ${holder.host}`);
}

/** What the gateway may route to a host, that host is told to guard. */
function checkGuards(state: State): void {
  const desired = state.gatewayAgent?.desired;
  for (const object of desired?.objects() ?? []) {
    if (object.kind !== 'route') continue;
    const host = state.hosts.get(object.host);
    if (host?.desired === undefined) continue;
    const covered = host.desired.objects().some((other) => other.kind === 'lease' && other.ports.first <= object.ports.first && other.ports.last >= object.ports.last);
    assert.ok(covered, `S7: ${object.key} leads to ${object.host}, which does not guard ${object.ports.first}-${object.ports.last}`);
  }
}

/** What a host was told step by step is what a snapshot would say. */
function checkDesired(state: State): void {
  for (const host of state.hosts.values()) {
    if (host.desired === undefined) continue;
    const kept = { desired: host.desired, revision: host.revision, changed: state.changed, told: state.told.has(host) };
    const fresh = snapshot(state, host).upserts;
    host.desired = kept.desired;
    host.revision = kept.revision;
    if (kept.told) state.told.add(host);
    state.changed = kept.changed;
    assert.deepEqual(plain(host.desired.objects()), plain(fresh), `desired state of ${host.record.host}`);
  }
}

function plain(objects: readonly DesiredObject[]): unknown[] {
  return objects.map((object) => ({ ...object, version: 0 })).sort((a, b) => (a.key < b.key ? -1 : 1));
}
