/**
 * The journal: makes the changes of a lease book durable before anything of them leaves the coordinator (S5).
 * Properties that callers may rely on:
 * - An append is wholly there or wholly absent, and when its promise resolves it survives SIGKILL and power cut.
 * - Sequences are compared in the same transaction: of two writers with the same expectation at most one succeeds.
 * - Every call is answered; nothing is retried behind the caller's back except appends that were certainly not written.
 * - Readers never see what is not committed.
 */
import type { AuditRecord, Changes, EventRecord, GatewayRecord, MappingRecord, StoredGateway } from '../book/types.js';

export interface Journal {
  gateways(): Promise<GatewayRecord[]>;

  /** What a book starts from, as of one commit; undefined when there is no such gateway. */
  load(gateway: string): Promise<StoredGateway | undefined>;

  /** Writes `changes` if the gateway is at `expectedSequence`, and leaves it at `changes.gateway.sequence`. Takes what it needs
   *  before it returns: the caller may change the records afterwards.
   *  @throws SequenceConflict, ConstraintViolated, OutcomeUnknown, JournalClosed */
  append(gateway: string, expectedSequence: number, changes: Changes): Promise<void>;

  /** @throws ConstraintViolated when the name or the ordinal is taken */
  createGateway(record: GatewayRecord): Promise<void>;

  /** Removes the gateway and all that is stored of it, audit records excepted. An absent one is no error.
   *  @throws ConstraintViolated while pools, hosts, leases or unreleased mappings belong to it */
  deleteGateway(gateway: string): Promise<void>;

  /** An append without rows: proves that this writer works and is the only one. What an earlier append with an unknown outcome
   *  left behind is settled by the load() that follows. Errors as append(). */
  barrier(gateway: string, expectedSequence: number, record: GatewayRecord): Promise<void>;

  /** Audit records in the order in which they were committed, of one gateway or of all. */
  listAudits(page: PageOf): Promise<StoredAudit[]>;

  /** Events of one gateway in order, and how far they have been purged, as of the same moment or later. */
  listEvents(page: EventsAfter): Promise<EventPage>;
  /** The same backwards. */
  listEventsBefore(page: EventsBefore): Promise<EventPage>;

  /** Who had a port, newest first, as far as a purge has put it down: it does when the events of that time go. */
  listFormerOwners(page: FormerOwnersOf): Promise<FormerOwner[]>;

  /** Deletes old events, audit records and former owners, and mappings that were released long ago and that no request names, in small transactions.
   *  After each `goOn` is awaited; false ends the purge. Answers how many rows went.
   *  @throws OutcomeUnknown, JournalClosed; what went until then is gone */
  purge(before: PurgeBefore, goOn: () => Promise<boolean>): Promise<Purged>;

  /** What purge() would delete. */
  countPurgeable(before: PurgeBefore): Promise<Purged>;

  /** 'ok', or the text of the failure that has not been overcome yet. */
  status(): string;

  /** Finishes what is being written, answers what waits with JournalClosed, lets go of the lock. */
  close(): Promise<void>;
}

/** Up to `limit` rows with an id above `afterId` (0: from the first one). */
export type PageOf = { gateway: string | undefined; afterId: number; limit: number };

/** Rows of before these times go; `nowMs` tells times of a wrong clock. */
export type PurgeBefore = { eventsAtMs: number; auditsAtMs: number; releasedAtMs: number; nowMs: number };

/** Rows by kind; mappings: released ones; owners: former ones, that are as old as audit records that go. */
export type Purged = { events: number; audits: number; mappings: number; owners: number };

/** Up to `limit`. */
export type FormerOwnersOf = { space: string; port: number; limit: number };

/** It had the port from `createdAtMs` on, until its quarantine ended at `releasedAtMs`. */
export type FormerOwner = Pick<MappingRecord, 'mappingId' | 'environment' | 'tenant' | 'name' | 'host' | 'protocol' | 'createdAtMs'> & { releasedAtMs: number };

/** A place between two events of a gateway: after the first `position` events of the decision `revision`; position 0: after all of
 *  them. Revisions are book sequences. */
export type EventCursor = { revision: number; position: number };

/** Up to `limit` events after the cursor, none with a higher sequence than `upTo`. */
export type EventsAfter = { gateway: string; after: EventCursor; upTo: number; limit: number };

/** Up to `limit` events that come before the event `position` of the decision `revision`, which need not exist. */
export type EventsBefore = { gateway: string; before: EventCursor; limit: number };

/** `position`: among the events of the same decision, from 1. */
export type StoredEvent = EventRecord & { gateway: string; position: number };

/** Every event with a sequence above `purgedTo` is kept; 0: none was ever purged. */
export type EventPage = { events: StoredEvent[]; purgedTo: number };

export type StoredAudit = AuditRecord & { id: number; gateway: string };

/** The gateway is not at the expected sequence, or does not exist: someone else wrote. Nothing of the append was written. */
export class SequenceConflict extends Error {
  override readonly name = 'SequenceConflict';
}

/** The append breaks a rule of the database: a defect of the book. Nothing of it was written; others were not harmed. */
export class ConstraintViolated extends Error {
  override readonly name = 'ConstraintViolated';
}

/** The append may be there or not: only load() tells, after a barrier. */
export class OutcomeUnknown extends Error {
  override readonly name = 'OutcomeUnknown';
}

export class JournalClosed extends Error {
  override readonly name = 'JournalClosed';
}
