import type { HostRecord } from './types.js';

/** A host that has never said hello. */
export function newHostRecord(host: string, roles: HostRecord['roles'], failureDomain: string, publicHost: string): HostRecord {
  return { host, roles, failureDomain, publicHost, addresses: [], session: 0, confirmedSession: 0, bootId: '', agentVersion: '', replaceable: false, lostAtMs: 0, duty: 'open', keptUntilMs: 0, waived: false, hidesClients: false, tunnelKey: '' };
}
