/** The journal on a disk in memory: commits take time, fail, or get lost with the power; constraints as in the real one. */
import { ConstraintViolated, JournalClosed, OutcomeUnknown, SequenceConflict, type EventPage, type EventsAfter, type FormerOwner, type Journal, type Purged, type StoredAudit, type StoredEvent } from '../../coordinator/journal/journal.js';
import type { AuditRecord, Changes, EventRecord, GatewayRecord, MappingRecord, StoredGateway } from '../../coordinator/book/types.js';
import { applyRows, listRows, noRows, type StoredRows } from '../support/stored-rows.js';
import type { Chance } from './random.js';
import type { Life, Time } from './time.js';

/** What is on the disk of a coordinator, of its one gateway. Records are never changed in place. */
export type Stored = StoredRows & { gateway: GatewayRecord; epochs: StoredGateway['epochs'] };

/** How the disk behaves: what the next commits come to. */
export type Weather = 'fine' | 'full' | 'failing';

/** Told of each commit, right after it is on the disk. */
export type OnCommit = (changes: Changes) => void;

export class Database {
  stored: Stored;
  /** Everything that was committed, in order. */
  events: StoredEvent[] = [];
  /** Grows when a backup takes the place of what was there. */
  history = 0;
  weather: Weather = 'fine';
  /** Written, but lost when the power fails: the next commits of `stored`, in order. */
  unsynced: Changes[] = [];
  /** Mapping that owns a port, by "space:port". */
  private readonly owners = new Map<string, string>();

  constructor(gateway: GatewayRecord, private readonly onCommit: OnCommit) {
    this.stored = { gateway, epochs: [], ...noRows() };
  }

  /** What a process finds that opens it after another one was killed. */
  afterKill(): void {
    for (const changes of this.unsynced.splice(0)) this.apply(changes);
  }

  /** Of what was not synced, any beginning may be there. */
  afterPowerCut(chance: Chance): void {
    const kept = this.unsynced.slice(0, chance.between(0, this.unsynced.length));
    this.unsynced = [];
    for (const changes of kept) this.apply(changes);
  }

  copy(): Stored {
    const { gateway, epochs, ...maps } = this.stored;
    const copies = Object.fromEntries(Object.entries(maps).map(([name, map]) => [name, new Map(map as Map<string, unknown>)]));
    return { gateway: { ...gateway }, epochs: [...epochs], ...copies } as Stored;
  }

  apply(changes: Changes): void {
    const { stored } = this;
    applyRows(stored, changes);
    noteEpoch(stored, changes.gateway);
    stored.gateway = changes.gateway;
    for (const mapping of changes.mappings) this.noteOwner(mapping);
    this.keepEvents(changes);
    this.onCommit(changes);
  }

  /** Replaces everything: a backup is put in the place of what was there. */
  restore(stored: Stored): void {
    this.stored = stored;
    this.unsynced = [];
    this.history += 1;
    this.events = this.events.filter(({ sequence }) => sequence <= stored.gateway.sequence);
    this.owners.clear();
    for (const mapping of stored.mappings.values()) this.noteOwner(mapping);
  }

  /** The rule that `changes` would break: no port with two owners, no two leases that overlap. */
  problemOf(changes: Changes): string | undefined {
    const freed = new Set(changes.mappings.filter(({ state }) => state === 'released').map(({ mappingId }) => mappingId));
    const taken = new Map<string, string>();
    for (const { mappingId, space, port, state } of changes.mappings) {
      if (state === 'released') continue;
      const key = `${space}:${port}`;
      const owner = taken.get(key) ?? this.owners.get(key);
      if (owner !== undefined && owner !== mappingId && !freed.has(owner)) return `S2: ${owner} and ${mappingId} both own port ${key}`;
      taken.set(key, mappingId);
    }
    return changes.leases.length === 0 ? undefined : this.overlapOf(changes);
  }

  private overlapOf(changes: Changes): string | undefined {
    const leases = new Map(this.stored.leases);
    for (const id of changes.removedLeases) leases.delete(id);
    for (const lease of changes.leases) leases.set(lease.leaseId, lease);
    const inOrder = [...leases.values()].sort((a, b) => (a.space === b.space ? a.first - b.first : a.space < b.space ? -1 : 1));
    const at = inOrder.findIndex((lease, index) => {
      const next = inOrder[index + 1];
      return next?.space === lease.space && next.first <= lease.last;
    });
    return at === -1 ? undefined : `S2: leases ${inOrder[at]?.leaseId} and ${inOrder[at + 1]?.leaseId} overlap`;
  }

  private keepEvents({ gateway: { gateway }, events }: Changes): void {
    for (const event of events) {
      const before = this.events.at(-1);
      this.events.push({ ...event, gateway, position: before?.sequence === event.sequence ? before.position + 1 : 1 });
    }
  }

  private noteOwner({ mappingId, space, port, state }: MappingRecord): void {
    const key = `${space}:${port}`;
    if (state !== 'released') this.owners.set(key, mappingId);
    else if (this.owners.get(key) === mappingId) this.owners.delete(key);
  }
}

/** As the triggers of the real database do it. */
function noteEpoch({ gateway, epochs }: Stored, next: GatewayRecord): void {
  if (next.epoch > gateway.epoch) epochs.push({ epoch: next.epoch, sequence: next.sequence });
  if (gateway.restoring === 'reporting' && next.restoring === 'resting') epochs.splice(0, epochs.length - 1);
}

/** What the real journal gives a book to start from. */
export function storedGateway(stored: Stored): StoredGateway {
  const named = new Set([...stored.requests.values()].flatMap(({ mappingIds }) => mappingIds));
  const newest = new Map<string, MappingRecord>();
  for (const mapping of stored.mappings.values()) {
    const key = `${mapping.space}:${mapping.port}`;
    if ((newest.get(key)?.releasedSequence ?? -1) < mapping.releasedSequence) newest.set(key, mapping);
  }
  const kept = [...stored.mappings.values()].filter((mapping) => mapping.state !== 'released' || named.has(mapping.mappingId) || newest.get(`${mapping.space}:${mapping.port}`) === mapping);
  const { gateway, epochs, ...rows } = stored;
  return { ...listRows(rows), gateway: { ...gateway }, epochs: [...epochs], mappings: kept };
}

/** One process's journal on a database. Its promises are kept only while its process lives. */
export class SimulatedJournal implements Journal {
  #last: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(private readonly database: Database, private readonly of: { time: Time; life: Life; chance: Chance; onBreach: (rule: string) => void }) {}

  gateways(): Promise<GatewayRecord[]> {
    return this.#inTurn(() => Promise.resolve([{ ...this.database.stored.gateway }]));
  }

  load(): Promise<StoredGateway | undefined> {
    return this.#inTurn(async () => {
      await this.#wait(this.of.chance.between(1, 5));
      return storedGateway(this.database.stored);
    });
  }

  append(_gateway: string, expectedSequence: number, changes: Changes): Promise<void> {
    const rows = copied(changes);
    return this.#inTurn(() => this.#commit(expectedSequence, rows));
  }

  barrier(_gateway: string, expectedSequence: number, record: GatewayRecord): Promise<void> {
    return this.append(_gateway, expectedSequence, { ...NO_ROWS, gateway: record });
  }

  async #commit(expectedSequence: number, changes: Changes): Promise<void> {
    const { chance } = this.of;
    await this.#wait(chance.between(0, 2));
    const { weather, stored } = this.database;
    if (stored.gateway.sequence !== expectedSequence) throw new SequenceConflict(`the gateway is at ${stored.gateway.sequence}, not at ${expectedSequence}`);
    if (weather === 'full') throw new OutcomeUnknown('the disk is full');
    const problem = this.database.problemOf(changes);
    if (problem !== undefined) {
      this.of.onBreach(problem);
      throw new ConstraintViolated(problem);
    }
    const isLost = weather === 'failing' && chance.oneIn(2);
    if (!isLost) this.database.unsynced.push(changes);
    await this.#wait(chance.between(0, 3));
    this.database.afterKill();
    if (weather === 'failing') throw new OutcomeUnknown(`an I/O error${isLost ? '' : ', after it was written'}`);
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => { this.of.time.plan(ms, this.of.life, resolve); });
  }

  /** One operation at a time, as on one connection. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(() => {
      if (this.#isClosed) throw new JournalClosed('the journal is closed');
      return work();
    });
    this.#last = result.catch(() => undefined);
    return result;
  }

  createGateway(): Promise<void> { return Promise.reject(new Error('the simulation has one gateway')); }
  deleteGateway(): Promise<void> { return Promise.reject(new Error('the simulation has one gateway')); }
  listAudits(): Promise<StoredAudit[]> { return Promise.resolve([]); }

  /** On a connection of its own, beside the commits. */
  async listEvents({ after, upTo, limit }: EventsAfter): Promise<EventPage> {
    await this.#wait(1);
    const isWanted = ({ sequence, position }: StoredEvent): boolean =>
      sequence <= upTo && (sequence > after.revision || (sequence === after.revision && after.position > 0 && position > after.position));
    return { events: this.database.events.filter(isWanted).slice(0, limit), purgedTo: 0 };
  }

  listEventsBefore(): Promise<EventPage> { return Promise.resolve({ events: [], purgedTo: 0 }); }
  purge(): Promise<Purged> { return Promise.resolve({ events: 0, audits: 0, mappings: 0, owners: 0 }); }
  listFormerOwners(): Promise<FormerOwner[]> { return Promise.resolve([]); }
  countPurgeable(): Promise<Purged> { return this.purge(); }
  status(): string { return 'ok'; }

  close(): Promise<void> {
    this.#isClosed = true;
    return Promise.resolve();
  }
}

const NO_ROWS: Omit<Changes, 'gateway'> = {
  removedPools: [], removedHosts: [], removedLeases: [], removedEnvironments: [], removedRequests: [], removedForgotten: [], removedOverrides: [], removedWorkloads: [], removedTunnels: [], forgotten: [], workloads: [], tunnels: [], overrides: [], pools: [], hosts: [], leases: [],
  environments: [], mappings: [], requests: [], events: [] as EventRecord[], audits: [] as AuditRecord[],
};

/** The book changes its records afterwards. */
function copied(changes: Changes): Changes {
  const copies = <T extends object>(records: readonly T[]): T[] => records.map((record) => ({ ...record }));
  return {
    ...changes, gateway: { ...changes.gateway }, pools: copies(changes.pools), hosts: copies(changes.hosts), leases: copies(changes.leases),
    environments: copies(changes.environments), mappings: copies(changes.mappings), requests: copies(changes.requests),
  };
}
