/**
 * Worlds whose books are checked when their test is over: every invariant holds, what was committed is what the book has in
 * memory, and a book that starts on it keeps the invariants.
 */
import assert from 'node:assert/strict';
import type { PoolSpec } from '../../../coordinator/book/types.js';
import { checkInvariants } from './invariants.js';
import { FakeAgent, poolSpec, sharedWorld, World } from './world.js';

const made: World[] = [];

/** A shared gateway with its agent and hosts a and b, and one pool; everybody has applied what it was told. */
export function shared(pool: Partial<PoolSpec> = {}): World {
  return settled(sharedWorld(pool));
}

/** Hosts a and b, each with an address and a port space of its own. */
export function hostScope(pool: Partial<PoolSpec> = {}): World {
  const world = new World('host');
  world.addAgent(new FakeAgent('a', ['host'], '10.77.0.11'));
  world.addAgent(new FakeAgent('b', ['host'], '10.77.0.12'));
  world.decide({ kind: 'createPool', actor: 'operator:local', pool: poolSpec(pool), seed: false });
  return settled(world);
}

/** Call it in each describe: what its tests made is checked. */
export function checkWorldsAfterEach(): void {
  afterEach(() => {
    for (const world of made.splice(0)) checkDurable(world);
  });
}

export function agentOf(world: World, host: string): FakeAgent {
  const agent = world.agents.get(host);
  assert.ok(agent !== undefined, `the world has no agent ${host}`);
  return agent;
}

/** Cuts hosts off until their leases are expired. */
export function lose(world: World, ...hosts: string[]): void {
  for (const host of hosts) agentOf(world, host).online = false;
  world.pass(3_500);
  for (const host of hosts) assert.equal(world.book.host(host)?.state, 'lost');
}

/** Cuts a host off until its heartbeat is late. */
export function suspect(world: World, host: string): void {
  agentOf(world, host).online = false;
  world.pass(2_000);
  assert.equal(world.book.host(host)?.state, 'suspect');
}

/** The host is online again, says hello and applies what it is told. */
export function comeBack(world: World, host: string): void {
  agentOf(world, host).online = true;
  world.hello(agentOf(world, host));
  world.settle();
}

/** The database as it is, to be put back later; as if it had never heard of the host `without`. */
export function backUp(world: World, { without }: { without?: string } = {}): () => void {
  const stored = world.tables.stored();
  const copy = structuredClone({ ...stored, hosts: stored.hosts.filter(({ host }) => host !== without) });
  return () => {
    const { tables } = world;
    tables.gateway = copy.gateway;
    for (const table of ['pools', 'hosts', 'leases', 'environments', 'mappings', 'requests', 'forgotten', 'overrides', 'workloads', 'tunnels'] as const) tables[table].clear();
    const { epochs, ...rows } = copy;
    tables.epochs.splice(0, Infinity, ...epochs);
    const nothing = { removedPools: [], removedHosts: [], removedLeases: [], removedEnvironments: [], removedRequests: [], removedForgotten: [], removedOverrides: [], removedWorkloads: [], removedTunnels: [], events: [], audits: [] };
    tables.apply({ ...rows, ...nothing });
    world.restart();
  };
}

export function release(world: World, environment: string): void {
  world.decide({ kind: 'release', actor: 'operator:local', selector: { kind: 'environment', environment } });
}

export function mappingAt(world: World, port: number, space = 'gw'): string | undefined {
  return world.book.inside.spaces.get(space)?.mappingAt.get(port)?.record.state;
}

function settled(world: World): World {
  made.push(world);
  world.settle();
  return world;
}

function checkDurable(world: World): void {
  checkInvariants(world.book.inside);
  assert.deepEqual(rowsOf(world), inMemory(world), 'what is committed is what the book has');
  world.restart();
  checkInvariants(world.book.inside);
}

function inMemory(world: World): unknown {
  const { pools, hosts, leases, environments, mappings, requests } = world.book.inside;
  const tunnels = [...hosts.values()].flatMap((host) => [...host.tunnels.values()]);
  const records = <T>(items: Iterable<{ record: T }>): T[] => [...items].map(({ record }) => record);
  return structuredClone({
    pools: sorted([...pools.values()].map(({ spec }) => spec)), hosts: sorted(records(hosts.values())), leases: sorted(records(leases.values())),
    environments: sorted(records(environments.values())), mappings: sorted(records(mappings.values()).map(withoutRest)), requests: sorted(records(requests.values())), tunnels: sorted(tunnels),
  });
}

function rowsOf({ tables }: World): unknown {
  const owners = [...tables.mappings.values()].filter(({ state }) => state !== 'released');
  return {
    pools: sorted(tables.pools.values()), hosts: sorted(tables.hosts.values()), leases: sorted(tables.leases.values()),
    environments: sorted(tables.environments.values()), mappings: sorted(owners.map(withoutRest)), requests: sorted(tables.requests.values()), tunnels: sorted(tables.tunnels.values()),
  };
}

/** The end of a quarantine is counted anew by each start, and not stored again. */
function withoutRest<T extends { state: string; untilMs: number }>(record: T): T {
  return record.state === 'quarantined' ? { ...record, untilMs: 0 } : record;
}

function sorted(rows: Iterable<object>): object[] {
  return [...rows].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}
