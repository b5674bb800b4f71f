/** Good requests of every method, and a way to spoil one field of them. */
import assert from 'node:assert/strict';
import * as agents from '../../../shared/gen/portlease/v1/agents.js';
import * as environments from '../../../shared/gen/portlease/v1/environments.js';
import * as events from '../../../shared/gen/portlease/v1/events.js';
import * as operations from '../../../shared/gen/portlease/v1/operations.js';
import * as ports from '../../../shared/gen/portlease/v1/ports.js';
import * as tunnels from '../../../shared/gen/portlease/v1/tunnels.js';

export type Method = { path: string; requestStream: boolean; responseStream: boolean; requestSerialize: (value: never) => Buffer; responseDeserialize: (bytes: Buffer) => unknown };
type Tree = Record<string, unknown>;

const METHODS = Object.values({ ...ports.PortServiceService, ...operations.OperationsServiceService, ...agents.AgentServiceService, ...events.EventServiceService, ...environments.EnvironmentServiceService, ...tunnels.TunnelServiceService }) as unknown as Method[];
export const methodOf = (name: string): Method => {
  const method = METHODS.find(({ path }) => path === `/portlease.v1.${name}`);
  assert.ok(method !== undefined, name);
  return method;
};

const target = { kind: { $case: 'address' as const, value: '10.0.0.1' } };
const allocation = { tenant: 't', environment: 'e', host: 'h1', wants: [{ name: 'a', source: { $case: 'pool' as const, value: 'ssh' }, target }] };
const range = { first: 44_000, last: 45_000 };
const grant = { leaseId: 'l1', ports: { first: 30_000, last: 30_001 }, protocol: 1, generation: 1, host: 'h1' };
const served = { mappingId: 'm1', environment: 'e', tenant: 't', name: 'a', protocol: 1, port: 30_000, target, internalPort: 22, generation: 1 };
const cut = { seconds: 1, nanos: 0 };
/** One object of each kind. */
const objects = [
  { key: 'lease/l1', object: { $case: 'lease' as const, value: grant } },
  { key: 'mapping/m1', object: { $case: 'mapping' as const, value: served } },
  { key: 'release/m1', object: { $case: 'release' as const, value: { ...served, cut } } },
  { key: 'route/l1', object: { $case: 'route' as const, value: { ...grant, addresses: ['10.9.0.1'], cut, pool: 'ssh', tls: 2, connectionTimeout: cut, tunnelKey: `ssh-ed25519 ${'A'.repeat(68)}` } } },
  { key: 'withdrawal/l1', object: { $case: 'withdrawal' as const, value: { ...grant, cut } } },
];
const credentials = [{ name: 'a', variables: ['A_PASSWORD'] }];
const container = {
  image: 'lab/jupyter:4', mounts: [{ source: { $case: 'volume' as const, value: 'v' }, path: '/v' }], gpus: { which: { $case: 'ids' as const, value: { ids: ['0'] } } },
  ulimits: [{ name: 'nofile', soft: 1, hard: 2 }], credentials,
};
const whose = { environment: 'e', tenant: 't', generation: 1 };
const environmentObjects = [
  { key: 'environment/e', object: { $case: 'environment' as const, value: { ...whose, container, credentials } } },
  { key: 'removal/e', object: { $case: 'removal' as const, value: whose } },
];
const tunnelSpec = {
  tunnel: 't', host: 'h1', server: 's', forwards: [{ direction: 1, listen: { host: '127.0.0.1', port: 1 }, to: { host: 'h', port: 1 } }],
  probe: { interval: cut, timeout: cut }, options: { Compression: 'yes' },
};
const tunnelObjects = [{ key: 'tunnel/t', object: { $case: 'tunnel' as const, value: { spec: tunnelSpec, restart: 1 } } }];
const saidOfTunnels = [{ spec: tunnelSpec, state: 5, since: cut, statistics: { probeTime: cut, probeAge: cut, restartTime: cut } }];
const said = [{ environment: 'e', generation: 1, state: 1, step: 'run', credentials: [{ name: 'a', variables: ['A_PASSWORD'], value: 'x'.repeat(32) }] }];
const pool = { pool: 'web', gateway: 'gw', ranges: [{ ...range }], reserved: [{ ...range }], protocol: 1, aliases: [] };
const host = { host: 'new', gateway: 'gw', roles: [1] };

/** Good requests, made anew for each value. */
export const GOOD: Record<string, () => object> = {
  'PortService/AllocatePorts': () => ports.AllocatePortsRequest.fromPartial(allocation),
  'PortService/BatchAllocatePorts': () => ports.BatchAllocatePortsRequest.fromPartial({ requests: [allocation] }),
  'PortService/ReleasePorts': () => ports.ReleasePortsRequest.fromPartial({ selector: { $case: 'port', value: { space: 'gw', protocol: 1, port: 1 } } }),
  'PortService/MoveEnvironment': () => ports.MoveEnvironmentRequest.fromPartial({ environment: 'e', host: 'h1', targets: [{ name: 'a', target }] }),
  'PortService/UpdateMapping': () => ports.UpdateMappingRequest.fromPartial({ mappingId: 'absent', clientNetworks: { networks: [] }, maxConnections: 1 }),
  'PortService/GetEnvironment': () => ({ environment: 'e' }),
  'PortService/ListEnvironments': () => ports.ListEnvironmentsRequest.fromPartial({}),
  'PortService/ListMappings': () => ports.ListMappingsRequest.fromPartial({}),
  'PortService/ExplainPort': () => ports.ExplainPortRequest.fromPartial({ space: 'gw', port: 30_000 }),
  'EnvironmentService/CreateEnvironment': () => environments.CreateEnvironmentRequest.fromPartial({ tenant: 't', environment: 'e', host: 'h1', wants: [{ name: 'a', source: { $case: 'pool', value: 'ssh' } }], container }),
  'EnvironmentService/DeleteEnvironment': () => environments.DeleteEnvironmentRequest.fromPartial({ environment: 'absent' }),
  'EnvironmentService/RotateCredentials': () => ({ environment: 'absent' }),
  'OperationsService/CreateGateway': () => operations.CreateGatewayRequest.fromPartial({ gateway: { gateway: 'new', scope: 1, publicHost: 'x.example.com' } }),
  'OperationsService/DeleteGateway': () => ({ gateway: 'absent' }),
  'OperationsService/CreatePool': () => operations.CreatePoolRequest.fromPartial({ pool }),
  'OperationsService/UpdatePool': () => operations.UpdatePoolRequest.fromPartial({ pool: { ...pool, pool: 'ssh' }, updateMask: Object.keys(UPDATED) }),
  'OperationsService/ListPools': () => ({ gateway: '' }),
  'OperationsService/DeletePool': () => ({ gateway: 'gw', pool: 'absent' }),
  'OperationsService/CreateHost': () => operations.CreateHostRequest.fromPartial({ host }),
  'OperationsService/ListHosts': () => ({ gateway: '', host: '' }),
  'OperationsService/ReplaceHost': () => ({ host: 'absent', reason: 'why' }),
  'OperationsService/ReclaimHost': () => ({ host: 'absent', reason: 'why', override: false }),
  'OperationsService/WaiveHost': () => ({ host: 'absent', reason: 'why' }),
  'OperationsService/CordonHost': () => ({ host: 'absent', reason: 'why' }),
  'OperationsService/UncordonHost': () => ({ host: 'absent', reason: 'why' }),
  'OperationsService/DrainHost': () => ({ host: 'absent', reason: 'why' }),
  'OperationsService/HoldHost': () => ({ host: 'absent', reason: 'why', duration: { seconds: 7_200, nanos: 0 } }),
  'OperationsService/Purge': () => ({ dryRun: true }),
  'OperationsService/ForgetHost': () => ({ host: 'absent', reason: 'why', hostIsOff: true, gatewayIsOff: false }),
  'OperationsService/OverrideMassLoss': () => ({ gateway: 'gw', failureDomain: 'absent', reason: 'why', duration: { seconds: 7_200, nanos: 0 } }),
  'OperationsService/ListConflicts': () => operations.ListConflictsRequest.fromPartial({}),
  'OperationsService/ListLeaks': () => operations.ListLeaksRequest.fromPartial({}),
  'OperationsService/ResolveLeak': () => ({ host: 'absent', leak: 'listener/tcp/30000/1', reason: 'why', dryRun: true }),
  'OperationsService/ListLeases': () => operations.ListLeasesRequest.fromPartial({}),
  'TunnelService/CreateTunnel': () => tunnels.CreateTunnelRequest.fromPartial({ spec: tunnelSpec }),
  'TunnelService/ListTunnels': () => tunnels.ListTunnelsRequest.fromPartial({}),
  'TunnelService/GetTunnel': () => ({ host: 'h1', tunnel: 'absent' }),
  ...Object.fromEntries(['RestartTunnel', 'StopTunnel', 'StartTunnel', 'RemoveTunnel'].map((method) => [`TunnelService/${method}`, () => ({ host: 'h1', tunnel: 'absent', reason: 'why' })])),
  'EventService/WatchEvents': () => events.WatchEventsRequest.fromPartial({ gateway: 'gw', afterRevision: 1, filter: {} }),
  'EventService/ListEvents': () => events.ListEventsRequest.fromPartial({ gateway: 'gw', filter: {} }),
  'AgentService/Heartbeat': () => ({ host: 'absent', session: 1, sequence: 1, acceptedRevision: 0, digest: '0'.repeat(16) }),
  'AgentService/Session hello': () => agents.SessionRequest.fromPartial({ message: { $case: 'hello', value: { host: 'h1', gateway: 'gw', bootId: 'b', version: '1', roles: [1], addresses: ['10.9.0.1'], capabilities: ['client-limits'], accepted: { epoch: 1 }, leases: [grant], routes: [grant], state: { objects: [...objects, ...environmentObjects, ...tunnelObjects] } } } }),
  'AgentService/Session report': () => agents.SessionRequest.fromPartial({ message: { $case: 'report', value: { session: 1, applied: { epoch: 1 }, problems: [{ key: 'mapping/m1', reason: 'X' }], confirmations: [{ key: 'release/m1', generation: 1, ports: { first: 30_000, last: 30_001 }, protocol: 1 }], idle: [{ mappingId: 'm1', generation: 1, idle: { seconds: 1, nanos: 0 } }], conflicts: [{ protocol: 1, port: 30_000, address: '10.9.0.1', holder: { pid: 1 } }], leaks: [{ leak: 'listener/tcp/30000/1', kind: 3, repair: 1, protocol: 1, port: 30_000, mappingId: 'm1' }], environments: said, routes: { reloads: 1 }, tunnels: saidOfTunnels } } }),
};

const UPDATED = {
  description: 1, service_type: 1, aliases: 1, ranges: 1, protocol: 1, default_internal_port: 1, strategy: 1, reserved: 1, quarantine: 1, hold: 1,
  idle_limit: 1, idle_action: 1, idle_warning: 1, connection_timeout: 1, domain_template: 1, on_conflict: 1, tls: 1,
};

const ONEOF_OF: Record<string, string> = {
  pool: 'source', serviceType: 'source', exactPort: 'choice', preferredPort: 'choice', address: 'kind', environment: 'selector', mappingId: 'selector',
  port: 'selector', hello: 'message', report: 'message', lease: 'object', mapping: 'object', release: 'object', route: 'object', withdrawal: 'object', removal: 'object', tunnel: 'object',
  container: 'kind', published: 'kind', volume: 'source', hostPath: 'source', count: 'which', all: 'which', ids: 'which',
};

/** Messages in a oneof, as they are put where another one was. */
const NESTED: Record<string, () => Tree> = {
  container: () => ({ container: 'web', network: '', family: 0 }), published: () => ({ container: 'web' }), ids: () => ({ ids: [] }),
};

/** Sets a field by its path; of a repeated field the first element, or the first of that kind. */
export function put(message: object, path: string, value: unknown): void {
  const steps = path.split('.').map((step) => step.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()));
  let at = message as Tree;
  for (const [i, step] of steps.entries()) {
    const isLast = i === steps.length - 1;
    if (!(step in at)) {
      const oneof = oneofOf(step, at);
      assert.ok(oneof in at, `${path}: there is no ${step}`);
      if ((at[oneof] as Tree | undefined)?.['$case'] !== step) at[oneof] = { $case: step, value: NESTED[step]?.() };
      at = at[oneof] as Tree;
      if (isLast) at['value'] = value;
      else at = at['value'] as Tree;
    } else if (isLast) at[step] = value;
    else {
      if (step === 'target') at[step] ??= { kind: undefined };
      const next = at[step];
      at = (Array.isArray(next) ? elementOf(next as Tree[], steps[i + 1] ?? '') : next) as Tree;
    }
  }
}

/** An environment is what is selected in requests, and an object of desired state. */
function oneofOf(step: string, at: Tree): string {
  return step === 'environment' && 'object' in at ? 'object' : ONEOF_OF[step] ?? '';
}

function elementOf(elements: readonly Tree[], step: string): Tree | undefined {
  return elements.find((element) => (element[oneofOf(step, element)] as Tree | undefined)?.['$case'] === step) ?? elements[0];
}
