/** Records for tests of the journal, each whole and plausible; a test names only what it is about. */
import type { Changes, EnvironmentRecord, ForgottenRecord, GatewayRecord, HostRecord, LeaseRecord, MappingRecord, OverrideRecord, PoolSpec, RequestRecord, TunnelRecord, WorkloadRecord,
} from '../../../coordinator/book/types.js';

export const AT_MS = 1_790_000_000_000;

export function gatewayRecord(of: Partial<GatewayRecord> = {}): GatewayRecord {
  return { gateway: 'gw', ordinal: 1, scope: 'shared', publicHost: 'gw.example.com', epoch: 1, sequence: 0, restoring: 'no', ...of };
}

/** Changes that bring `gateway` to `sequence`. */
export function changes(sequence: number, of: Partial<Changes> = {}, gateway = gatewayRecord()): Changes {
  return { gateway: { ...gateway, sequence }, removedPools: [], removedHosts: [], removedLeases: [], removedEnvironments: [],
    removedRequests: [], removedForgotten: [], removedOverrides: [], removedWorkloads: [], removedTunnels: [], forgotten: [], workloads: [], tunnels: [], overrides: [], pools: [], hosts: [], leases: [], environments: [], mappings: [], requests: [], events: [], audits: [], ...of };
}

export function mapping(of: Partial<MappingRecord> = {}): MappingRecord {
  return { mappingId: 'm1', environment: 'env-1', tenant: 'acme', name: 'ssh', index: 0, space: 'gw', pool: 'ssh', host: 'host-a',
    port: 30_000, protocol: 'tcp', target: { kind: 'address', address: '10.1.2.3' }, internalPort: 22, limits: { networks: [], maxConnections: 0 }, state: 'live', reason: '', epoch: 1,
    generation: 1, createdAtMs: AT_MS, untilMs: 0, releasedSequence: 0, onConflict: 'renumber', ...of };
}

export function lease(of: Partial<LeaseRecord> = {}): LeaseRecord {
  return { leaseId: 'l1', space: 'gw', pool: 'ssh', host: 'host-a', first: 30_000, last: 30_015, protocol: 'tcp', state: 'active', epoch: 1,
    generation: 1, grantedAtMs: AT_MS, expiredAtMs: 0, guarded: true, guards: [], ...of };
}

export function environment(of: Partial<EnvironmentRecord> = {}): EnvironmentRecord {
  return { environment: 'env-1', tenant: 'acme', host: 'host-a', labels: { team: 'ml' }, createdAtMs: AT_MS, revision: 1, ...of };
}

export function request(of: Partial<RequestRecord> = {}): RequestRecord {
  return { requestId: 'r1', bodyHash: '5d41402abc4b2a76', environment: 'env-1', mappingIds: ['m1'], atMs: AT_MS, ...of };
}

export function pool(of: Partial<PoolSpec> = {}): PoolSpec {
  return { pool: 'ssh', description: "the operators' shells", serviceType: 'ssh', aliases: ['shell', 'sftp'], ranges: [{ first: 30_000, last: 39_999 }],
    protocol: 'tcp', defaultInternalPort: 22, strategy: 'leastRecentlyUsed', reserved: [{ first: 30_005, last: 30_006 }], quarantineMs: 60_000,
    holdMs: 86_400_000, idleLimitMs: 86_400_000, idleAction: 'report', idleWarningMs: 1_800_000, connectionTimeoutMs: 0, domainTemplate: '{env}.example.com', onConflict: 'renumber', tls: 'terminate', ...of };
}

export function host(of: Partial<HostRecord> = {}): HostRecord {
  return { host: 'host-a', roles: ['host'], failureDomain: 'rack-1', publicHost: '', addresses: ['192.0.2.1', '2001:db8::1'], session: 3,
    confirmedSession: 2, bootId: 'b00t', agentVersion: '0.1.0', replaceable: false, lostAtMs: 0, duty: 'open', keptUntilMs: 0, waived: false, hidesClients: false, tunnelKey: '', ...of };
}

export function forgotten(of: Partial<ForgottenRecord> = {}): ForgottenRecord {
  return { host: 'host-z', session: 8, atMs: AT_MS, ...of };
}

export function override(of: Partial<OverrideRecord> = {}): OverrideRecord {
  return { scope: 'domain/rack-1', untilMs: AT_MS, ...of };
}

export function workload(of: Partial<WorkloadRecord> = {}): WorkloadRecord {
  return {
    environment: 'env-1', tenant: 'acme', host: 'host-a', credentials: [{ name: 'ssh', variables: ['SSH_PASSWORD'] }], bodyHash: '5d41402abc4b2a76', phase: 'undoing', generation: 7,
    rotation: 2, credentialsReturned: true, startTimeoutMs: 300_000, removesVolumes: true, failure: { step: 'pull', reason: 'PULL_REFUSED', message: "it's \"x\"" }, containerId: 'abc',
    container: {
      image: 'lab/jupyter:4', entrypoint: ['/init'], command: ['a b', "it's"], env: { A: 'ü\n"' }, workingDir: '/w', user: '1:1', gpus: { kind: 'ids', ids: ['0'] }, network: 'net1',
      mounts: [{ source: { kind: 'host', name: '/data' }, path: '/d', readOnly: true }], memoryBytes: 1, cpuMillis: 2, maxProcesses: 3, shmBytes: 4,
      ulimits: [{ name: 'nofile', soft: 1, hard: -1 }], restart: 'never', credentials: [], rotateCommand: ['rotate'],
    }, ...of,
  };
}

export function tunnel(of: Partial<TunnelRecord> = {}): TunnelRecord {
  return {
    host: 'host-a', restart: 7, isStopped: true, isOfConfig: true, createdAtMs: AT_MS, revision: 8, told: 'blocked', toldFlapping: true,
    spec: {
      tunnel: 'db', host: 'host-a', server: 'bastion', engine: 'ssh', options: { Compression: 'yes' }, probe: { forward: 0, banner: 'it\'s "x"', intervalMs: 1_000, timeoutMs: 500 },
      forwards: [{ direction: 'local', listen: { host: '127.0.0.1', port: 5432 }, to: { host: 'db.internal', port: 5432 } }],
    }, ...of,
  };
}

/** What an allocation of one port writes: the n-th one of `gateway`. */
export function allocation(n: number, gateway = gatewayRecord()): Changes {
  const mappingId = `${gateway.ordinal}-${n.toString(36).padStart(10, '0')}`;
  const name = `env-${gateway.ordinal}-${n}`;
  return changes(n, {
    environments: [environment({ environment: name, revision: n })],
    mappings: [mapping({ mappingId, environment: name, space: `${gateway.gateway}/${Math.floor(n / 60_000)}`, port: 1_000 + (n % 60_000),
      state: 'pending', reason: 'waits for the host', generation: n })],
    requests: [request({ requestId: `request-${n}`, environment: name, mappingIds: [mappingId] })],
    events: [{ sequence: n, atMs: AT_MS + n, kind: 'PortAllocated', host: 'host-a', environment: name, mappingId, detail: '{"port":30000}' }],
    audits: [{ sequence: n, atMs: AT_MS + n, actor: 'uid:0', action: 'AllocatePorts', outcome: 'ok', environment: name,
      requestId: `request-${n}`, detail: '{}' }],
  }, gateway);
}
