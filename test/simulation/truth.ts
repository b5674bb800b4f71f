/**
 * What must hold, checked from outside: on what the database holds, on the kernels, and on what callers were told. Each message begins with
 * the safety rule that is broken.
 */
import type { Changes, HostRecord, MappingRecord, Restoring } from '../../coordinator/book/types.js';
import { compareVersions } from '../../shared/desired.js';
import { targetText } from '../../shared/target.js';
import type { AcceptedState } from '../../agent/state/accepted.js';
import type { Database } from './database.js';
import type { Flow } from './kernel.js';
import type { Machine } from './machine.js';

/** A connection of a client: through the gateway, or straight to a host. */
export type Connection = { readonly id: number; readonly port: number; readonly atGateway: { machine: Machine; flow: Flow } | undefined; readonly atHost: { machine: Machine; flow: Flow }; readonly sinceMs: number };

export type World = {
  scope: 'shared' | 'host';
  database: Database;
  /** Two of them may claim to be the same host. */
  machines: Machine[];
  /** Those that were switched off for ever, too. */
  everyMachine: Machine[];
  connections: Set<Connection>;
  ports: { first: number; last: number };
  quarantineMs: number;
  lostMs: number;
  idleWarningMs: number;
  /** The container at `address` is, or was, one of that environment's. */
  isOf: (address: string, owner: { environment: string; tenant: string }) => boolean;
};

type Owner = Pick<MappingRecord, 'mappingId' | 'environment' | 'tenant' | 'target' | 'state' | 'host'>;

export class Truth {
  /** By "space:port". */
  readonly #owners = new Map<string, Owner>();
  /** When the release of a port's last mapping was durable, and whose it was. */
  readonly #restedSince = new Map<string, { environment: string; tenant: string; atMs: number }>();
  /** By mapping: the newest event that said when it will be released as idle. */
  readonly #warned = new Map<string, { atMs: number; releaseAtMs: number }>();
  readonly #generations = new Map<string, number>();
  #newestGrant = { epoch: 0, generation: 0 };
  /** By "host number": the session that a machine had to know to be given it, and the machine that accepted it. */
  readonly #sessions = new Map<string, { mustKnow: number; machine: Machine | undefined }>();
  /** Machines without memory that were welcomed on an older copy, with the epoch of it: what they are told may be outdated. */
  readonly #untold = new Map<Machine, { epoch: number; isBeingTold: boolean }>();
  /** By host: of every database that there was. */
  readonly #newestSessions = new Map<string, number>();
  /** Hosts whose next hello may come from any machine. */
  readonly #replaceable = new Set<string>();
  /** Rules or connections have changed since check() looked. */
  isDirty = false;
  /** An older copy of the database is in use, and agents have not told it yet what happened since: nobody knows who owns what. */
  #isUnknown = false;
  /** How far the restore was at the last commit. */
  #phase: Restoring = 'no';
  /** Hosts that the restore goes on without. */
  readonly #waived = new Set<string>();
  #wasRestored = false;
  #restores = 0;
  /** In scope host: those that the older copy has never heard of. Their ports are nobody's, until
   *  they are created again and have applied what they are told then: they are given leases. */
  readonly #strangers = new Set<string>();
  idleReleases = 0;
  /** The first rule that was broken. */
  breach: string | undefined;

  constructor(private readonly world: World) {}

  /** The database is an older copy from now on. `isBehind`: some machine knows more; another one may hear more that was on its way. */
  restored(isBehind: boolean): void {
    this.#isUnknown = isBehind;
    this.#wasRestored = true;
    this.#restores += 1;
    this.#phase = 'no';
    this.#owners.clear();
    this.#waived.clear();
    this.#sessions.clear();
    this.#warned.clear();
    this.#replaceable.clear();
    this.#strangers.clear();
    for (const { host } of this.world.scope === 'host' ? this.world.machines : []) if (!this.world.database.stored.hosts.has(host)) this.#strangers.add(host);
    for (const { host, replaceable } of this.world.database.stored.hosts.values()) if (replaceable) this.#replaceable.add(host);
    for (const mapping of this.world.database.stored.mappings.values()) if (mapping.state !== 'released') this.#owners.set(`${mapping.space}:${mapping.port}`, { ...mapping });
  }

  get isUnknown(): boolean {
    return this.#isUnknown;
  }

  /** Every machine that is left has reported. */
  endRestore(): void {
    this.#isUnknown = false;
  }

  #followRestore(next: Restoring): void {
    const before = this.#phase;
    this.#phase = next;
    if (next !== 'no') {
      this.#isUnknown = true;
      this.#wasRestored = false;
    } else if (before !== 'no') this.#isUnknown = false;
  }

  note(breach: string): void {
    this.breach ??= breach;
  }

  /** A commit is on the disk. By the coordinator's clock: `nowMs`, for how long its process has served, and has just stood still. `atMs`: in truth. */
  committed(changes: Changes, { nowMs, upMs, stalledMs, atMs }: { nowMs: number; upMs: number; stalledMs: number; atMs: number }): void {
    this.isDirty = true;
    const hasAdopted = this.#phase === 'reporting' && changes.gateway.restoring === 'resting';
    this.#followRestore(changes.gateway.restoring);
    for (const { leaseId, epoch, generation } of changes.leases) this.#checkGrant(leaseId, epoch, generation);
    this.#noteHosts(changes);
    for (const mapping of changes.mappings) this.#noteMapping(mapping, { nowMs, decidedMs: nowMs - stalledMs });
    if (hasAdopted) this.#checkAdoption();
    this.#checkAudits(changes);
    this.#checkIdle(changes, { nowMs, upMs, atMs });
    const expired = changes.events.find(({ kind }) => kind === 'LeaseExpired');
    if (expired !== undefined && upMs < this.world.lostMs - 50) this.note(`S9: a lease of ${expired.host} expired ${upMs} ms after the coordinator started`);
  }

  #noteHosts({ audits, hosts, leases, removedHosts }: Changes): void {
    const done = (wanted: string): string[] => audits.filter(({ action, outcome }) => action === wanted && outcome === 'ok').map(({ detail }) => (JSON.parse(detail) as { host: string }).host);
    for (const host of done('ReplaceHost')) this.#replaceable.add(host);
    for (const host of done('WaiveHost')) this.#waived.add(host);
    for (const host of hosts) this.#noteSession(host);
    // A host of which the older copy knows nothing may be forgotten before it has said what it has.
    if (this.#isUnknown && this.world.scope === 'host') for (const host of removedHosts) this.#strangers.add(host);
    for (const { host } of leases) this.#strangers.delete(host);
  }

  /** What an agent serves rightly, and clients reach, is in the book that goes on after a restore. */
  #checkAdoption(): void {
    const { machines, everyMachine, scope } = this.world;
    for (const machine of machines) {
      const isOnly = !everyMachine.some((other) => other !== machine && other.host === machine.host);
      const entry = scope === 'host' ? machine : machines.find(({ options }) => options.roles.includes('gateway'));
      const hasReported = ![...this.#waived, ...this.#strangers].some((host) => host === machine.host || host === entry?.host);
      if (entry !== undefined && isOnly && hasReported) this.#checkAdopted(machine, entry);
    }
  }

  #checkAdopted(machine: Machine, entry: Machine): void {
    for (const object of machine.disk.objects.values()) {
      const reached = object.kind === 'mapping' ? this.reach(entry, object.port) : undefined;
      if (object.kind !== 'mapping' || reached?.kind !== 'target' || reached.machine !== machine || reached.to !== targetText(object.target)) continue;
      const key = `${this.world.scope === 'shared' ? 'gw' : `gw/${machine.host}`}:${object.port}`;
      if (this.#owners.get(key)?.mappingId !== object.mappingId) this.note(`S13: ${machine.host} serves ${object.mappingId} on ${key}, and after the restore it is not known`);
    }
  }

  #checkGrant(leaseId: string, epoch: number, generation: number): void {
    const known = this.#generations.get(leaseId);
    // What agents held is read back under the epoch in which they heard of it.
    if (known === generation) return;
    if (known !== undefined) this.note(`S3: lease ${leaseId} was granted at ${known} and says ${generation} now`);
    this.#generations.set(leaseId, generation);
    const newest = this.#newestGrant;
    if (epoch < newest.epoch || (epoch === newest.epoch && generation < newest.generation)) this.note(`S3: lease ${leaseId} is granted at ${epoch}.${generation}, after ${newest.epoch}.${newest.generation}`);
    this.#newestGrant = { epoch, generation };
  }

  #noteMapping(mapping: MappingRecord, { nowMs, decidedMs }: { nowMs: number; decidedMs: number }): void {
    const key = `${mapping.space}:${mapping.port}`;
    const owner = this.#owners.get(key);
    if (mapping.state === 'released') {
      if (owner?.mappingId === mapping.mappingId) this.#owners.delete(key);
      return;
    }
    if (owner?.mappingId !== mapping.mappingId && !this.#isUnknown) this.#checkRest(key, mapping, nowMs);
    if (mapping.state === 'quarantined' && owner?.state !== 'quarantined') this.#restedSince.set(key, { environment: mapping.environment, tenant: mapping.tenant, atMs: decidedMs });
    if (mapping.state === 'live' && owner?.state !== 'live' && !this.#isUnknown) this.#checkLive(mapping);
    this.#owners.set(key, { ...mapping });
  }

  /** What is called live was brought about, by the host and by the gateway. */
  #checkLive({ mappingId, generation, host, port }: MappingRecord): void {
    const { everyMachine, machines, scope } = this.world;
    const own = everyMachine.filter((machine) => machine.host === host);
    if (!own.some(({ kernel }) => kernel.hadRules.has(`${mappingId} ${generation}`))) this.note(`S7: ${mappingId} is called live, and ${host} has never had its rule`);
    const gateway = machines.find(({ options }) => options.roles.includes('gateway'));
    const isRouted = scope === 'host' || own.some(({ address }) => gateway?.kernel.hadRules.has(`${port} ${address}`));
    if (!isRouted) this.note(`S1: ${mappingId} is called live, and the gateway has never led port ${port} to ${host}`);
  }

  #checkRest(key: string, { environment, tenant, mappingId }: MappingRecord, nowMs: number): void {
    const rested = this.#restedSince.get(key);
    if (rested === undefined || (rested.environment === environment && rested.tenant === tenant)) return;
    const forMs = nowMs - rested.atMs;
    // A commit is later than its decision, by no more than this.
    if (forMs < this.world.quarantineMs - 50) this.note(`S12: ${mappingId} of ${environment} got ${key} ${forMs} ms after it was released by ${rested.environment}`);
  }

  /** What is released as idle was warned of in time, by the process that releases it, and nobody was connected all that while. */
  #checkIdle({ events, audits, mappings }: Changes, { nowMs, upMs, atMs }: { nowMs: number; upMs: number; atMs: number }): void {
    for (const { action, detail } of audits) {
      if (action !== 'ReleaseIdle') continue;
      this.idleReleases += 1;
      const { mappingId, host, port } = JSON.parse(detail) as { mappingId: string; host: string; port: number };
      const warned = this.#warned.get(mappingId);
      const what = `${mappingId} (port ${port} on ${host}) was released as idle`;
      if (warned === undefined || nowMs < warned.releaseAtMs) this.note(`S9: ${what} without a warning, or before its time`);
      if (upMs < this.world.idleWarningMs) this.note(`S9: ${what} ${upMs} ms after the coordinator started`);
      if (this.#phase !== 'no') this.note(`S9: ${what} during a restore`);
      if (!mappings.some((mapping) => mapping.mappingId === mappingId && mapping.reason === 'IDLE')) this.note(`S11: ${what}, and stays`);
      if (warned !== undefined && this.#wasUsed(host, port, warned.atMs)) this.note(`S9: ${what} while a client was connected`);
    }
    for (const { kind, mappingId, detail } of events) {
      if (kind === 'PortActive') this.#warned.delete(mappingId);
      if (kind === 'PortIdle') this.#warned.set(mappingId, { atMs, releaseAtMs: (JSON.parse(detail) as { releaseAtMs: number }).releaseAtMs || Infinity });
    }
  }

  /** All of the time, through the only machine of that name. */
  #wasUsed(host: string, port: number, fromMs: number): boolean {
    if (this.world.everyMachine.filter((machine) => machine.host === host).length > 1) return false;
    return [...this.world.connections].some(({ atHost: { machine, flow }, sinceMs }) => machine.host === host && flow.port === port && sinceMs < fromMs && machine.kernel.flows.has(flow.id));
  }

  #checkAudits({ audits, mappings, requests }: Changes): void {
    // A request names another mapping from the transaction on in which one of its numbers was exchanged.
    const exchanged = new Set(audits.filter(({ action }) => action === 'RenumberPort').map(({ detail }) => (JSON.parse(detail) as { mapping: string }).mapping));
    for (const { requestId, mappingIds } of requests) {
      const of = audits.filter((audit) => audit.requestId === requestId && audit.outcome === 'ok');
      if (of.length > 1 || (of.length === 0 && !mappingIds.some((id) => exchanged.has(id)))) this.note(`S11: request ${requestId} left ${of.length} audit records in its transaction (${mappings.length} mappings)`);
    }
  }

  /** A machine has written what it accepted. */
  accepted(machine: Machine, before: AcceptedState, after: AcceptedState): void {
    const { epoch, sequence } = this.world.database.stored.gateway;
    if (this.#wasRestored && after.version !== undefined && (after.version.epoch > epoch || (after.version.epoch === epoch && after.version.revision > sequence))) this.#isUnknown = true;
    // It guards what it is told to, and an older copy of the database may not know that clients are led to it.
    if (before.session === 0 && this.#isUnknown) this.#untold.set(machine, { epoch, isBeingTold: false });
    if (after.session < before.session) this.note(`S4: ${machine.host} went from session ${before.session} to ${after.session}`);
    if (after.session > before.session) this.#checkSession(machine, before.session, after.session);
    if (before.version !== undefined && (after.version === undefined || compareVersions(after.version, before.version) < 0)) this.note(`S4: ${machine.host} accepted an older state`);
  }

  /** An agent serves what it accepted, and nothing else, whether there is a coordinator or not. */
  ruled(machine: Machine, { served, before, now }: { served: readonly string[]; before: AcceptedState; now: AcceptedState }): void {
    const untold = this.#untold.get(machine);
    // The round that begins now applies it; the next one begins when it has.
    if (untold?.isBeingTold === true) this.#untold.delete(machine);
    else if (untold !== undefined) untold.isBeingTold = (now.version?.epoch ?? 0) > untold.epoch;
    const has = ({ objects }: AcceptedState, id: string): boolean => objects.has(`mapping/${id}`) || objects.has(`route/${id}`);
    const stranger = served.find((id) => !has(before, id) && !has(now, id));
    if (stranger !== undefined) this.note(`S7: ${machine.host} serves ${stranger}, which it has not accepted`);
    for (const [key, object] of now.objects) {
      if (object.kind !== 'mapping' || !before.objects.has(key) || served.includes(object.mappingId)) continue;
      this.note(`S13: ${machine.host} does not serve ${object.mappingId}, which it has accepted and which nobody took away`);
    }
  }

  /** Only a machine that knows the newest session in use is given another one. */
  #noteSession({ host, session, confirmedSession, replaceable }: HostRecord): void {
    const key = `${host} ${session}`;
    this.#newestSessions.set(host, Math.max(session, this.#newestSessions.get(host) ?? 0));
    if (!this.#sessions.has(key)) this.#sessions.set(key, { mustKnow: this.#replaceable.has(host) ? 0 : confirmedSession, machine: undefined });
    if (replaceable) this.#replaceable.add(host);
    else this.#replaceable.delete(host);
  }

  #checkSession(machine: Machine, knew: number, session: number): void {
    const given = this.#sessions.get(`${machine.host} ${session}`);
    if (given === undefined) {
      // Two hellos of one transaction: only the newer session has left a row. A welcome may be on its way while an older copy takes the database's place.
      const newest = this.#newestSessions.get(machine.host) ?? 0;
      if (newest < session) this.note(`S5: ${machine.host} was given session ${session}, and ${newest} was the newest on the disk`);
      return;
    }
    if (given.machine !== undefined && given.machine !== machine) this.note(`S4: two machines of ${machine.host} accepted session ${session}`);
    if (knew < given.mustKnow) this.note(`S4: a machine that knew session ${knew} of ${machine.host} was given session ${session}, and ${given.mustKnow} was in use`);
    given.machine = machine;
  }

  /** Looks at everything that a client could reach now. */
  check(): void {
    if (!this.isDirty) return;
    this.isDirty = false;
    const { world } = this;
    const reached = new Map<string, Machine>();
    for (const connection of world.connections) this.#checkConnection(connection, reached);
    if (world.scope === 'shared') this.#checkNewOnes('gw', world.machines.find(({ options }) => options.roles.includes('gateway')), reached);
    else for (const machine of world.machines) this.#checkNewOnes(`gw/${machine.host}`, machine, reached);
  }

  #checkConnection(connection: Connection, reached: Map<string, Machine>): void {
    const { atGateway, atHost, port } = connection;
    const isOpen = atHost.machine.kernel.flows.has(atHost.flow.id) && (atGateway === undefined || atGateway.machine.kernel.flows.has(atGateway.flow.id));
    if (isOpen) this.#checkReach(this.world.scope === 'shared' ? 'gw' : `gw/${atHost.machine.host}`, port, { address: atHost.flow.to, machine: atHost.machine, by: 'an open connection', reached });
    else this.world.connections.delete(connection);
  }

  #checkNewOnes(space: string, entry: Machine | undefined, all: Map<string, Machine>): void {
    if (entry === undefined) return;
    const { first, last } = this.world.ports;
    for (let port = first; port <= last; port += 1) {
      const reached = this.reach(entry, port);
      if (reached?.kind === 'target') this.#checkReach(space, port, { address: reached.to, machine: reached.machine, by: 'a new connection', reached: all });
      else if (reached?.kind === 'local' && this.world.scope === 'shared' && !reached.machine.hadForeign.has(port) && !this.#untold.has(reached.machine) && !this.#untold.has(entry)) this.note(`S7: port ${port} leads to whatever listens on ${reached.machine.host}`);
    }
  }

  /** Where a new connection through `entry` ends; undefined: nowhere. */
  reach(entry: Machine, port: number): { kind: 'target'; to: string; toPort: number; machine: Machine } | { kind: 'local'; machine: Machine } | undefined {
    const place = entry.kernel.placeOf(port);
    if (place.kind === 'dropped') return undefined;
    if (place.kind === 'local') return this.world.scope === 'shared' ? undefined : { kind: 'local', machine: entry };
    if (this.world.scope === 'host') return { ...place, machine: entry };
    const host = this.world.machines.find((machine) => machine.address === place.to);
    const behind = host?.kernel.placeOf(place.toPort);
    if (host === undefined || behind === undefined || behind.kind === 'dropped') return undefined;
    return behind.kind === 'target' ? { ...behind, machine: host } : { kind: 'local', machine: host };
  }

  /**
   * What a waived host serves nobody knows. Of two machines that say they are one host only the newer one was asked what it serves: what the other
   * one does nobody knows either. It may go on until the gateway has confirmed that the ports lead elsewhere: nobody is given them before that.
   */
  #isForgotten({ host, disk }: Machine, port: number): boolean {
    if (this.#restores === 0) return false;
    const { hosts, leases } = this.world.database.stored;
    return disk.session < (hosts.get(host)?.confirmedSession ?? 0) || [...leases.values()].some(({ state, first, last }) => (state === 'withdrawing' || state === 'fencing') && first <= port && last >= port);
  }

  #checkReach(space: string, port: number, { address, machine, by, reached }: { address: string; machine: Machine; by: string; reached: Map<string, Machine> }): void {
    const key = `${space}:${port}`;
    const owner = this.#owners.get(key);
    const what = `${by} to port ${port} of ${space} reaches ${address} on ${machine.host} (${machine.address})`;
    const other = reached.get(key) ?? machine;
    reached.set(key, machine);
    if (other !== machine) return this.note(`S1: ${what}, and others reach ${other.host} (${other.address})`);
    if (this.#isUnknown || this.#strangers.has(machine.host)) return;
    if (owner === undefined && this.#isForgotten(machine, port)) return;
    if (owner === undefined) return this.note(`S8: ${what}, and nobody has the port`);
    if (owner.state === 'quarantined') return this.note(`S12: ${what}, and the port was released by ${owner.environment} already`);
    if (targetText(owner.target) === address) return;
    if (!this.world.isOf(address, owner)) return this.note(`S1: ${what}, but it is ${owner.environment}'s (${targetText(owner.target)}, ${owner.state})`);
    if (owner.state === 'live') this.note(`S1: ${what}, but ${owner.environment} has moved and lives at ${targetText(owner.target)}`);
  }
}
