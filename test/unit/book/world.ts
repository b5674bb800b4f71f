/**
 * A small world around a real book: tables that a journal would have, agents that accept, apply and confirm, a client's view of who
 * is reached through each port. Everything is driven by one seeded source of chance, so that a failure can be replayed.
 */
import type { Leak } from '../../../shared/leak.js';
import assert from 'node:assert/strict';
import type { ContainerSpec } from '../../../shared/container.js';
import { Book } from '../../../coordinator/book/book.js';
import { CAPABILITIES, type IdleMapping } from '../../../shared/desired.js';
import { StateDigest } from '../../../shared/digest.js';
import type { TunnelReport } from '../../../shared/tunnel.js';
import { applyRows, type StoredRows } from '../../support/stored-rows.js';
import type {
  AllocateCommand, Changes, Command, Confirmation, Decision, DesiredObject, PoolSpec, Reply, ReportCommand, StoredGateway, Timing, WantSpec,
} from '../../../coordinator/book/types.js';

export const TIMING: Timing = { heartbeatMs: 500, deadlineMs: 300, suspectMs: 1_500, lostMs: 3_000 };

export function poolSpec(over: Partial<PoolSpec> = {}): PoolSpec {
  return {
    pool: 'ssh', description: '', serviceType: 'ssh', aliases: [], ranges: [{ first: 30_000, last: 30_031 }], protocol: 'tcp', defaultInternalPort: 22,
    strategy: 'leastRecentlyUsed', reserved: [], quarantineMs: 1_000, holdMs: 5_000, idleLimitMs: 86_400_000, idleAction: 'report', idleWarningMs: 3_600_000,
    connectionTimeoutMs: 0, domainTemplate: '', onConflict: 'block', tls: 'none', ...over,
  };
}

export function containerSpec(over: Partial<ContainerSpec> = {}): ContainerSpec {
  return {
    image: 'lab/jupyter:4', entrypoint: [], command: [], env: {}, workingDir: '', user: '', mounts: [], gpus: { kind: 'none' }, network: '', memoryBytes: 0, cpuMillis: 0,
    maxProcesses: 0, shmBytes: 0, ulimits: [], restart: 'unlessStopped', credentials: [], rotateCommand: ['rotate'], ...over,
  };
}

export function want(over: Partial<WantSpec> = {}): WantSpec {
  return {
    name: 'ssh', source: { kind: 'pool', pool: 'ssh' }, protocol: undefined, count: 1, contiguous: false,
    target: { kind: 'address', address: '10.0.0.5' }, internalPort: 0, choice: { kind: 'any' }, ...over,
  };
}

/** Deterministic chance: mulberry32. */
export function seeded(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = a;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** The rows that a journal would hold, with its constraints. */
export class Tables {
  gateway: StoredGateway['gateway'];
  readonly epochs: StoredGateway['epochs'] = [];
  readonly pools: StoredRows['pools'] = new Map();
  readonly hosts: StoredRows['hosts'] = new Map();
  readonly leases: StoredRows['leases'] = new Map();
  readonly environments: StoredRows['environments'] = new Map();
  readonly mappings: StoredRows['mappings'] = new Map();
  readonly requests: StoredRows['requests'] = new Map();
  readonly forgotten: StoredRows['forgotten'] = new Map();
  readonly overrides: StoredRows['overrides'] = new Map();
  readonly workloads: StoredRows['workloads'] = new Map();
  readonly tunnels: StoredRows['tunnels'] = new Map();
  readonly audits: Changes['audits'] = [];
  readonly events: Changes['events'] = [];

  constructor(scope: 'shared' | 'host') {
    this.gateway = { gateway: 'gw', ordinal: 1, scope, publicHost: '203.0.113.1', epoch: 0, sequence: 0, restoring: 'no' };
  }

  private noteEpoch(next: StoredGateway['gateway']): void {
    if (next.epoch > this.gateway.epoch) this.epochs.push({ epoch: next.epoch, sequence: this.gateway.sequence + 1 });
    if (this.gateway.restoring === 'reporting' && next.restoring === 'resting') this.epochs.splice(0, this.epochs.length - 1);
  }

  apply(changes: Changes | undefined): void {
    if (changes === undefined) return;
    assert.ok(changes.gateway.sequence >= this.gateway.sequence, 'S3: the sequence grows');
    this.noteEpoch(changes.gateway);
    this.gateway = { ...changes.gateway };
    applyRows(this, structuredClone(changes));
    this.audits.push(...changes.audits);
    this.events.push(...changes.events);
  }

  /** The main rules, repeated as a database would (S2). */
  check(): void {
    const ports = new Map<string, string>();
    for (const row of this.mappings.values()) {
      if (row.state === 'released') continue;
      const key = `${row.space}:${row.port}`;
      assert.equal(ports.get(key), undefined, `S2: two owners of ${key}`);
      ports.set(key, row.mappingId);
    }
  }

  stored(): StoredGateway {
    const rows = <T>(map: Map<string, T>): T[] => [...map.values()].map((row) => structuredClone(row));
    return {
      gateway: { ...this.gateway }, epochs: [...this.epochs], pools: rows(this.pools), hosts: rows(this.hosts), leases: rows(this.leases),
      environments: rows(this.environments), mappings: rows(this.mappings), requests: rows(this.requests),
      forgotten: rows(this.forgotten), overrides: rows(this.overrides), workloads: rows(this.workloads), tunnels: rows(this.tunnels),
    };
  }
}

/** An agent that does as it is told, when it is given a turn. */
export class FakeAgent {
  session = 0;
  accepted: { epoch: number; session: number; revision: number } | undefined;
  objects = new Map<string, DesiredObject>();
  /** What its kernel has: follows `objects` when it applies. */
  kernel = new Map<string, DesiredObject>();
  online = true;
  /** What it calls idle. */
  idle: IdleMapping[] = [];
  leaks: Leak[] = [];
  /** Leaks that its last heartbeat was told to repair. */
  toResolve: readonly string[] = [];
  /** As its hello says. */
  capabilities: readonly string[] = CAPABILITIES;
  /** '': it is not behind NAT. */
  tunnelKey = '';
  /** Mappings that it cannot serve, by id. */
  readonly unserved = new Map<string, { reason: string; message: string }>();
  /** What it says of its tunnels. */
  tunnels: TunnelReport[] = [];
  readonly confirmed = new Set<string>();
  /** Programs of others that listen on this machine, by port. */
  readonly foreign = new Map<number, string>();

  constructor(
    readonly host: string,
    readonly roles: ('host' | 'gateway')[],
    public address: string,
    public bootId = 'boot-1',
  ) {}

  accept(decision: Decision): void {
    for (const push of decision.pushes) {
      if (push.host !== this.host || push.session !== this.session || !this.online) continue;
      if (push.delta.base !== this.accepted?.revision) return;
      for (const object of push.delta.upserts) this.objects.set(object.key, object);
      for (const key of push.delta.removals) this.objects.delete(key);
      this.accepted = push.delta.version;
    }
  }

  apply(): void {
    this.kernel = new Map(this.objects);
  }

  private digested = { revision: -1, hex: '' };

  /** Digest of what it accepted, as its heartbeat carries it. */
  digest(): string {
    const revision = this.accepted?.revision ?? 0;
    if (this.digested.revision === revision) return this.digested.hex;
    const digest = new StateDigest();
    for (const { key, version } of this.objects.values()) digest.add(key, version);
    this.digested = { revision, hex: digest.hex() };
    return this.digested.hex;
  }

  confirmations(): Confirmation[] {
    const found: Confirmation[] = [];
    for (const object of this.kernel.values()) {
      if (object.kind === 'release') found.push({ key: object.key, generation: object.generation, ports: { first: object.port, last: object.port }, protocol: object.protocol });
      if (object.kind === 'withdrawal' || (object.kind === 'route' && object.fence)) found.push({ key: object.key, generation: object.generation, ports: object.ports, protocol: object.protocol });
    }
    return found;
  }
}

/** What an agent says of foreign processes: those on leased ports, and the mappings that they concern. */
function conflictsOf({ kernel, foreign, unserved }: FakeAgent): Pick<ReportCommand, 'occupied' | 'conflicts' | 'problems'> {
  const leased = [...kernel.values()].filter((object) => object.kind === 'lease');
  const found = [...foreign].filter(([port]) => leased.some(({ ports }) => ports.first <= port && port <= ports.last));
  const holder = { pid: 812, command: '/usr/bin/program', containerId: '', startedAtMs: 0, proxyFor: '', environment: '' };
  return {
    occupied: found.map(([port]) => ({ transport: 'tcp', port })),
    conflicts: found.map(([port, program]) => ({ transport: 'tcp', port, address: '0.0.0.0', uid: 33, user: 'www-data', holder: { ...holder, program } })),
    problems: [
      ...[...kernel.values()].filter((object) => object.kind === 'mapping').filter(({ port }) => foreign.has(port))
        .map(({ key, port }) => ({ key, reason: 'PORT_CONFLICT', message: `${foreign.get(port)} listens` })),
      ...Array.from(unserved, ([id, problem]) => ({ key: `mapping/${id}`, ...problem })),
    ],
  };
}

export class World {
  readonly tables: Tables;
  book: Book;
  readonly agents = new Map<string, FakeAgent>();
  nowMs = 1_000_000;
  readonly random: () => number;
  /** Of the coordinator's next start. */
  leakPolicy: 'report' | 'repair' = 'report';
  private requests = 0;

  constructor(scope: 'shared' | 'host', seed = 1) {
    this.tables = new Tables(scope);
    this.random = seeded(seed);
    this.book = this.start();
  }

  private start(): Book {
    const epoch = this.tables.gateway.epoch + 1;
    const stored = this.tables.stored();
    stored.epochs.push({ epoch, sequence: stored.gateway.sequence + 1 });
    return Book.restore(stored, { timing: TIMING, epoch, nowMs: this.nowMs, random: this.random, leakPolicy: this.leakPolicy });
  }

  /** The process dies and comes back on what was committed. */
  restart(): void {
    this.book = this.start();
    this.commit();
    for (const agent of this.agents.values()) agent.accepted = agent.accepted;
  }

  decide(command: Command): Reply {
    const decision = this.book.decide(command, this.nowMs);
    this.commit();
    for (const agent of this.agents.values()) agent.accept(decision);
    return decision.reply;
  }

  private commit(): void {
    this.tables.apply(this.book.takeChanges());
    this.tables.check();
  }

  addAgent(agent: FakeAgent): Reply {
    this.agents.set(agent.host, agent);
    return this.hello(agent);
  }

  hello(agent: FakeAgent): Reply {
    const reply = this.decide({
      kind: 'hello', actor: `host:${agent.host}`, host: agent.host, bootId: agent.bootId, agentVersion: '1', roles: agent.roles, addresses: [agent.address], capabilities: agent.capabilities, tunnelKey: agent.tunnelKey,
      lastSession: agent.session, accepted: agent.accepted, leases: [], routes: [], admit: true,
    });
    if (reply.kind !== 'welcome') return reply;
    agent.session = reply.session;
    agent.accepted = reply.state.version;
    agent.objects = new Map(reply.state.upserts.map((object) => [object.key, object]));
    this.heartbeat(agent);
    return reply;
  }

  heartbeat(agent: FakeAgent): void {
    if (!agent.online) return;
    const reply = this.decide({ kind: 'heartbeat', host: agent.host, session: agent.session, acceptedRevision: agent.accepted?.revision ?? 0, digest: agent.digest() });
    if (reply.kind === 'heartbeat') agent.toResolve = reply.resolveLeaks;
    if (reply.kind === 'heartbeat' && (reply.staleSession || reply.rebuild)) this.hello(agent);
  }

  /** The agent brings its kernel to what it accepted and says so. */
  report(agent: FakeAgent): Reply {
    agent.apply();
    return this.decide({
      kind: 'report', host: agent.host, session: agent.session, applied: agent.accepted as { epoch: number; session: number; revision: number },
      confirmations: agent.confirmations(), verified: [], driftRepairs: 0, idle: agent.idle, leaks: agent.leaks, tunnels: agent.tunnels, ...conflictsOf(agent),
    });
  }

  /** Lets reports go back and forth until nothing changes any more. */
  settle(): void {
    for (let round = 0; round < 20; round += 1) {
      const before = this.book.sequence;
      for (const agent of this.agents.values()) if (agent.online) this.report(agent);
      if (this.book.sequence === before) return;
    }
    throw new Error('the world does not settle');
  }

  /** Passes time in steps of a heartbeat; agents that are online send theirs. */
  pass(ms: number): void {
    for (let left = ms; left > 0; left -= TIMING.heartbeatMs) {
      this.nowMs += Math.min(left, TIMING.heartbeatMs);
      for (const agent of this.agents.values()) this.heartbeat(agent);
      this.decide({ kind: 'tick' });
    }
  }

  allocateCommand(environment: string, host: string, wants: WantSpec[], over: Partial<AllocateCommand> = {}): AllocateCommand {
    this.requests += 1;
    return {
      kind: 'allocate', actor: 'operator:local', requestId: `r-${this.requests}`, bodyHash: 'h', tenant: 't1', environment, host, wants, labels: {},
      dryRun: false, verify: false, ...over,
    };
  }

  /** Allocates, with the fence where it is needed; the reply is final. */
  allocate(environment: string, host: string, wants: WantSpec[], over: Partial<AllocateCommand> = {}): Reply {
    const command = this.allocateCommand(environment, host, wants, over);
    for (let round = 0; round < 50; round += 1) {
      const reply = this.decide(command);
      if (reply.kind !== 'waiting') return reply;
      this.settle();
    }
    throw new Error(`the allocation of ${environment} waits for ever`);
  }
}

/** A shared gateway with its agent and hosts a and b, and one pool. */
export function sharedWorld(pool: Partial<PoolSpec> = {}, seed = 1): World {
  const world = new World('shared', seed);
  world.addAgent(new FakeAgent('gw-1', ['gateway'], '10.77.0.1'));
  world.addAgent(new FakeAgent('a', ['host'], '10.77.0.11'));
  world.addAgent(new FakeAgent('b', ['host'], '10.77.0.12'));
  world.decide({ kind: 'createPool', actor: 'operator:local', pool: poolSpec(pool), seed: false });
  return world;
}

export function portsOf(reply: Reply): number[] {
  assert.equal(reply.kind, 'allocated', JSON.stringify(reply));
  return reply.kind === 'allocated' ? reply.mappings.map(({ port }) => port) : [];
}

export function reasonOf(reply: Reply): string {
  assert.equal(reply.kind, 'refused', JSON.stringify(reply));
  return reply.kind === 'refused' ? reply.reason : '';
}
