/** How this machine introduces itself: by what it is, and by what it accepted. */
import { CAPABILITIES, type Driver, type HeldGrant, type Role } from '../../shared/desired.js';
import type { AgentHeartbeat, AgentHello } from '../../shared/wire.js';
import type { AcceptedState } from '../state/accepted.js';

export type Identity = {
  host: string;
  gateway: string;
  /** The kernel's. */
  bootId: string;
  agentVersion: string;
  roles: Role[];
  /** Lease addresses. */
  addresses: string[];
  /** Left out: iptables. */
  driver?: Driver;
  /** Gateway role: hosts see this machine's address instead of the client's. */
  hidesClients?: boolean;
  /** Of a host behind NAT; left out: its gateway reaches it at its addresses. */
  tunnelKey?: string;
};

/** `withState`: with all that was accepted, because the coordinator asked for it. */
export function helloOf(identity: Identity, { session, version, objects }: AcceptedState, withState: boolean): AgentHello {
  const leases: HeldGrant[] = [];
  const routes: HeldGrant[] = [];
  for (const object of objects.values()) {
    if (object.kind === 'lease') leases.push({ ...grantOf(object), host: identity.host });
    if (object.kind === 'route') routes.push({ ...grantOf(object), host: object.host });
  }
  return { ...identity, capabilities: CAPABILITIES, lastSession: session, accepted: version, leases, routes, state: withState ? [...objects.values()] : undefined };
}

function grantOf({ leaseId, ports, protocol, generation }: Omit<HeldGrant, 'host'>): Omit<HeldGrant, 'host'> {
  return { leaseId, ports, protocol, generation };
}

type Beat = { host: string; session: number; sequence: number };

/** Speaks of the durable state, whatever of it the kernel has by now. */
export function heartbeatOf({ host, session, sequence }: Beat, { version, digest }: AcceptedState): AgentHeartbeat {
  return { host, session, sequence, acceptedRevision: version?.revision ?? 0, digest };
}
