/** Who calls, told from the transport alone, and what their role may do. */
import type { ServerUnaryCall } from '@grpc/grpc-js';
import { identityOf } from '../../shared/tls.js';
import type { Refusal } from '../book/types.js';
import { Refused } from '../keeper/refused.js';

/** `actor` goes into audit records. 'local' (unix socket) and 'loopback' (plaintext) may do everything. */
export type Caller = { actor: string; role: 'local' | 'loopback' | 'host' | 'scheduler' | 'operator' | 'viewer'; id: string };

export type Transport = 'unix' | 'plaintext' | 'tls';

type Call = Pick<ServerUnaryCall<unknown, unknown>, 'getAuthContext'>;

const LOCAL: Caller = { actor: 'operator:local', role: 'local', id: 'local' };
const LOOPBACK: Caller = { actor: 'loopback', role: 'loopback', id: 'loopback' };

export type Identify = (call: Call) => Caller;

/** Throws Refused for a certificate that is nobody's. */
export function identifyBy(transport: Transport): Identify {
  switch (transport) {
    case 'unix': return () => LOCAL;
    case 'plaintext': return () => LOOPBACK;
    case 'tls': return callerOfCertificate;
    default: return transport satisfies never;
  }
}

function callerOfCertificate(call: Call): Caller {
  const certificate = call.getAuthContext().sslPeerCertificate;
  const identity = certificate && identityOf(certificate);
  if (identity === undefined) throw mismatch('the certificate has no URI SAN portlease://ROLE/ID');
  return { actor: `${identity.role}:${identity.id}`, ...identity };
}

/** read: what is about ports; inspect: what is about hosts alone. */
export type Right = 'schedule' | 'read' | 'inspect' | 'operate';

const RIGHTS: Record<Caller['role'], readonly Right[]> = {
  local: ['schedule', 'read', 'inspect', 'operate'],
  loopback: ['schedule', 'read', 'inspect', 'operate'],
  operator: ['schedule', 'read', 'inspect', 'operate'],
  scheduler: ['schedule', 'read'],
  viewer: ['read', 'inspect'],
  host: [],
};

/** Operators, and who may do all because of where they call from. */
export function mayOperate({ role }: Caller): boolean {
  return RIGHTS[role].includes('operate');
}

/** Throws Refused. */
export function require(caller: Caller, right: Right): void {
  if (!RIGHTS[caller.role].includes(right)) throw mismatch(`the role ${caller.role} of ${caller.actor} does not include this call`);
}

/** Agents' calls: with TLS only the host itself. Throws Refused. */
export function requireHost(caller: Caller, host: string): void {
  const isItself = caller.role === 'host' ? caller.id === host : caller.role === 'local' || caller.role === 'loopback';
  if (!isItself) throw mismatch(`${caller.actor} may not speak for host ${host}`);
}

function mismatch(message: string): Refused {
  const refusal: Refusal = { kind: 'refused', reason: 'IDENTITY_MISMATCH', message };
  return new Refused(refusal);
}
