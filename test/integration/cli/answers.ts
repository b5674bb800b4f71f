/** What a coordinator with one gateway, one pool and one environment would say. */
import { Role } from '../../../shared/gen/portlease/v1/agents.js';
import { MappingState, OnConflict, Protocol } from '../../../shared/gen/portlease/v1/common.js';
import type {
  Gateway, GetStatusResponse} from '../../../shared/gen/portlease/v1/operations.js';
import { LeakKind, LeakRepair } from '../../../shared/gen/portlease/v1/leaks.js';
import { GatewayScope, Host, HostLeak, HostState, IdleAction, Lease, LeaseState, Pool, PortConflict, Strategy
} from '../../../shared/gen/portlease/v1/operations.js';
import { ForwardDirection, Tunnel, TunnelEngine, TunnelState } from '../../../shared/gen/portlease/v1/tunnels.js';
import { EnvironmentStatus, type Environment, type Mapping } from '../../../shared/gen/portlease/v1/ports.js';

export const GATEWAY: Gateway = {
  gateway: 'gw-1', scope: GatewayScope.GATEWAY_SCOPE_SHARED, publicHost: '203.0.113.1', revision: 1_234, agentHost: 'gw-host', agentState: HostState.HOST_STATE_ALIVE, restore: undefined,
};

export const POOL: Pool = Pool.fromPartial({
  pool: 'ssh', gateway: 'gw-1', serviceType: 'ssh', aliases: ['shell'], ranges: [{ first: 30_000, last: 30_099 }, { first: 40_000, last: 40_000 }],
  protocol: Protocol.PROTOCOL_TCP, strategy: Strategy.STRATEGY_RANDOM, idleAction: IdleAction.IDLE_ACTION_REPORT, quarantine: { seconds: 1, nanos: 500_000_000 }, onConflict: OnConflict.ON_CONFLICT_BLOCK,
  figures: { total: 101, reserved: 0, leased: 32, allocated: 20, held: 5, quarantined: 1, free: 75, usagePercent: 24.75, draining: 0 },
});

export const HOST: Host = Host.fromPartial({
  host: 'host-a', gateway: 'gw-1', roles: [Role.ROLE_HOST, Role.ROLE_GATEWAY], state: HostState.HOST_STATE_ALIVE, addresses: ['10.77.0.11'], session: 3,
  agentVersion: '0.1.0', heartbeatAge: { seconds: 2, nanos: 0 }, mappings: 2, leasedPorts: 32,
});

export const LEASE: Lease = Lease.fromPartial({
  leaseId: 'l-1', gateway: 'gw-1', space: 'gw-1', pool: 'ssh', host: 'host-a', ports: { first: 30_000, last: 30_015 }, protocol: Protocol.PROTOCOL_TCP,
  state: LeaseState.LEASE_STATE_ACTIVE, epoch: 2, generation: 77, allocated: 1, routed: true, grantedAt: { seconds: 1_700_000_000, nanos: 0 },
});

export const CONFLICT: PortConflict = PortConflict.fromPartial({
  gateway: 'gw-1', host: 'host-a', space: 'gw-1', pool: 'ssh', environment: 'env-1', mappingId: 'm-1', mappingState: MappingState.MAPPING_STATE_BLOCKED,
  since: { seconds: 1_700_000_000, nanos: 0 },
  conflict: {
    protocol: Protocol.PROTOCOL_TCP, port: 30_007, address: '0.0.0.0', uid: 33, user: 'www-data',
    holder: { pid: 812, program: 'nginx', command: 'nginx: (+2 arguments)', containerId: '4f'.repeat(32), startedAt: { seconds: 1_700_000_000, nanos: 0 } },
  },
});

export const LEAK: HostLeak = HostLeak.fromPartial({
  gateway: 'gw-1', host: 'host-a', pool: 'ssh', environment: 'env-1', since: { seconds: 1_700_000_000, nanos: 0 },
  leak: {
    leak: 'mappingWithoutContainer/m-1/78', kind: LeakKind.LEAK_KIND_MAPPING_WITHOUT_CONTAINER, message: 'port 30007 leads nowhere', sightings: 3,
    repair: LeakRepair.LEAK_REPAIR_RELEASE, automatic: true, mappingId: 'm-1', generation: 78, protocol: Protocol.PROTOCOL_TCP, port: 30_007,
  },
});

export const TUNNEL: Tunnel = Tunnel.fromPartial({
  spec: {
    tunnel: 'db', host: 'host-a', server: 'bastion', engine: TunnelEngine.TUNNEL_ENGINE_SSH, options: { Compression: 'yes' },
    probe: { forward: 1, banner: 'SSH-2.0-', interval: { seconds: 10, nanos: 0 }, timeout: { seconds: 5, nanos: 0 } },
    forwards: [
      { direction: ForwardDirection.FORWARD_DIRECTION_LOCAL, listen: { host: '127.0.0.1', port: 5432 }, to: { host: 'db.internal', port: 5432 } },
      { direction: ForwardDirection.FORWARD_DIRECTION_REVERSE, listen: { host: '::', port: 2222 }, to: { host: '127.0.0.1', port: 22 } },
    ],
  },
  gateway: 'gw-1', state: TunnelState.TUNNEL_STATE_BACKOFF, since: { seconds: 12, nanos: 0 }, reason: 'SSH_FAILED', message: 'it ended with 255', flapping: true, pid: 812, revision: 1_234,
  statistics: { attempts: 3, connections: 4, failures: 5, restarts: 6, probes: 7, probesFailed: 1, probeTime: { seconds: 0, nanos: 4_000_000 }, probeAge: { seconds: 20, nanos: 0 }, restartTime: { seconds: 0, nanos: 280_000_000 } },
});

export function mapping(part: Partial<Mapping> = {}): Mapping {
  return {
    mappingId: 'm-1', environment: 'env-1', tenant: 'acme', name: 'ssh', index: 0, gateway: 'gw-1', space: 'gw-1', pool: 'ssh', protocol: Protocol.PROTOCOL_TCP,
    publicHost: '203.0.113.1', publicPort: 30_007, host: 'host-a', target: { kind: { $case: 'address', value: '10.88.1.2' } }, internalPort: 22,
    state: MappingState.MAPPING_STATE_LIVE, reason: '', generation: 78, createdAt: { seconds: 1_700_000_000, nanos: 0 }, heldUntil: undefined, idleSince: undefined, idleReleaseAt: undefined,
    access: { hostName: 'env-1.ssh.example.com', url: '', command: 'ssh -p 30007 env-1.ssh.example.com' }, clientNetworks: [], maxConnections: 0, ...part,
  };
}

export function environment(part: Partial<Environment> = {}): Environment {
  return {
    environment: 'env-1', tenant: 'acme', gateway: 'gw-1', host: 'host-a', labels: { team: 'ml' }, revision: 1_230,
    mappings: [mapping()], createdAt: { seconds: 1_700_000_000, nanos: 0 }, status: EnvironmentStatus.ENVIRONMENT_STATUS_UNSPECIFIED, statusDetail: '', image: '', containerId: '', ...part,
  };
}

export function statusAnswer(part: Partial<GetStatusResponse> = {}): GetStatusResponse {
  return {
    version: '0.1.0', uptime: { seconds: 7_500, nanos: 0 }, journal: 'ok', gateways: [GATEWAY], pools: [POOL],
    hostsAlive: 2, hostsSuspect: 0, hostsLost: 0, hostsUnknown: 0, environments: 1, mappings: 1, massLosses: [], leaks: 0, tunnelsUp: 0, tunnelsDown: 0, ...part,
  };
}
