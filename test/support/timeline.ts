/** What a client saw through the public ports, and what must be true of it. Pure. */
import assert from 'node:assert/strict';
import type { Transport } from '../../shared/ports.js';

export type Outcome = 'reached' | 'refused' | 'unreachable' | 'timeout' | 'closed' | 'reset';

export type ProbeRecord = {
  /** When it was asked, and when the outcome was known: epoch ms of this machine. */
  sentAtMs: number;
  atMs: number;
  address: string;
  port: number;
  transport: Transport;
  /** A connection of its own, or a ping on the one that is kept open. */
  kind: 'new' | 'kept';
  /** Number of the connection, in the order of opening. */
  connection: number;
  outcome: Outcome;
  /** reached: who answered, and when by the same machine's clock. */
  who?: string;
  servedAtMs?: number;
  /** It came without having been asked for. */
  push?: boolean;
};

export type Timeline = ProbeRecord[];

export type Filter = { port?: number; ports?: readonly number[]; transport?: Transport; kind?: 'new' | 'kept'; afterMs?: number; beforeMs?: number };

/** The records of these ports that were asked for within the time. */
export function select(timeline: Timeline, filter: Filter): Timeline {
  return timeline.filter((record) =>
    (filter.port === undefined || record.port === filter.port) &&
    (filter.ports === undefined || filter.ports.includes(record.port)) &&
    (filter.transport === undefined || record.transport === filter.transport) &&
    (filter.kind === undefined || record.kind === filter.kind) &&
    (filter.afterMs === undefined || record.sentAtMs >= filter.afterMs) &&
    (filter.beforeMs === undefined || record.sentAtMs < filter.beforeMs));
}

/**
 * Nothing that `who` (or whoever's name begins with it) sent after `afterMs` reached the client: neither on a new connection nor on an old
 * one. Counted by when the service sent it, so that what was under way at `afterMs` does not matter.
 */
export function neverReached(timeline: Timeline, who: string, filter: Filter = {}): void {
  const { afterMs = 0, ...rest } = filter;
  const bad = select(timeline, rest).filter((record) => record.who?.startsWith(who) && (record.servedAtMs ?? 0) > afterMs);
  assert.equal(bad.length, 0, `${bad.length} times ${who} was reached after ${afterMs}, first:${shown(bad, afterMs)}`);
}

/** All that was reached is `who`; and something was. */
export function reachedOnly(timeline: Timeline, who: string, filter: Filter = {}): void {
  const reached = select(timeline, filter).filter((record) => record.outcome === 'reached');
  assert.ok(reached.length > 0, `nobody was reached; ${who} was expected`);
  const others = reached.filter((record) => !record.who?.startsWith(who));
  assert.equal(others.length, 0, `somebody else than ${who} was reached ${others.length} times, first:${shown(others, filter.afterMs)}`);
}

/** Nobody was reached, and it was tried. */
export function nobodyReached(timeline: Timeline, filter: Filter = {}): void {
  const tried = select(timeline, filter);
  assert.ok(tried.length > 0, 'nothing was tried');
  const reached = tried.filter((record) => record.outcome === 'reached');
  assert.equal(reached.length, 0, `somebody was reached ${reached.length} times, first:${shown(reached, filter.afterMs)}`);
}

/** Every attempt reached somebody, and there were some: the service was not interrupted for a client that makes these attempts. */
export function neverInterrupted(timeline: Timeline, filter: Filter = {}): void {
  const tried = select(timeline, filter);
  assert.ok(tried.length > 0, 'nothing was tried');
  const failed = tried.filter((record) => record.outcome !== 'reached');
  assert.equal(failed.length, 0, `${failed.length} of ${tried.length} attempts failed, first:${shown(failed, filter.afterMs)}`);
}

/** The kept connections of these ports are still those of the beginning. */
export function neverReconnected(timeline: Timeline, filter: Filter = {}): void {
  const connections = new Map<string, Set<number>>();
  for (const record of select(timeline, { ...filter, kind: 'kept' })) {
    const key = `${record.transport} ${record.address} ${record.port}`;
    connections.set(key, (connections.get(key) ?? new Set()).add(record.connection));
  }
  assert.ok(connections.size > 0, 'no connection was kept');
  for (const [key, numbers] of connections) assert.equal(numbers.size, 1, `${key}: ${numbers.size - 1} times a kept connection ended`);
}

/** Longest time, in ms, between two answers in a row, to attempts within the filter. */
export function gapMs(timeline: Timeline, filter: Filter = {}): number {
  const atMs = select(timeline, filter).filter((record) => record.outcome === 'reached').map((record) => record.atMs).sort((a, b) => a - b);
  assert.ok(atMs.length > 1, 'fewer than two answers');
  return Math.max(...atMs.slice(1).map((at, i) => at - (atMs[i] ?? at)));
}

/** No port was answered by two hosts at the same time (S1): each answer of one lies before or after all of the other. `hostOf` names the host. */
export function oneHostAtATime(timeline: Timeline, hostOf: (who: string) => string = (who) => who.split('/')[0] ?? who): void {
  const spans = new Map<string, { host: string; record: ProbeRecord }[]>();
  const served = timeline.filter((record) => record.who !== undefined).sort((a, b) => (a.servedAtMs ?? 0) - (b.servedAtMs ?? 0));
  for (const record of served) {
    const key = `${record.transport} ${record.port}`;
    const list = spans.get(key) ?? [];
    const host = hostOf(record.who ?? '');
    if (list.at(-1)?.host === host) continue;
    const before = list.find((entry) => entry.host === host);
    assert.equal(before, undefined, `${key}: ${host} answered again after ${list.at(-1)?.host ?? ''} had: ${JSON.stringify(record)}`);
    spans.set(key, [...list, { host, record }]);
  }
}

function shown(records: Timeline, afterMs = 0): string {
  return records.slice(0, 4).map((record) => `\n  +${record.sentAtMs - afterMs} ms ${JSON.stringify(record)}`).join('');
}
