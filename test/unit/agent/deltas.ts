/** Desired states for the tests of the agent. */
import type { Delta, DesiredObject, StateVersion } from '../../../shared/desired.js';

export function version(epoch: number, session: number, revision: number): StateVersion {
  return { epoch, session, revision };
}

export function lease(leaseId: string, at: number, first = 30_000): DesiredObject {
  return { kind: 'lease', key: `lease/${leaseId}`, version: at, leaseId, ports: { first, last: first + 15 }, protocol: 'tcp+udp', generation: at, host: 'host-a' };
}

export function mapping(mappingId: string, at: number, port: number): DesiredObject {
  return {
    kind: 'mapping', key: `mapping/${mappingId}`, version: at, mappingId, environment: 'env-1', tenant: 'tenant-1', name: 'ssh', index: 0, protocol: 'tcp', port,
    target: { kind: 'address', address: '10.1.2.3' }, internalPort: 22, generation: at, verify: false,
  };
}

export function snapshot(at: StateVersion, upserts: DesiredObject[]): Delta {
  return { version: at, base: undefined, upserts, removals: [] };
}

export function change(at: StateVersion, base: number, upserts: DesiredObject[], removals: string[] = []): Delta {
  return { version: at, base, upserts, removals };
}
