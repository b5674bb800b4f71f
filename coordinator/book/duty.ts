/** What operators say of a host that is there: cordon, drain, hold. */
import { withdraw } from './leases.js';
import { gatewayReady } from './shortage.js';
import { mayReclaim } from './mass-loss.js';
import { isServed, runs } from './leftover.js';
import type { Host, State } from './state.js';
import type { Command, Refusal, Reply } from './types.js';

type DutyCommand = Extract<Command, { kind: 'cordonHost' | 'uncordonHost' | 'drainHost' }>;
type HoldCommand = Extract<Command, { kind: 'holdHost' }>;

export function unknownHost(host: string): Refusal {
  return { kind: 'refused', reason: 'HOST_UNKNOWN', message: `there is no host ${host}`, field: 'host', metadata: { host } };
}

/** Why a host that is not open gets no new ports. */
export function refuseCordoned({ record: { host, duty } }: Host): Refusal {
  if (duty === 'forgetting') return refuseForgetting(host);
  return { kind: 'refused', reason: 'HOST_CORDONED', message: `host ${host} is ${duty}: it gets no new ports`, field: 'host', metadata: { host, duty } };
}

export function refuseForgetting(host: string): Refusal {
  return { kind: 'refused', reason: 'HOST_FORGETTING', message: `host ${host} is being forgotten`, field: 'host', metadata: { host } };
}

export function refuseKept({ record: { host, keptUntilMs } }: Host): Refusal {
  const until = new Date(keptUntilMs).toISOString();
  return { kind: 'refused', reason: 'HOST_KEPT', message: `host ${host} is kept until ${until}`, field: 'host', metadata: { host, kept_until: until } };
}

/** The host, unless there is none or it is being forgotten. */
export function hostOf(state: State, name: string): Host | Refusal {
  const host = state.hosts.get(name);
  if (host === undefined) return unknownHost(name);
  return host.record.duty === 'forgetting' ? refuseForgetting(name) : host;
}

/** Said twice it changes nothing. */
export function setDuty(state: State, command: DutyCommand): Reply {
  const host = hostOf(state, command.host);
  if ('kind' in host) return host;
  const { record } = host;
  const was = record.duty;
  switch (command.kind) {
    case 'cordonHost': record.duty = 'cordoned'; break;
    case 'uncordonHost': record.duty = 'open'; break;
    case 'drainHost': record.duty = was === 'drained' ? was : 'draining'; break;
  }
  if (record.duty !== was) {
    state.dirtyHost(host);
    const kind = record.duty === 'cordoned' ? 'HostCordoned' : record.duty === 'open' ? 'HostUncordoned' : 'HostDraining';
    state.event(kind, { host: record.host, detail: JSON.stringify({ reason: command.reason }) });
  }
  drain(state, host);
  return { kind: 'host', host: { ...record } };
}

/** `forMs` 0 ends it. */
export function holdHost(state: State, command: HoldCommand): Reply {
  const host = hostOf(state, command.host);
  if ('kind' in host) return host;
  if (command.forMs > 0) {
    host.record.keptUntilMs = state.nowMs + command.forMs;
    state.event('HostKept', { host: command.host, detail: JSON.stringify({ untilMs: host.record.keptUntilMs, reason: command.reason }) });
    state.dirtyHost(host);
  } else endKept(state, host);
  return { kind: 'host', host: { ...host.record } };
}

/** Time passes: a hold ends, a host that drains gives back what has become unused. */
export function passDuty(state: State, host: Host): void {
  if (host.record.keptUntilMs <= state.nowMs) endKept(state, host);
  drain(state, host);
}

function endKept(state: State, host: Host): void {
  if (host.record.keptUntilMs === 0) return;
  host.record.keptUntilMs = 0;
  state.dirtyHost(host);
  state.event('HostKeptOver', { host: host.record.host });
}

/** What no environment has goes back to the pools, in a shared space behind the fence; from a silent host as with any other. */
function drain(state: State, host: Host): void {
  if (host.record.duty !== 'draining') return;
  const mayTake = host.state === 'alive' || (host.state === 'lost' && mayReclaim(state, host));
  if (mayTake && (!state.shared || gatewayReady(state))) giveBack(state, host);
  if (!isEmpty(state, host)) return;
  host.record.duty = 'drained';
  state.dirtyHost(host);
  state.event('HostDrained', { host: host.record.host });
}

function giveBack(state: State, host: Host): void {
  for (const lease of [...host.leases]) {
    // Until the gateway confirmed it, it is not known what of it is unused.
    if (lease.record.state === 'fencing') continue;
    const space = state.space(lease.record.space);
    for (const run of runs(lease.record, (port) => !isServed(state, lease, port))) {
      const current = state.leaseAt(space, run.first);
      if (current !== undefined) withdraw(state, current, run);
    }
  }
}

/** Neither a lease nor a mapping is left, and nothing that it had is on its way back. */
export function isEmpty(state: State, host: Host): boolean {
  if (host.leases.size > 0 || host.mappings.size > 0 || host.guarding.size > 0) return false;
  for (const { record } of state.withdrawing) if (record.host === host.record.host) return false;
  return true;
}
