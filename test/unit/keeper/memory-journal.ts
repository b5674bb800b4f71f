/** A journal in memory that fails when it is told to. What was appended is kept as the SQLite journal keeps it. */
import type { AuditRecord, Changes, GatewayRecord, StoredGateway } from '../../../coordinator/book/types.js';
import { applyRows, listRows, noRows, type StoredRows } from '../../support/stored-rows.js';
import { SequenceConflict, type EventPage, type EventsAfter, type EventsBefore, type FormerOwner, type Journal, type Purged, type StoredEvent } from '../../../coordinator/journal/journal.js';

type Tables = StoredRows & { gateway: GatewayRecord; epochs: StoredGateway['epochs'] };

/** What an append does instead of succeeding; 'lands': it is written, and the failure is thrown all the same. */
type Fault = { error: Error; lands?: boolean };

export class MemoryJournal implements Journal {
  readonly audits: AuditRecord[] = [];
  readonly appended: Changes[] = [];
  /** Of all gateways, in the order of their commits. */
  events: StoredEvent[] = [];
  purgedTo = 0;
  /** How often pages of events were read. */
  eventReads = 0;
  /** Asked before each append and barrier; undefined: it succeeds. */
  faultOf: (changes: Changes | undefined) => Fault | undefined = () => undefined;
  /** Loads that fail before one succeeds again. */
  failingLoads = 0;
  #gate: Promise<void> = Promise.resolve();
  readonly #tables = new Map<string, Tables>();

  /** Appends wait until the result is called. */
  hold(): () => void {
    let open!: () => void;
    this.#gate = new Promise((resolve) => { open = resolve; });
    return open;
  }

  gateways(): Promise<GatewayRecord[]> {
    return Promise.resolve([...this.#tables.values()].map(({ gateway }) => ({ ...gateway })));
  }

  load(gateway: string): Promise<StoredGateway | undefined> {
    const tables = this.#tables.get(gateway);
    if (this.failingLoads > 0) {
      this.failingLoads -= 1;
      return Promise.reject(new Error('disk I/O error'));
    }
    if (tables === undefined) return Promise.resolve(undefined);
    const { gateway: record, epochs, ...rows } = tables;
    return Promise.resolve(structuredClone({ gateway: record, epochs, ...listRows(rows) }));
  }

  async append(gateway: string, expectedSequence: number, changes: Changes): Promise<void> {
    const copy = structuredClone(changes);
    await this.#gate;
    const tables = this.#tables.get(gateway);
    if (tables?.gateway.sequence !== expectedSequence) throw new SequenceConflict(`at ${tables?.gateway.sequence ?? -1}, not ${expectedSequence}`);
    const fault = this.faultOf(copy);
    if (fault === undefined || fault.lands === true) this.#write(tables, copy);
    if (fault !== undefined) throw fault.error;
  }

  async barrier(gateway: string, expectedSequence: number, record: GatewayRecord): Promise<void> {
    const tables = this.#tables.get(gateway);
    if (tables?.gateway.sequence !== expectedSequence) throw new SequenceConflict('the barrier came too late');
    const fault = this.faultOf(undefined);
    if (fault !== undefined) throw fault.error;
    await Promise.resolve();
    if (record.epoch > tables.gateway.epoch) tables.epochs.push({ epoch: record.epoch, sequence: record.sequence });
    tables.gateway = { ...record };
  }

  createGateway(record: GatewayRecord): Promise<void> {
    this.#tables.set(record.gateway, { gateway: { ...record }, epochs: [], ...noRows() });
    return Promise.resolve();
  }

  deleteGateway(gateway: string): Promise<void> {
    this.#tables.delete(gateway);
    return Promise.resolve();
  }

  listAudits(): Promise<never[]> { return Promise.resolve([]); }

  listEvents({ gateway, after, upTo, limit }: EventsAfter): Promise<EventPage> {
    this.eventReads += 1;
    const isWanted = (event: StoredEvent): boolean => event.sequence > after.revision || (event.sequence === after.revision && after.position > 0 && event.position > after.position);
    const events = this.events.filter((event) => event.gateway === gateway && event.sequence <= upTo && isWanted(event));
    return Promise.resolve({ events: events.slice(0, limit), purgedTo: this.purgedTo });
  }

  listEventsBefore({ gateway, before, limit }: EventsBefore): Promise<EventPage> {
    const isWanted = ({ sequence, position }: StoredEvent): boolean => sequence < before.revision || (sequence === before.revision && position < before.position);
    const events = this.events.filter((event) => event.gateway === gateway && event.sequence > this.purgedTo && isWanted(event));
    return Promise.resolve({ events: events.reverse().slice(0, limit), purgedTo: this.purgedTo });
  }

  purge(): Promise<Purged> { return Promise.resolve({ events: 0, audits: 0, mappings: 0, owners: 0 }); }
  listFormerOwners(): Promise<FormerOwner[]> { return Promise.resolve([]); }
  countPurgeable(): Promise<Purged> { return this.purge(); }
  status(): string { return 'ok'; }
  close(): Promise<void> { return Promise.resolve(); }

  #write(tables: Tables, changes: Changes): void {
    this.appended.push(changes);
    this.audits.push(...changes.audits);
    for (const event of changes.events) {
      const before = this.events.at(-1);
      this.events.push({ ...event, gateway: changes.gateway.gateway, position: before?.sequence === event.sequence ? before.position + 1 : 1 });
    }
    tables.gateway = changes.gateway;
    applyRows(tables, changes);
  }
}
