/** What the agent of a host can do, as its hello said. One that has not said hello since the coordinator started is not judged. */
import type { Capability } from '../../shared/desired.js';
import type { Protocol } from '../../shared/ports.js';
import type { Host } from './state.js';
import type { ClientLimits, Refusal } from './types.js';

/** Why the host would serve a mapping with these limits to everybody; undefined when it keeps to them. `field`: of what has them, with a dot behind it. */
export function refuseUnlimited(host: Host | undefined, limits: ClientLimits | undefined, field = ''): Refusal | undefined {
  if (limits === undefined || (limits.networks.length === 0 && limits.maxConnections === 0) || can(host, 'client-limits')) return undefined;
  const { host: name = '', agentVersion: version = '' } = host?.record ?? {};
  return {
    kind: 'refused', reason: 'AGENT_TOO_OLD', field: `${field}${limits.networks.length > 0 ? 'client_networks' : 'max_connections'}`, metadata: { host: name, version },
    message: `the agent of host ${name} (version ${version}) does not know client networks and numbers of connections, and would serve the port to everybody`,
  };
}

/** Why the port cannot be served by a host behind NAT: its connections to the gateway carry TCP only. */
export function refuseTunnelled(host: Host | undefined, protocol: Protocol, field: string): Refusal | undefined {
  if (protocol === 'tcp' || host === undefined || host.record.tunnelKey === '') return undefined;
  const { host: name } = host.record;
  return { kind: 'refused', reason: 'HOST_BEHIND_TUNNEL', field, metadata: { host: name }, message: `host ${name} is reached through ssh connections, which carry TCP only, and the port serves ${protocol}` };
}

function can(host: Host | undefined, capability: Capability): boolean {
  return host?.capabilities === undefined || host.capabilities.has(capability);
}
