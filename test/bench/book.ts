/** Decisions per second of the lease book alone: one port from a pool of 60,000 at 0, 50 and 99 % use, slowest strategy. */
import { Book } from '../../coordinator/book/book.js';
import type { AllocateCommand, Command, PoolSpec, StoredGateway, Strategy } from '../../coordinator/book/types.js';
import { median, type Row } from './rows.js';

const PORTS = 60_000;
const HOSTS = 1;
const ROUNDS = 5;
const OPERATIONS = 500;
const LEVELS = { p0: 0, p50: PORTS / 2, p99: (PORTS * 99) / 100 };
const STRATEGIES: readonly Strategy[] = ['sequential', 'random', 'leastRecentlyUsed'];

export function benchBook(): Row[] {
  const rows: Row[] = [];
  for (const level of Object.keys(LEVELS) as (keyof typeof LEVELS)[]) {
    const figures = STRATEGIES.map((strategy) => measure(strategy, LEVELS[level]));
    rows.push({ name: `book.allocate.${level}`, value: Math.round(Math.min(...figures.map(({ allocate }) => allocate))), unit: '1/s' });
    rows.push({ name: `book.release.${level}`, value: Math.round(Math.min(...figures.map(({ release }) => release))), unit: '1/s' });
  }
  return rows;
}

/** Median over rounds of short runs at one level of use: allocations, and the same number of releases with their confirmations. */
function measure(strategy: Strategy, used: number): { allocate: number; release: number } {
  const pool = new FullPool(strategy);
  pool.fill(used);
  for (let warm = 0; warm < 40; warm += 1) pool.round(OPERATIONS);
  const rounds = Array.from({ length: ROUNDS * 20 }, () => pool.round(OPERATIONS));
  return { allocate: median(rounds.map(({ allocate }) => allocate)), release: median(rounds.map(({ release }) => release)) };
}

class FullPool {
  private readonly book: Book;
  private nowMs = 1;
  private count = 0;
  private readonly hosts = Array.from({ length: HOSTS }, (_, at) => `host-${at}`);

  constructor(strategy: Strategy) {
    const stored: StoredGateway = {
      gateway: { gateway: 'gw', ordinal: 1, scope: 'shared', publicHost: '203.0.113.1', epoch: 0, sequence: 0, restoring: 'no' }, epochs: [],
      pools: [spec(strategy)], hosts: [], leases: [], environments: [], mappings: [], requests: [], forgotten: [], workloads: [], tunnels: [], overrides: [],
    };
    const timing = { heartbeatMs: 5_000, deadlineMs: 3_000, suspectMs: 1e12, lostMs: 2e12 };
    let seed = 1;
    const random = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
    this.book = Book.restore(stored, { timing, epoch: 1, nowMs: this.nowMs, random });
    for (const [at, host] of ['gw-1', ...this.hosts].entries()) {
      const roles = at === 0 ? (['gateway'] as const) : (['host'] as const);
      this.decide({ kind: 'hello', actor: 'bench', host, bootId: 'b', agentVersion: '1', roles: [...roles], addresses: [`10.0.0.${at + 1}`], lastSession: 0, accepted: undefined, leases: [], routes: [], admit: true });
      this.report(host);
    }
  }

  fill(used: number): void {
    while (this.count < used) this.allocate();
    this.book.takeChanges();
  }

  /** `n` allocations, then their releases: confirmed by the hosts and rested, so that the level stays. */
  round(n: number): { allocate: number; release: number } {
    const environments: { environment: string; host: string; mappingId: string; port: number; generation: number }[] = [];
    const commands = Array.from({ length: n }, () => this.command());
    const start = performance.now();
    const replies = commands.map((command) => this.book.decide(command, this.nowMs).reply);
    const allocated = performance.now();
    for (const [at, reply] of replies.entries()) {
      if (reply.kind !== 'allocated') throw new Error(`the bench was told ${JSON.stringify(reply)}`);
      const mapping = reply.mappings[0];
      if (mapping === undefined) throw new Error('no mapping');
      environments.push({ environment: (commands[at] as AllocateCommand).environment, host: mapping.host, mappingId: mapping.mappingId, port: mapping.port, generation: mapping.generation });
    }
    this.book.takeChanges();
    const begin = performance.now();
    for (const { environment } of environments) this.book.decide({ kind: 'release', actor: 'bench', selector: { kind: 'environment', environment } }, this.nowMs);
    const released = performance.now();
    this.book.takeChanges();
    for (const host of this.hosts) {
      const confirmations = environments.filter((one) => one.host === host)
        .map(({ mappingId, generation, port }) => ({ key: `release/${mappingId}`, generation, ports: { first: port, last: port }, protocol: 'tcp' as const }));
      this.decide({ kind: 'report', host, session: 1, applied: { epoch: 1, session: 1, revision: this.book.sequence }, problems: [], confirmations, verified: [], driftRepairs: 0, occupied: [] });
    }
    this.nowMs += 2_000;
    this.decide({ kind: 'tick' });
    return { allocate: (n / (allocated - start)) * 1_000, release: (n / (released - begin)) * 1_000 };
  }

  private allocate(): void {
    const command = this.command();
    for (;;) {
      const { reply } = this.book.decide(command, this.nowMs);
      if (reply.kind === 'allocated') return;
      if (reply.kind !== 'waiting') throw new Error(`the bench was told ${JSON.stringify(reply)}`);
      this.fence();
    }
  }

  private fence(): void {
    const confirmations = (this.book.inside.hosts.get('gw-1')?.desired?.objects() ?? []).flatMap((object) =>
      object.kind === 'withdrawal' || (object.kind === 'route' && object.fence) ? [{ key: object.key, generation: object.generation, ports: object.ports, protocol: object.protocol }] : []);
    this.decide({ kind: 'report', host: 'gw-1', session: 1, applied: { epoch: 1, session: 1, revision: this.book.sequence }, problems: [], confirmations, verified: [], driftRepairs: 0, occupied: [] });
    for (const host of this.hosts) this.report(host);
  }

  private report(host: string): void {
    this.decide({ kind: 'report', host, session: 1, applied: { epoch: 1, session: 1, revision: this.book.sequence }, problems: [], confirmations: [], verified: [], driftRepairs: 0, occupied: [] });
  }

  private decide(command: Command): void {
    this.book.decide(command, this.nowMs);
  }

  private command(): AllocateCommand {
    this.count += 1;
    return {
      kind: 'allocate', actor: 'bench', requestId: `request-${this.count}`, bodyHash: 'h', tenant: 't', environment: `env-${this.count}`,
      host: this.hosts[this.count % HOSTS] as string, labels: {}, dryRun: false, verify: false,
      wants: [{ name: 'ssh', source: { kind: 'pool', pool: 'ssh' }, protocol: undefined, count: 1, contiguous: false, target: { kind: 'address', address: '10.1.0.1' }, internalPort: 22, choice: { kind: 'any' } }],
    };
  }
}

function spec(strategy: Strategy): PoolSpec {
  return {
    pool: 'ssh', description: '', serviceType: 'ssh', aliases: [], ranges: [{ first: 5_000, last: 4_999 + PORTS }], protocol: 'tcp', defaultInternalPort: 22,
    strategy, reserved: [], quarantineMs: 1_000, holdMs: 1_000, idleLimitMs: 0, idleAction: 'report', idleWarningMs: 3_600_000, connectionTimeoutMs: 0, domainTemplate: '', onConflict: 'block', tls: 'none',
  };
}

if (process.argv[1] === import.meta.filename) for (const row of benchBook()) console.log(JSON.stringify(row));
