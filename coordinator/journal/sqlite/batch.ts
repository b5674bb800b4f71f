/**
 * One transaction in one statement. An INSERT into the view `batch` fires a trigger that compares the sequences and writes every
 * table, its rows taken from JSON. One statement is one trip to the SQLite thread and, without BEGIN, one transaction: it is
 * wholly there or wholly rolled back. (At one append a transaction this is 1.7 times as quick as BEGIN, a statement for each
 * table, COMMIT.)
 */
import type { Changes, GatewayRecord } from '../../book/types.js';
import type { Value } from './connection.js';
import { AUDIT, ENVIRONMENT, EVENT, FORGOTTEN, HOST, LEASE, MAPPING, OVERRIDE, POOL, REQUEST, TUNNEL, WORKLOAD, type Row, type Table } from './rows.js';

/** What is in a slot of the batch: a JSON array; '' for none. */
export type Batch = Record<Slot, string>;

const SLOTS = ['compare', 'removed_pool', 'removed_host', 'removed_lease', 'removed_environment', 'removed_request',
  'removed_forgotten_host', 'removed_mass_loss_override', 'removed_workload', 'removed_tunnel', 'forgotten_host', 'mass_loss_override',
  'pool', 'host', 'lease', 'environment', 'mapping', 'request', 'workload', 'tunnel', 'event', 'audit'] as const;
type Slot = (typeof SLOTS)[number];

/** Part of the error when a sequence was not the expected one. */
export const CONFLICT = 'sequence conflict';

export const WRITE_BATCH = `INSERT INTO batch VALUES (${SLOTS.map(() => '?').join(', ')})`;

/** Each part begins with "IS NOT NULL": then SQLite prepares nothing (no set for IN, no cursor) for what the batch does not have.
 *  Leases and mappings are deleted and inserted again: so a port or a range may pass from one row to another within a batch, in
 *  whatever order the rows come. */
export const PREPARE_BATCH = `
CREATE TEMP VIEW batch (${SLOTS.join(', ')}) AS SELECT ${SLOTS.map(() => 'NULL').join(', ')};
CREATE TEMP TRIGGER write_batch INSTEAD OF INSERT ON batch BEGIN
  UPDATE gateway SET scope = v.value ->> 2, public_host = v.value ->> 3, epoch = v.value ->> 4, sequence = v.value ->> 5, restoring = v.value ->> 6
    FROM jsonb_each(NEW.compare) v WHERE gateway.gateway = v.value ->> 1 AND gateway.sequence = v.value ->> 0;
  SELECT RAISE(ABORT, '${CONFLICT}') WHERE changes() <> json_array_length(NEW.compare);
  ${remove('pool', '(gateway, pool)', 'value ->> 0, value ->> 1')}
  ${remove('host', 'host', 'value')}
  ${remove('lease', 'lease_id', 'value')}
  ${remove('environment', 'environment', 'value')}
  ${remove('request', '(gateway, request_id)', 'value ->> 0, value ->> 1')}
  ${remove('forgotten_host', '(gateway, host)', 'value ->> 0, value ->> 1')}
  ${remove('mass_loss_override', '(gateway, scope)', 'value ->> 0, value ->> 1')}
  ${remove('workload', 'environment', 'value')}
  ${remove('tunnel', 'tunnel', 'value')}
  ${upsert(POOL, 'gateway, pool')}
  ${upsert(HOST, 'host')}
  DELETE FROM lease WHERE NEW.lease IS NOT NULL AND lease_id IN (SELECT value ->> 0 FROM jsonb_each(NEW.lease));
  ${insert(LEASE)};
  ${upsert(ENVIRONMENT, 'environment')}
  DELETE FROM mapping WHERE NEW.mapping IS NOT NULL AND mapping_id IN (SELECT value ->> 0 FROM jsonb_each(NEW.mapping));
  ${insert(MAPPING)};
  ${upsert(REQUEST, 'gateway, request_id')}
  ${upsert(FORGOTTEN, 'gateway, host')}
  ${upsert(OVERRIDE, 'gateway, scope')}
  ${upsert(WORKLOAD, 'environment')}
  ${upsert(TUNNEL, 'tunnel')}
  ${insert(EVENT)};
  ${insert(AUDIT)};
END;`;

/** `changes` as a batch. Nothing of it refers to the records afterwards. */
export function batchOf(gateway: string, expectedSequence: number, changes: Changes): Batch {
  const named = (name: string): Row => [gateway, name];
  return {
    ...comparison(gateway, expectedSequence, changes.gateway),
    removed_pool: arrayOf(changes.removedPools.map(named)),
    removed_host: arrayOf(changes.removedHosts),
    removed_lease: arrayOf(changes.removedLeases),
    removed_environment: arrayOf(changes.removedEnvironments),
    removed_request: arrayOf(changes.removedRequests.map(named)),
    removed_forgotten_host: arrayOf(changes.removedForgotten.map(named)),
    removed_mass_loss_override: arrayOf(changes.removedOverrides.map(named)),
    removed_workload: arrayOf(changes.removedWorkloads),
    removed_tunnel: arrayOf(changes.removedTunnels),
    forgotten_host: rows(FORGOTTEN, gateway, changes.forgotten),
    mass_loss_override: rows(OVERRIDE, gateway, changes.overrides),
    pool: rows(POOL, gateway, changes.pools),
    host: rows(HOST, gateway, changes.hosts),
    lease: rows(LEASE, gateway, changes.leases),
    environment: rows(ENVIRONMENT, gateway, changes.environments),
    mapping: rows(MAPPING, gateway, changes.mappings),
    request: rows(REQUEST, gateway, changes.requests),
    workload: rows(WORKLOAD, gateway, changes.workloads),
    tunnel: rows(TUNNEL, gateway, changes.tunnels),
    event: rows(EVENT, gateway, changes.events),
    audit: rows(AUDIT, gateway, changes.audits),
  };
}

/** A batch that compares the sequence and writes the gateway's row, nothing else. */
export function comparison(gateway: string, expectedSequence: number, record: GatewayRecord): Batch {
  const empty = Object.fromEntries(SLOTS.map((slot) => [slot, ''])) as Batch;
  return { ...empty, compare: JSON.stringify([[expectedSequence, gateway, record.scope, record.publicHost, record.epoch, record.sequence, record.restoring]]) };
}

/** The values of WRITE_BATCH for batches of different gateways. */
export function valuesOf(batches: readonly Batch[]): Value[] {
  return SLOTS.map((slot) => {
    const [first, ...others] = batches.map((batch) => batch[slot]).filter((part) => part !== '');
    if (first === undefined || others.length === 0) return first ?? null;
    return `[${[first, ...others].map((part) => part.slice(1, -1)).join(',')}]`;
  });
}

/** Characters of JSON in a batch: what a transaction costs grows with it. */
export function charactersOf(batch: Batch): number {
  return SLOTS.reduce((sum, slot) => sum + batch[slot].length, 0);
}

function rows<Record>(table: Table<Record>, gateway: string, records: readonly Record[]): string {
  return arrayOf(records.map((record) => table.encode(gateway, record)));
}

function arrayOf(values: readonly (Row | string)[]): string {
  return values.length === 0 ? '' : JSON.stringify(values);
}

function remove(table: string, key: string, value: string): string {
  return `DELETE FROM ${table} WHERE NEW.removed_${table} IS NOT NULL AND ${key} IN (SELECT ${value} FROM jsonb_each(NEW.removed_${table}));`;
}

function insert<Record>({ name, columns }: Table<Record>): string {
  const values = columns.map((_, i) => `json_extract(value, '$[${i}]')`).join(', ');
  return `INSERT INTO ${name} (${columns.join(', ')}) SELECT ${values} FROM jsonb_each(NEW.${name}) WHERE NEW.${name} IS NOT NULL`;
}

function upsert<Record>(table: Table<Record>, key: string): string {
  const others = table.columns.filter((column) => !key.split(', ').includes(column));
  return `${insert(table)} ON CONFLICT (${key}) DO UPDATE SET ${others.map((column) => `${column} = excluded.${column}`).join(', ')};`;
}
