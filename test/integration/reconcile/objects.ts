/** Desired objects for tests, short to write. */
import type { PortObject } from '../../../shared/desired.js';
import type { PortRange, Protocol } from '../../../shared/ports.js';

type Of<K extends PortObject['kind']> = Extract<PortObject, { kind: K }>;

export function lease(ports: PortRange, protocol: Protocol = 'tcp+udp', generation = 1): Of<'lease'> {
  const leaseId = `l${ports.first}`;
  return { kind: 'lease', key: `lease/${leaseId}`, version: generation, leaseId, ports, protocol, generation, host: 'host-a' };
}

export function mapping(port: number, address: string, more: Partial<Of<'mapping'>> = {}): Of<'mapping'> {
  const mappingId = `m${port}`;
  const target = { kind: 'address', address } as const;
  return { kind: 'mapping', key: `mapping/${mappingId}`, version: 2, mappingId, environment: 'env', tenant: 'tenant', name: 'ssh', index: 0, protocol: 'tcp+udp', port, target,
    internalPort: port, generation: 2, verify: false, ...more };
}

export function release({ mappingId, environment, tenant, name, index, port, protocol, target, internalPort, generation }: Of<'mapping'>, cutMs = 60_000): Of<'release'> {
  return { kind: 'release', key: `release/${mappingId}`, version: generation + 1, mappingId, environment, tenant, name, index, protocol, port, target, internalPort, generation, cutMs };
}

export function route(ports: PortRange, addresses: string[], more: Partial<Of<'route'>> = {}): Of<'route'> {
  const leaseId = `l${ports.first}`;
  return { kind: 'route', key: `route/${leaseId}`, version: 1, leaseId, ports, protocol: 'tcp+udp', generation: 1, host: 'host-a', addresses,
    fence: false, cutMs: 60_000, ...more };
}

export function withdrawal({ leaseId, ports, protocol, generation }: Of<'route'>, cutMs = 60_000): Of<'withdrawal'> {
  return { kind: 'withdrawal', key: `withdrawal/${leaseId}`, version: generation + 1, leaseId, ports, protocol, generation, cutMs };
}
