/** What time alone brings about: late and lost heartbeats, the end of a quarantine, idle leases, requests that are forgotten. */
import { renumber } from './conflicts.js';
import { passDuty } from './duty.js';
import { finishForgetting } from './forget.js';
import { forgetIdle } from './idle.js';
import { forgetLeaks } from './leaks.js';
import { expireLeases, withdraw } from './leases.js';
import { watchLosses } from './mass-loss.js';
import { freePort, vacate } from './mappings.js';
import { endRest } from './restoring.js';
import { fenceReleasing } from './giving-up.js';
import { touchTunnels } from './tunnel-reports.js';
import { watchUsage } from './usage.js';
import { gatewayReady, isIdle, keepReserve } from './shortage.js';
import type { Deadline, Host, Request, State } from './state.js';

export const REQUEST_KEPT_MS = 7 * 24 * 3_600_000;

export function tick(state: State): void {
  const late = state.nowMs - state.lastTickMs > 2 * state.timing.heartbeatMs;
  state.lastTickMs = state.nowMs;
  if (late) {
    // The process stood still: heartbeats may wait in its sockets. Nobody is suspected before they were read (S9).
    for (const host of state.hosts.values()) host.heardAtMs = state.nowMs;
    return;
  }
  // Nothing expires, and nothing is taken, while it is not known what there is (S9).
  if (state.gateway.restoring === 'reporting') return;
  endRest(state);
  for (const host of [...state.hosts.values()]) {
    watch(state, host);
    if (host.record.duty === 'forgetting') finishForgetting(state, host);
    else passDuty(state, host);
  }
  watchLosses(state);
  for (let due = state.deadlines.peek(); due !== undefined && due.key <= state.nowMs; due = state.deadlines.peek()) {
    state.deadlines.pop();
    meet(state, due.value);
  }
  forgetRequests(state);
  if (state.toRenumber.size > 0) renumber(state);
  for (const pool of state.pools.values()) for (const poolSpace of pool.spaces.values()) keepReserve(state, poolSpace);
  watchUsage(state);
}

/** Looks at the request again after 7 days: it is forgotten once all its mappings have been released for as long. */
export function remember(state: State, request: Request): void {
  state.remembered.push({ atMs: state.nowMs + REQUEST_KEPT_MS, request });
}

function watch(state: State, host: Host): void {
  if (host.state === 'lost' || (host.record.bootId === '' && host.leases.size === 0)) return;
  const silentMs = state.nowMs - host.heardAtMs;
  if (silentMs > state.timing.lostMs) lose(state, host);
  else if (host.state === 'alive' && silentMs > state.timing.suspectMs) {
    host.state = 'suspect';
    state.event('HostSuspect', { host: host.record.host, detail: `{"silentMs":${Math.round(silentMs)}}` });
    fenceReleasing(state, host);
  }
}

function lose(state: State, host: Host): void {
  host.state = 'lost';
  forgetIdle(host);
  forgetLeaks(host);
  touchTunnels(state, host);
  host.record.lostAtMs = state.nowMs;
  state.dirtyHost(host);
  state.event('HostLost', { host: host.record.host });
  expireLeases(state, host);
  fenceReleasing(state, host);
  state.progress = true;
}

function meet(state: State, deadline: Deadline): void {
  switch (deadline.kind) {
    case 'quarantine':
      if (deadline.mapping.record.state !== 'quarantined') return;
      vacate(state, deadline.mapping);
      freePort(state, deadline.mapping.record);
      return;
    case 'idleLease': {
      const { lease } = deadline;
      const current = state.leases.get(lease.record.leaseId) === lease;
      if (!state.shared || !current || !isIdle(state, lease)) return;
      // From a silent host nothing is taken before somebody needs it.
      const answers = state.hosts.get(lease.record.host)?.state === 'alive';
      if (answers && gatewayReady(state)) withdraw(state, lease, lease.record);
      else state.deadlines.push(state.nowMs + state.timing.lostMs, deadline);
      return;
    }
    default:
      deadline satisfies never;
  }
}

function forgetRequests(state: State): void {
  for (let next = state.remembered.peek(); next !== undefined && next.atMs <= state.nowMs; next = state.remembered.peek()) {
    state.remembered.shift();
    const { request } = next;
    const newest = request.mappings.reduce((latest, { record }) => Math.max(latest, record.state === 'released' ? record.untilMs : state.nowMs), request.record.atMs);
    if (newest + REQUEST_KEPT_MS > state.nowMs) remember(state, request);
    else forget(state, request);
  }
}

function forget(state: State, request: Request): void {
  state.requests.delete(request.record.requestId);
  state.dirty.requests.delete(request);
  state.dirty.removedRequests.push(request.record.requestId);
  state.changed = true;
}
