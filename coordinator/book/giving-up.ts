/** Mappings are given up: by their host, or by the gateway where that is silent. */
import { giveUp } from './mappings.js';
import { gatewayReady, reclaim } from './shortage.js';
import { isInForce } from './states.js';
import type { Host, Mapping, State } from './state.js';

export function giveUpAll(state: State, mappings: readonly Mapping[]): void {
  const chosen = [...mappings];
  for (const mapping of chosen) if (isInForce(mapping.record.state)) giveUp(state, mapping);
  for (const mapping of chosen) fenceIfSilent(state, mapping);
}

/** On a silent host in a shared space the gateway ends a release: the port is split off and withdrawn. */
export function fenceIfSilent(state: State, mapping: Mapping): void {
  const host = state.hosts.get(mapping.record.host);
  const silent = host === undefined || host.state === 'suspect' || host.state === 'lost';
  if (silent && gatewayReady(state) && mapping.record.state === 'releasing') reclaim(state, mapping);
}

export function fenceReleasing(state: State, host: Host): void {
  for (const mapping of [...host.mappings]) fenceIfSilent(state, mapping);
}
