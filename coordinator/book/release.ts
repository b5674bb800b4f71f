/** ReleasePorts, and taking everything back from a lost host. */
import { covers } from '../../shared/ports.js';
import { hostOf, refuseKept } from './duty.js';
import { lossOf, refuseMassLoss } from './mass-loss.js';
import { withdraw } from './leases.js';
import { giveUpAll } from './giving-up.js';
import { giveUp } from './mappings.js';
import { isInForce } from './states.js';
import { gatewayReady } from './shortage.js';
import { giveBack } from './workloads.js';
import type { Mapping, State } from './state.js';
import type { Command, ReleaseSelector, Reply } from './types.js';

/** Absent is fine: the answer is then empty. A release that is under way is answered again. */
export function release(state: State, selector: ReleaseSelector): Reply {
  const chosen = select(state, selector);
  giveUpAll(state, chosen);
  return { kind: 'released', mappings: chosen.map((mapping) => ({ ...mapping.record })), boundMs: boundOf(state, chosen) };
}

/** Everything that a lost host still has goes back behind the fence; its mappings are released. */
export function reclaimHost(state: State, { host: name, override }: Extract<Command, { kind: 'reclaimHost' }>): Reply {
  const host = hostOf(state, name);
  if ('kind' in host) return host;
  if (host.state !== 'lost') return { kind: 'refused', reason: 'HOST_NOT_LOST', message: `host ${name} is ${host.state}, not lost`, field: 'host', metadata: { host: name, state: host.state } };
  if (!override && host.record.keptUntilMs > state.nowMs) return refuseKept(host);
  if (!override && lossOf(state, host) !== undefined) return refuseMassLoss(state, host, { metadata: { host: name }, field: 'host' });
  if (state.shared && !gatewayReady(state)) {
    return { kind: 'refused', reason: 'GATEWAY_NOT_READY', message: `the gateway agent of ${state.gateway.gateway} has not said hello`, metadata: { gateway: state.gateway.gateway }, retryAfterMs: state.timing.heartbeatMs };
  }
  for (const workload of [...host.workloads]) giveBack(state, workload, { phase: 'deleting', removesVolumes: false });
  let mappings = 0;
  let ports = 0;
  for (const mapping of [...host.mappings]) {
    if (!isInForce(mapping.record.state)) continue;
    giveUp(state, mapping);
    mappings += 1;
  }
  if (state.shared) {
    for (const lease of [...host.leases]) {
      ports += lease.record.last - lease.record.first + 1;
      withdraw(state, lease, lease.record);
    }
  }
  return { kind: 'reclaimed', mappings, ports };
}

function select(state: State, selector: ReleaseSelector): Mapping[] {
  const owned = (mapping: Mapping | undefined): Mapping[] => (mapping === undefined || mapping.record.state === 'quarantined' ? [] : [mapping]);
  switch (selector.kind) {
    case 'environment':
      return [...(state.environments.get(selector.environment)?.mappings ?? [])];
    case 'mapping':
      return owned(state.mappings.get(selector.mappingId));
    case 'port': {
      const mapping = state.spaces.get(selector.space)?.mappingAt.get(selector.port);
      return mapping !== undefined && (covers(mapping.record.protocol, selector.protocol) || covers(selector.protocol, mapping.record.protocol)) ? owned(mapping) : [];
    }
  }
}

/** Within which time the releases end unless something else fails; undefined when only the host's return can end one. */
export function boundOf(state: State, mappings: readonly Mapping[]): number | undefined {
  const { suspectMs, lostMs, heartbeatMs } = state.timing;
  let bound: number | undefined = 0;
  for (const mapping of mappings) {
    if (mapping.record.state !== 'releasing') continue;
    const liveness = state.hosts.get(mapping.record.host)?.state ?? 'lost';
    const silent = liveness === 'suspect' || liveness === 'lost';
    const own: number | undefined = silent ? (state.shared ? suspectMs : undefined) : (liveness === 'unknown' ? lostMs : suspectMs) + 2 * heartbeatMs;
    bound = bound === undefined || own === undefined ? undefined : Math.max(bound, own);
  }
  return bound === 0 ? undefined : bound;
}
