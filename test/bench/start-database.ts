/**
 * A database as it is after many allocations: real books decide them, the journal's own interface writes them. Half of the mappings belong
 * to gateways with one port space each, half to hosts with a port space of their own; all of them are live.
 */
import { Book } from '../../coordinator/book/book.js';
import type { AllocateCommand, Command, GatewayRecord, PoolSpec, Reply, Scope } from '../../coordinator/book/types.js';
import type { Journal } from '../../coordinator/journal/journal.js';

type Part = { gateway: string; ordinal: number; scope: Scope; hosts: number; mappings: number };

const EACH = 1_000;
const AT_MS = 1_790_000_000_000;
const TIMING = { heartbeatMs: 5_000, deadlineMs: 3_000, suspectMs: 15_000, lostMs: 120_000 };

/** `mappings` is a multiple of 4,000. */
export async function fillDatabase(journal: Journal, mappings: number): Promise<void> {
  const parts: readonly Part[] = [
    { gateway: 'edge-1', ordinal: 1, scope: 'shared', hosts: mappings / 4 / EACH, mappings: mappings / 4 },
    { gateway: 'edge-2', ordinal: 2, scope: 'shared', hosts: mappings / 4 / EACH, mappings: mappings / 4 },
    { gateway: 'direct', ordinal: 3, scope: 'host', hosts: mappings / 2 / EACH, mappings: mappings / 2 },
  ];
  for (const part of parts) await new Filled(journal, part).fill();
}

class Filled {
  private readonly record: GatewayRecord;
  private readonly book: Book;
  private readonly hosts: string[];

  constructor(private readonly journal: Journal, private readonly part: Part) {
    const { gateway, ordinal, scope, hosts } = part;
    this.record = { gateway, ordinal, scope, publicHost: `${gateway}.example.com`, epoch: 1, sequence: 0, restoring: 'no' };
    const stored = { gateway: this.record, epochs: [], pools: [POOL], hosts: [], leases: [], environments: [], mappings: [], requests: [], forgotten: [], workloads: [], tunnels: [], overrides: [] };
    this.book = Book.restore(stored, { timing: TIMING, epoch: 1, nowMs: AT_MS, random: () => 0.5 });
    this.hosts = Array.from({ length: hosts }, (_, at) => `${gateway}-host-${at}`);
  }

  async fill(): Promise<void> {
    const { gateway, mappings } = this.part;
    await this.journal.createGateway({ ...this.record });
    let written = 0;
    const write = async (extra = {}): Promise<void> => {
      const changes = this.book.takeChanges();
      if (changes === undefined) return;
      await this.journal.append(gateway, written, { ...changes, ...extra });
      written = changes.gateway.sequence;
    };
    this.greet();
    await write({ pools: [POOL] });
    for (let n = 0; n < mappings; n += 1) {
      this.allocate(n);
      if (n % EACH === 0) await write();
    }
    this.reportAll();
    await write();
  }

  private greet(): void {
    const agents = this.hosts.map((host, at) => ({ host, roles: ['host' as const], addresses: [`10.${this.part.ordinal}.${Math.floor(at / 250)}.${(at % 250) + 1}`] }));
    const router = { host: `${this.part.gateway}-router`, roles: ['gateway' as const], addresses: [`10.${this.part.ordinal}.255.1`] };
    for (const agent of this.part.scope === 'shared' ? [router, ...agents] : agents) {
      this.decide({ kind: 'hello', actor: 'bench', bootId: 'b', agentVersion: '1', lastSession: 0, accepted: undefined, leases: [], routes: [], admit: true, ...agent });
    }
    this.reportAll();
  }

  private allocate(n: number): void {
    const command: AllocateCommand = {
      kind: 'allocate', actor: 'uid:0', requestId: `request-${this.part.gateway}-${n}`, bodyHash: '5d41402abc4b2a76b9719d911017c592', tenant: 'acme', environment: `env-${this.part.gateway}-${n}`,
      host: this.hosts[n % this.hosts.length] ?? '', labels: { team: 'ml' }, dryRun: false, verify: false,
      wants: [{ name: 'ssh', source: { kind: 'pool', pool: POOL.pool }, protocol: undefined, count: 1, contiguous: false, target: { kind: 'address', address: '10.200.0.1' }, internalPort: 22, choice: { kind: 'any' } }],
    };
    let reply = this.decide(command);
    if (reply.kind === 'waiting') {
      this.reportAll();
      reply = this.decide(command);
    }
    if (reply.kind !== 'allocated') throw new Error(`allocation ${n} of ${this.part.gateway} was answered ${JSON.stringify(reply)}`);
  }

  /** Every agent has done what it was told: the hosts first, since a route waits for its host. */
  private reportAll(): void {
    const { shared, hosts } = this.book.inside;
    for (const host of this.hosts) this.report(host);
    if (!shared) return;
    const router = `${this.part.gateway}-router`;
    const confirmations = (hosts.get(router)?.desired?.objects() ?? []).flatMap((object) =>
      (object.kind === 'route' && object.fence ? [{ key: object.key, generation: object.generation, ports: object.ports, protocol: object.protocol }] : []));
    this.report(router, confirmations);
  }

  private report(host: string, confirmations: Extract<Command, { kind: 'report' }>['confirmations'] = []): void {
    this.decide({ kind: 'report', host, session: 1, applied: { epoch: 1, session: 1, revision: this.book.sequence }, problems: [], confirmations, verified: [], driftRepairs: 0, occupied: [] });
  }

  private decide(command: Command): Reply {
    return this.book.decide(command, AT_MS).reply;
  }
}

const POOL: PoolSpec = {
  pool: 'ssh', description: '', serviceType: 'ssh', aliases: [], ranges: [{ first: 5_000, last: 64_999 }], protocol: 'tcp', defaultInternalPort: 22,
  strategy: 'leastRecentlyUsed', reserved: [], quarantineMs: 60_000, holdMs: 86_400_000, idleLimitMs: 0, idleAction: 'report', idleWarningMs: 3_600_000, connectionTimeoutMs: 0, domainTemplate: '', onConflict: 'block', tls: 'none',
};
