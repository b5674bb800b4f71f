/** Which clients may use a mapping, and by how many connections. Hosts enforce it. */
import { sameLimits } from '../../shared/desired.js';
import { refuseUnlimited } from './capabilities.js';
import { refuseHidden } from './hidden.js';
import { about, setState, tellHost } from './mappings.js';
import { isInForce } from './states.js';
import type { Host, Mapping, State } from './state.js';
import type { ClientLimits, Command, Reply } from './types.js';

export function updateMapping(state: State, command: Extract<Command, { kind: 'updateMapping' }>): Reply {
  const mapping = state.mappings.get(command.mappingId);
  if (mapping === undefined || !isInForce(mapping.record.state)) {
    return { kind: 'refused', reason: 'MAPPING_UNKNOWN', message: `there is no mapping ${command.mappingId}, or it was released`, field: 'mapping_id', metadata: { mapping: command.mappingId } };
  }
  const { record } = mapping;
  const limits = { networks: command.networks ?? record.limits.networks, maxConnections: command.maxConnections ?? record.limits.maxConnections };
  const hidden = command.networks === undefined ? undefined : refuseHidden(state, limits, 'client_networks');
  const refusal = hidden ?? refuseUnlimited(state.hosts.get(record.host), limits);
  if (refusal !== undefined) return refusal;
  if (!sameLimits(record.limits, limits)) setLimits(state, mapping, limits);
  return { kind: 'updated', mapping: { ...record } };
}

function setLimits(state: State, mapping: Mapping, limits: ClientLimits): void {
  const { record } = mapping;
  record.limits = limits;
  // What is held is told to its host when that comes back; what waits for something goes on waiting.
  if (record.state === 'live' || record.state === 'blocked') setState(state, mapping, 'pending', 'NOT_CONFIRMED_BY_HOST');
  else state.dirtyMapping(mapping);
  if (record.state !== 'held') tellHost(state, mapping);
  state.event('PortChanged', about(mapping, { clientNetworks: limits.networks.join(','), maxConnections: limits.maxConnections }));
}

/** The gateway began, or ceased, to hide clients: hosts begin or cease to serve what is for some networks only. */
export function retellLimited(state: State, hosts: Iterable<Host>): void {
  for (const host of hosts) {
    for (const mapping of host.mappings) {
      if (mapping.record.limits.networks.length > 0 && isInForce(mapping.record.state) && mapping.record.state !== 'held') tellHost(state, mapping);
    }
  }
}
