import assert from 'node:assert/strict';
import { checkInvariants } from './invariants.js';
import { FakeAgent, poolSpec, sharedWorld, want, World } from './world.js';

/** Who a client reaches through a port: the host that the gateway's kernel routes it to, if that serves a mapping there. */
function reached(world: World, port: number): string | undefined {
  const gateway = world.agents.get('gw-1') as FakeAgent;
  for (const object of gateway.kernel.values()) {
    if (object.kind !== 'route' || port < object.ports.first || port > object.ports.last) continue;
    const host = [...world.agents.values()].find((agent) => object.addresses.includes(agent.address));
    for (const served of host?.kernel.values() ?? []) if (served.kind === 'mapping' && served.port === port) return served.environment;
  }
  return undefined;
}

function step(world: World, environments: number, hosts: string[]): string {
  const pick = <T>(items: readonly T[]): T => items[Math.floor(world.random() * items.length)] as T;
  const environment = `env-${Math.floor(world.random() * environments)}`;
  const host = pick(hosts);
  const agent = world.agents.get(host) as FakeAgent;
  const dice = world.random();
  if (dice < 0.3) return allocateSome(world, environment, host);
  if (dice < 0.45) return `release ${environment}: ${world.decide({ kind: 'release', actor: 'o', selector: { kind: 'environment', environment } }).kind}`;
  if (dice < 0.55) return `move ${environment} to ${host}: ${world.decide({ kind: 'move', actor: 'o', environment, host, targets: [], verify: false }).kind}`;
  if (dice < 0.75) return agent.online ? `report ${host}: ${world.report(agent).kind}` : 'nothing';
  if (dice < 0.8) {
    const gateway = world.agents.get('gw-1');
    return gateway?.online === true ? `report gateway: ${world.report(gateway).kind}` : 'nothing';
  }
  if (dice < 0.84) return `${host} ${(agent.online = !agent.online) ? 'online' : 'offline'}`;
  if (dice < 0.85) {
    world.restart();
    for (const each of world.agents.values()) if (each.online) world.hello(each);
    return 'restart';
  }
  if (dice < 0.86) return `reclaim ${host}: ${world.decide({ kind: 'reclaimHost', actor: 'o', host, reason: 'test', override: false }).kind}`;
  world.pass(Math.floor(world.random() * 2_500));
  return 'time';
}

/** What machines do besides: take another address, one that a silent host had, or another machine's place; reboot; a gateway that is away. */
function oddStep(world: World, environments: number, hosts: string[]): string {
  if (world.random() >= 0.06) return step(world, environments, hosts);
  const [agent, other] = (world.random() < 0.5 ? hosts : [...hosts].reverse()).map((host) => world.agents.get(host) as FakeAgent) as [FakeAgent, FakeAgent];
  const gateway = world.agents.get('gw-1') as FakeAgent;
  const fresh = `10.78.${Math.floor(world.random() * 256)}.${Math.floor(world.random() * 256)}`;
  const dice = world.random();
  if (dice < 0.2) agent.address = fresh;
  else if (dice < 0.4) {
    if (!agent.online || other.online || world.book.host(other.host)?.state === 'alive') return 'nothing';
    [agent.address, other.address] = [other.address, fresh];
  } else if (dice < 0.6) {
    world.decide({ kind: 'replaceHost', actor: 'o', host: agent.host, reason: 'test' });
    Object.assign(agent, { session: 0, accepted: undefined, objects: new Map(), kernel: new Map(), online: true, bootId: fresh });
  } else if (dice < 0.8) return `gateway ${(gateway.online = !gateway.online) ? 'online' : 'offline'}`;
  else {
    const rebooted = dice < 0.9 ? agent : gateway;
    rebooted.bootId = fresh;
    rebooted.apply();
    return `reboot ${rebooted.host}: ${rebooted.online ? world.hello(rebooted).kind : 'away'}`;
  }
  return `odd ${dice.toFixed(1)} ${agent.host} at ${agent.address}: ${agent.online ? world.hello(agent).kind : 'away'}`;
}

/** Foreign processes come and go on leased ports, and some wants and callers let numbers be exchanged. */
function conflictStep(world: World, environments: number, hosts: string[]): string {
  const dice = world.random();
  if (dice >= 0.2) return step(world, environments, hosts);
  const host = hosts[Math.floor(world.random() * hosts.length)] as string;
  const { foreign } = world.agents.get(host) as FakeAgent;
  const port = 30_000 + Math.floor(world.random() * 32);
  if (dice < 0.06) foreign.set(port, world.random() < 0.5 ? 'nginx' : 'dnsmasq');
  else if (dice < 0.1) foreign.clear();
  else {
    const onConflict = (['block', 'renumber', undefined] as const)[Math.floor(world.random() * 3)];
    const command = world.allocateCommand(`env-${Math.floor(world.random() * environments)}`, host, [want({ onConflict })], { tellsWhenLive: world.random() < 0.5 });
    return `allocate ${command.environment} on ${host}, ${onConflict}: ${world.decide(command).kind}`;
  }
  return `on ${host} ${[...foreign.keys()].join(' ')}`;
}

/** Retries are answered with mappings that the environment has, or had; what waits for another port is in conflict. */
function checkConflicts({ book: { inside } }: World): void {
  for (const { record, mappings } of inside.requests.values()) {
    assert.deepEqual(record.mappingIds, mappings.map((mapping) => mapping.record.mappingId));
    for (const mapping of mappings) assert.ok(mapping.record.environment === record.environment && mapping.askedBy.some((one) => one.record === record), `request ${record.requestId}`);
  }
  const seen = new Set<string>();
  for (const { record } of inside.mappings.values()) {
    if (!['pending', 'live', 'blocked', 'held'].includes(record.state)) continue;
    const name = `${record.environment} ${record.name} ${record.index}`;
    assert.ok(!seen.has(name), `${name} has two numbers`);
    seen.add(name);
  }
}

function allocateSome(world: World, environment: string, host: string): string {
  const count = world.random() < 0.2 ? 3 : 1;
  const choice = world.random() < 0.2 ? { kind: 'exact' as const, port: 30_000 + Math.floor(world.random() * 34) } : { kind: 'any' as const };
  const reply = world.decide(world.allocateCommand(environment, host, [want({ count, choice, contiguous: world.random() < 0.3 })]));
  if (reply.kind === 'refused' && reply.reason === 'POOL_EXHAUSTED') checkNothingFree(world, count);
  return `allocate ${environment} on ${host}: ${reply.kind}`;
}

/** The gateway's kernel leads a client to a host whose kernel does not guard the port. */
function isExposed(world: World, port: number): boolean {
  for (const object of (world.agents.get('gw-1') as FakeAgent).kernel.values()) {
    if (object.kind !== 'route' || port < object.ports.first || port > object.ports.last) continue;
    const host = [...world.agents.values()].find((agent) => object.addresses.includes(agent.address));
    if (host === undefined) continue;
    const guards = [...host.kernel.values()].some((one) => one.kind === 'lease' && port >= one.ports.first && port <= one.ports.last);
    if (!guards) return true;
  }
  return false;
}

/** The gateway's kernel has all that the book tells it: what it has not heard of yet nobody can blame it for. */
function isUpToDate(world: World): boolean {
  const { online, kernel, objects, accepted, session } = world.agents.get('gw-1') as FakeAgent;
  const told = world.book.inside.hosts.get('gw-1');
  return online && session === told?.record.session && accepted?.revision === told.revision && kernel.size === objects.size
    && [...objects].every(([key, object]) => kernel.get(key) === object);
}

/** A pool never refuses while a port is free, or idle on a host that answers. */
function checkNothingFree(world: World, wanted: number): void {
  if (!world.book.inside.shared) return;
  for (const poolSpace of world.book.inside.pools.get('ssh')?.spaces.values() ?? []) {
    let free = poolSpace.blocks.size;
    for (const holder of poolSpace.holders.values()) if (world.book.inside.hosts.get(holder.host)?.state === 'alive') free += holder.free.size;
    assert.ok(free < wanted, `refused with ${free} free ports`);
  }
}

/** Everybody is back, everything is released, time passes: nothing may be left over. */
function wrapUp(world: World): void {
  for (const agent of world.agents.values()) {
    agent.online = agent.roles.length > 0;
    agent.foreign.clear();
    if (agent.online) world.hello(agent);
  }
  world.settle();
  for (let n = 0; n < 12; n += 1) world.decide({ kind: 'release', actor: 'o', selector: { kind: 'environment', environment: `env-${n}` } });
  world.settle();
  for (let n = 0; n < 12; n += 1) {
    world.pass(1_000);
    world.settle();
  }
  checkInvariants(world.book.inside);
  assert.equal(world.book.inside.mappings.size, 0, 'nothing holds a port');
  assert.equal(world.book.counts().environments, 0);
  for (const poolSpace of world.book.inside.pools.get('ssh')?.spaces.values() ?? []) if (world.book.inside.shared) assert.equal(poolSpace.blocks.size, 32, 'all blocks are back');
}

function run(world: World, hosts: string[], seed: number, next: typeof step = step): void {
  const trace: string[] = [];
  try {
    for (let n = 0; n < STEPS; n += 1) {
      trace.push(next(world, 12, hosts));
      checkInvariants(world.book.inside);
      checkConflicts(world);
      for (let port = 30_000; port < 30_032; port += 1) {
        const owner = world.book.inside.spaces.get('gw')?.mappingAt.get(port)?.record;
        const who = reached(world, port);
        assert.ok((next === oddStep && !isUpToDate(world)) || !isExposed(world, port), `S7: port ${port} reaches a listener of the host itself`);
        assert.ok(who === undefined || owner?.environment === who, `S1: port ${port} of ${owner?.environment} (${owner?.state}) reaches ${who}`);
      }
    }
    wrapUp(world);
  } catch (error) {
    throw new Error(`seed ${seed}, step ${trace.length}: ${(error as Error).message}\n${trace.slice(-25).join('\n')}`, { cause: error });
  }
}

const SEEDS = 60;
const STEPS = 300;

describe('seeded runs of book and sessions', () => {
  it('keeps every invariant in a shared space while hosts come and go (S1, S2, S3)', () => {
    for (let seed = 1; seed <= SEEDS; seed += 1) run(sharedWorld({}, seed), ['a', 'b'], seed);
  });

  it('keeps them also when addresses pass from one machine to another, machines are replaced, and the gateway is away (S1, S7)', () => {
    for (let seed = 1; seed <= SEEDS; seed += 1) run(sharedWorld({}, seed), ['a', 'b'], seed, oddStep);
  });

  it('keeps them also when foreign processes take leased ports, and environments get other numbers (S1, S2, S6, S12)', () => {
    for (let seed = 1; seed <= SEEDS; seed += 1) run(sharedWorld({ onConflict: seed % 2 === 0 ? 'renumber' : 'block' }, seed), ['a', 'b'], seed, conflictStep);
  });

  it('keeps every invariant in scope host (S2)', () => {
    for (let seed = 1; seed <= SEEDS / 2; seed += 1) {
      const world = new World('host', seed);
      world.addAgent(new FakeAgent('a', ['host'], '10.77.0.11'));
      world.addAgent(new FakeAgent('b', ['host'], '10.77.0.12'));
      world.agents.set('gw-1', new FakeAgent('gw-1', [], ''));
      (world.agents.get('gw-1') as FakeAgent).online = false;
      world.decide({ kind: 'createPool', actor: 'o', pool: poolSpec({ strategy: 'random' }), seed: false });
      run(world, ['a', 'b'], seed);
    }
  });
});
