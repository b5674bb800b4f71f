/** What each field of a request may not be. Keys as in requestFields(). */

/** `field`: how the path that BadRequest names begins. */
export type Row = { bad: readonly unknown[]; field: string; reason?: string };

/** Nothing in such a field is refused: output only, or a flag. */
export const FREE = 'free';

const NAMES = ['Upper', '-j', 'a\nb', 'a\0b', '$(id)', '../x', 'ä', 'a'.repeat(64), 'a.b', ' '];
const PORTS = [65536, 4_294_967_295];
const TARGETS = ['', '0.0.0.0', '127.0.0.1', '127.255.0.1', '169.254.169.254', '224.0.0.1', '255.255.255.255', '::', '::1', 'fe80::1', 'ff02::1', '::ffff:10.0.0.1', '10.0.0.1 -j ACCEPT', 'example.com', '10.0.0.256', 'fe80::1%eth0'];
/** Of containers and networks of Docker; empty is allowed. */
const DOCKER_NAMES = ['-web', '.web', '_web', 'a b', 'a/b', 'a@b', 'a\nb', 'a\0b', '$(id)', '../x', 'ä', 'a'.repeat(129)];
const targets = (at: string, prefix: string): Record<string, Row> => ({
  [`${prefix}.address`]: { field: at, bad: TARGETS },
  [`${prefix}.container.container`]: { field: `${at}.container.container`, bad: DOCKER_NAMES },
  [`${prefix}.container.network`]: { field: `${at}.container.network`, bad: DOCKER_NAMES },
  [`${prefix}.container.family`]: { field: `${at}.container.family`, bad: UNKNOWN_ENUM },
  [`${prefix}.published.container`]: { field: `${at}.published.container`, bad: DOCKER_NAMES },
});
const NETWORKS = [['x'], [''], ['10.0.0.1'], ['10.0.0.5/8'], ['10.0.0.0/33'], ['10.0.0.0/08'], ['10.0.0.0/-1'], ['10.0.0.0/8 -j ACCEPT'], ['2001:db8::1/32'], ['fe80::%eth0/64'], ['::ffff:10.0.0.0/104'], ['10.0.0.0/8', '10.0.0.0/8'], Array.from({ length: 17 }, (_, i) => `10.${i}.0.0/16`)];
const TOO_MANY = [1_000_001, 4_294_967_295];
const DURATIONS = [{ seconds: -1, nanos: 0 }, { seconds: 1, nanos: 1_000_000_000 }, { seconds: 400_000_000_000, nanos: 0 }];
const TOO_LARGE = '18446744073709551615';
const UNKNOWN_ENUM = [99, -1];

const SSH_KEYS = ['x', 'ssh-ed25519', `ssh-ed25519 ${'A'.repeat(68)} comment`, `ssh-dss ${'A'.repeat(68)}`, `command="x" ssh-ed25519 ${'A'.repeat(68)}`, `ssh-ed25519 ${'A'.repeat(68)}\n`];
const LEAK_IDS = ['', '-j', '/x', 'a b', 'a\nb', '$(id)', 'ä', 'x'.repeat(129)];

const RATES = ['granted', 'failed', 'success_percent', ...['allocation', 'release'].flatMap((what) => ['count', 'p50', 'p95', 'p99'].map((one) => `${what}.${one}`))];

const name = (field: string): Row => ({ field, bad: ['', ...NAMES] });
const filter = (field: string): Row => ({ field, bad: NAMES });
const number = (): Row => ({ field: 'request', bad: [TOO_LARGE] });
const page = { page_size: { field: 'page_size', bad: [1001, 4_294_967_295] }, page_token: { field: 'page_token', bad: ['x', '../', 'W10', 'A'.repeat(5000)], reason: 'PAGE_TOKEN_INVALID' } };

const pool: Record<string, Row> = {
  pool: name('pool.pool'),
  gateway: name('pool.gateway'),
  description: { field: 'pool.description', bad: ['a\nb', 'a\0b', 'x'.repeat(257)] },
  service_type: filter('pool.service_type'),
  aliases: { field: 'pool.aliases', bad: [['Bad'], [''], Array.from({ length: 17 }, (_, i) => `a${i}`)] },
  'ranges.first': { field: 'pool.ranges', bad: [0, ...PORTS, 45_001] },
  'ranges.last': { field: 'pool.ranges', bad: [0, ...PORTS, 43_999] },
  protocol: { field: 'pool.protocol', bad: [0, ...UNKNOWN_ENUM] },
  default_internal_port: { field: 'pool.default_internal_port', bad: PORTS },
  strategy: { field: 'pool.strategy', bad: UNKNOWN_ENUM },
  'reserved.first': { field: 'pool.reserved', bad: [0, ...PORTS, 45_001, 1] },
  'reserved.last': { field: 'pool.reserved', bad: [0, ...PORTS, 43_999] },
  quarantine: { field: 'pool.quarantine', bad: DURATIONS },
  hold: { field: 'pool.hold', bad: DURATIONS },
  idle_limit: { field: 'pool.idle_limit', bad: DURATIONS },
  idle_warning: { field: 'pool.idle_warning', bad: DURATIONS },
  idle_action: { field: 'pool.idle_action', bad: UNKNOWN_ENUM },
  on_conflict: { field: 'pool.on_conflict', bad: UNKNOWN_ENUM },
  tls: { field: 'pool.tls', bad: UNKNOWN_ENUM },
  connection_timeout: { field: 'pool.connection_timeout', bad: DURATIONS },
  domain_template: { field: 'pool.domain_template', bad: ['{env}.$(id)', 'a b', '{host}.example.com', 'UPPER', 'a\nb', '-j', '-{env}.example.com', '{env}..example.com', '{env}.example.com.', '10.0.0.1', 'x'.repeat(254)] },
};

const grant = (at: string): Record<string, Row> => ({
  lease_id: { field: `${at}.lease_id`, bad: ['', '-j', '../x', 'x'.repeat(19), 'a b'] },
  'ports.first': { field: `${at}.ports`, bad: [0, ...PORTS, 30_002] },
  'ports.last': { field: `${at}.ports`, bad: [0, ...PORTS, 29_999] },
  protocol: { field: `${at}.protocol`, bad: [0, ...UNKNOWN_ENUM] },
  generation: number(),
});

const served = (at: string): Record<string, Row | typeof FREE> => ({
  index: FREE,
  mapping_id: { field: `${at}.mapping_id`, bad: ['', '-j', '../x', 'x'.repeat(19), 'a b'] },
  environment: name(`${at}.environment`), tenant: name(`${at}.tenant`), name: name(`${at}.name`),
  protocol: { field: `${at}.protocol`, bad: [0, ...UNKNOWN_ENUM] },
  port: { field: `${at}.port`, bad: [0, ...PORTS] },
  ...targets(`${at}.target`, 'target'),
  internal_port: { field: `${at}.internal_port`, bad: [0, ...PORTS] },
  generation: number(),
});
const cut = (at: string): Row => ({ field: `${at}.cut`, bad: [undefined, ...DURATIONS] });

/** NUL is in no word that a program can be given; what else is in one is its own business. */
const WORDS = [['a\0b'], ['x'.repeat(8_193)], Array.from({ length: 257 }, () => 'x')];
const FOLDERS = ['relative', '/a/../b', '/..', '/a/./b', '/a\nb', 'x\0', '//', `/${'x'.repeat(1_025)}`];
const container = (at: string): Record<string, Row | typeof FREE> => ({
  image: { field: `${at}.image`, bad: ['', '-j', 'UPPER', 'a b', '$(id)', '../x', 'a:b:c/d', 'a@sha256:12', 'a\nb', 'x'.repeat(256)] },
  entrypoint: { field: `${at}.entrypoint`, bad: WORDS }, command: { field: `${at}.command`, bad: WORDS }, rotate_command: { field: `${at}.rotate_command`, bad: WORDS },
  env: { field: `${at}.env`, bad: [{ '1A': 'x' }, { 'A-B': 'x' }, { '': 'x' }, { A: 'a\0b' }, { A: 'x'.repeat(8_193) }, Object.fromEntries(Array.from({ length: 257 }, (_, i) => [`V${i}`, '']))] },
  working_dir: { field: `${at}.working_dir`, bad: FOLDERS },
  user: { field: `${at}.user`, bad: ['-j', 'a b', 'a:b:c', '$(id)', '../x', 'a\nb', 'x'.repeat(33)] },
  'mounts.volume': { field: `${at}.mounts[0].volume`, bad: ['', ...DOCKER_NAMES] },
  'mounts.host_path': { field: `${at}.mounts[0].host_path`, bad: ['', '/', ...FOLDERS] },
  'mounts.path': { field: `${at}.mounts[0].path`, bad: ['', '/', ...FOLDERS] },
  'mounts.read_only': FREE,
  'gpus.count': { field: `${at}.gpus.count`, bad: [0, 65, 4_294_967_295] }, 'gpus.all': { field: `${at}.gpus.all`, bad: [false] },
  'gpus.ids.ids': { field: `${at}.gpus.ids`, bad: [[], ['0', '0'], ['-1'], ['x'], ['GPU-$(id)'], Array.from({ length: 65 }, (_, i) => `${i}`)] },
  network: { field: `${at}.network`, bad: DOCKER_NAMES },
  memory_bytes: number(), shm_bytes: number(), cpu_millis: FREE, max_processes: FREE,
  'ulimits.name': { field: `${at}.ulimits[0].name`, bad: ['', 'NOFILE', 'files', '$(id)', '__proto__'] },
  'ulimits.soft': { field: `${at}.ulimits[0].soft`, bad: [-2, 3] }, 'ulimits.hard': { field: `${at}.ulimits[0]`, bad: [-2, 0] },
  restart: { field: `${at}.restart`, bad: UNKNOWN_ENUM },
  ...prefixed('credentials', credentialSpec(`${at}.credentials[0]`)),
});
const credentialSpec = (at: string): Record<string, Row> => ({
  name: { field: `${at}.name`, bad: ['', ...NAMES, 'a'.repeat(33)] },
  variables: { field: at.slice(0, -3), bad: [[''], ['1A'], ['A B'], ['A\0'], ['A', 'A'], Array.from({ length: 9 }, (_, i) => `A${i}`)] },
});

const ENDPOINT_HOSTS = ['-j', 'a b', 'UPPER', 'a\nb', 'a\0b', '$(id)', '../x', '*', 'ä', '10.0.0.256', 'fe80::1%eth0', '::ffff:10.0.0.1', 'x'.repeat(254)];
const tunnelSpec = (at: string): Record<string, Row> => ({
  tunnel: name(`${at}.tunnel`), host: name(`${at}.host`), server: name(`${at}.server`),
  'forwards.direction': { field: `${at}.forwards[0].direction`, bad: [0, ...UNKNOWN_ENUM] },
  'forwards.listen.host': { field: `${at}.forwards[0].listen.host`, bad: ENDPOINT_HOSTS }, 'forwards.listen.port': { field: `${at}.forwards[0].listen.port`, bad: [0, ...PORTS] },
  'forwards.to.host': { field: `${at}.forwards[0].to.host`, bad: ['', ...ENDPOINT_HOSTS] }, 'forwards.to.port': { field: `${at}.forwards[0].to.port`, bad: [0, ...PORTS] },
  engine: { field: `${at}.engine`, bad: UNKNOWN_ENUM },
  'probe.forward': { field: `${at}.probe.forward`, bad: [1, 4_294_967_295] }, 'probe.banner': { field: `${at}.probe.banner`, bad: ['a\nb', 'a\0b', 'ä', 'x'.repeat(129)] },
  'probe.interval': { field: `${at}.probe.interval`, bad: [...DURATIONS, { seconds: 0, nanos: 999_000_000 }, { seconds: 86_401, nanos: 0 }] },
  'probe.timeout': { field: `${at}.probe.timeout`, bad: [...DURATIONS, { seconds: 0, nanos: 99_000_000 }, { seconds: 301, nanos: 0 }] },
  options: { field: `${at}.options`, bad: [{ '': 'yes' }, { '-o': 'yes' }, { 'A B': 'yes' }, { A: '' }, { A: '-x' }, { A: 'a\nb' }, { A: 'a\0b' }, { A: '"x"' }, { A: '$(id)' }, { A: '%h' }, { A: 'x'.repeat(256) }, { A: 'yes', a: 'no' }, Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`A${i}`, 'yes']))] },
});

/** What an agent says that it accepted. */
const acceptedObjects: Record<string, Row | typeof FREE> = {
  key: { field: 'hello.state.objects[0].key', bad: ['', 'x/y', 'lease/', 'lease/l2', 'mapping/l1'] },
  version: number(),
  ...prefixed('lease', { ...grant('hello.state.objects[0].lease'), guard_occupied: FREE, host: filter('hello.state.objects[0].lease.host') }),
  ...prefixed('mapping', { ...served('hello.state.objects[1].mapping'), verify: FREE, clients_hidden: FREE, idle_limit: { field: 'hello.state.objects[1].mapping.idle_limit', bad: DURATIONS },
    client_networks: { field: 'hello.state.objects[1].mapping.client_networks', bad: NETWORKS }, max_connections: { field: 'hello.state.objects[1].mapping.max_connections', bad: TOO_MANY } }),
  ...prefixed('release', { ...served('hello.state.objects[2].release'), cut: cut('hello.state.objects[2].release') }),
  ...prefixed('route', {
    ...grant('hello.state.objects[3].route'), host: name('hello.state.objects[3].route.host'), fence: FREE, cut: cut('hello.state.objects[3].route'),
    pool: name('hello.state.objects[3].route.pool'), tls: { field: 'hello.state.objects[3].route.tls', bad: UNKNOWN_ENUM },
    connection_timeout: { field: 'hello.state.objects[3].route.connection_timeout', bad: DURATIONS },
    tunnel_key: { field: 'hello.state.objects[3].route.tunnel_key', bad: SSH_KEYS },
    addresses: { field: 'hello.state.objects[3].route.addresses', bad: [['x'], ['10.0.0.256'], ['10.0.0.1', 'fd00::1', '10.0.0.2']] },
  }),
  ...prefixed('withdrawal', { ...grant('hello.state.objects[4].withdrawal'), cut: cut('hello.state.objects[4].withdrawal') }),
  ...prefixed('environment', {
    ...whose('hello.state.objects[5].environment'), ready: FREE, tell_credentials: FREE, rotation: number(), ...prefixed('container', container('hello.state.objects[5].environment.container')),
    ...prefixed('credentials', credentialSpec('hello.state.objects[5].environment.credentials[0]')), labels: { field: 'hello.state.objects[5].environment.labels', bad: [{ '-k': 'v' }, { k: 'a b' }] },
  }),
  ...prefixed('removal', { ...whose('hello.state.objects[6].removal'), volumes: FREE }),
  ...prefixed('tunnel', { ...prefixed('spec', tunnelSpec('hello.state.objects[7].tunnel.spec')), restart: number(), stopped: FREE, from_config: FREE }),
};

function whose(at: string): Record<string, Row> {
  return { environment: name(`${at}.environment`), tenant: name(`${at}.tenant`), generation: number() };
}

const eventFilter: Record<string, Row> = {
  'filter.kinds': { field: 'filter.kinds', bad: [[''], ['portAllocated'], ['PortAllocated', '$(id)'], ['toString'], Array.from({ length: 65 }, () => 'HostLost')] },
  'filter.host': filter('filter.host'),
  'filter.environment': filter('filter.environment'),
};
const version = { epoch: number(), session: number(), revision: number() };
const wait: Row = { field: 'wait', bad: UNKNOWN_ENUM };
const labels: Row = { field: 'labels', bad: [{ '-k': 'v' }, { k: 'a b' }, { '': 'v' }, { k: '-j' }, { 'a\n': 'v' }, Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, 'v']))] };

/** Of a batch: refused by the result of the one request, with the same fields. */
const allocation: Record<string, Row | typeof FREE> = {
  request_id: { field: 'request_id', bad: ['-x', 'a b', 'a\nb', 'x'.repeat(129), '$(id)'] },
  tenant: name('tenant'), environment: filter('environment'), host: name('host'),
  'wants.name': { field: 'wants[0].name', bad: ['', ...NAMES, 'a'.repeat(33)] },
  'wants.pool': name('wants[0].pool'),
  'wants.service_type': name('wants[0].service_type'),
  'wants.protocol': { field: 'wants[0].protocol', bad: UNKNOWN_ENUM },
  'wants.count': { field: 'wants[0].count', bad: [257, 4_294_967_295] },
  'wants.contiguous': FREE,
  ...targets('wants[0].target', 'wants.target'),
  'wants.internal_port': { field: 'wants[0].internal_port', bad: PORTS },
  'wants.exact_port': { field: 'wants[0].exact_port', bad: [0, ...PORTS] },
  'wants.client_networks': { field: 'wants[0].client_networks', bad: NETWORKS },
  'wants.max_connections': { field: 'wants[0].max_connections', bad: TOO_MANY },
  'wants.on_conflict': { field: 'wants[0].on_conflict', bad: UNKNOWN_ENUM },
  'wants.preferred_port': { field: 'wants[0].preferred_port', bad: [0, ...PORTS] },
  labels, wait, dry_run: FREE,
};

/** At most 30 days. */
const TERMS = [undefined, ...DURATIONS, { seconds: 30 * 86_400 + 1, nanos: 0 }];
const WHY: Row = { field: 'reason', bad: ['', 'a\nb', 'a\0', 'x'.repeat(257)] };
/** Why, if the caller says so. */
const NOTE: Row = { field: 'reason', bad: ['a\nb', 'a\0', 'x'.repeat(257)] };

export const BAD_VALUES: Record<string, Row | typeof FREE> = {
  ...under('PortService/AllocatePorts', allocation),
  ...under('PortService/BatchAllocatePorts', prefixed('requests', allocation)),
  ...under('PortService/ReleasePorts', {
    environment: name('environment'),
    mapping_id: { field: 'mapping_id', bad: ['', '-j', '../x', 'x'.repeat(19), 'a b', 'a\0'] },
    'port.space': { field: 'port.space', bad: ['', ...NAMES, 'gw/', 'gw/h/x', '/h'] },
    'port.protocol': { field: 'port.protocol', bad: [0, ...UNKNOWN_ENUM] },
    'port.port': { field: 'port.port', bad: [0, ...PORTS] },
    wait,
  }),
  ...under('PortService/MoveEnvironment', {
    environment: name('environment'), host: name('host'),
    'targets.name': { field: 'targets[0].name', bad: ['', ...NAMES] },
    ...targets('targets[0].target', 'targets.target'),
    'targets.internal_port': { field: 'targets[0].internal_port', bad: PORTS },
    wait,
  }),
  ...under('PortService/UpdateMapping', {
    mapping_id: { field: 'mapping_id', bad: ['', '-j', '../x', 'x'.repeat(19), 'a b', 'a\0'] },
    'client_networks.networks': { field: 'client_networks.networks', bad: NETWORKS },
    max_connections: { field: 'max_connections', bad: TOO_MANY },
    wait,
  }),
  ...under('PortService/GetEnvironment', { environment: name('environment') }),
  ...under('PortService/ListEnvironments', { tenant: filter('tenant'), gateway: filter('gateway'), host: filter('host'), labels, ...page }),
  ...under('PortService/ListMappings', {
    tenant: filter('tenant'), gateway: filter('gateway'), pool: filter('pool'), host: filter('host'), environment: filter('environment'),
    state: { field: 'state', bad: UNKNOWN_ENUM }, port: { field: 'port', bad: PORTS }, ...page,
  }),
  ...under('PortService/ExplainPort', {
    space: { field: 'space', bad: ['', ...NAMES, 'gw/', 'gw/h/x', '/h', 'gw/h1', 'edge'] }, port: { field: 'port', bad: [0, ...PORTS] }, tenant: filter('tenant'), ...page,
  }),
  ...under('EnvironmentService/CreateEnvironment', {
    ...Object.fromEntries(Object.entries(allocation).filter(([field]) => field.startsWith('wants.') && !field.startsWith('wants.target')).map(([field, row]) => [field, row])),
    ...Object.fromEntries(['address', 'container.container', 'container.network', 'container.family', 'published.container'].map((field) => [`wants.target.${field}`, { field: 'wants[0].target', bad: field.endsWith('family') ? [1] : ['10.0.0.1'] }])),
    environment: name('environment'), tenant: name('tenant'), host: name('host'), labels, wait, ...prefixed('container', container('container')),
    start_timeout: { field: 'start_timeout', bad: [...DURATIONS, { seconds: 0, nanos: 999_000_000 }, { seconds: 7_201, nanos: 0 }] },
  }),
  ...under('EnvironmentService/DeleteEnvironment', { environment: name('environment'), remove_volumes: FREE, wait }),
  ...under('EnvironmentService/RotateCredentials', { environment: name('environment') }),
  ...under('OperationsService/CreateGateway', {
    'gateway.gateway': name('gateway.gateway'),
    'gateway.scope': { field: 'gateway.scope', bad: [0, ...UNKNOWN_ENUM] },
    'gateway.public_host': { field: 'gateway.public_host', bad: ['', 'a b', '-x', '$(id)', 'a\nb', '1.2.3.400', 'x'.repeat(254)] },
    'gateway.revision': FREE, 'gateway.agent_host': FREE, 'gateway.agent_state': FREE,
    'gateway.restore.awaited_hosts': FREE, 'gateway.restore.problem': FREE, 'gateway.restore.rest': FREE,
  }),
  ...under('OperationsService/DeleteGateway', { gateway: name('gateway') }),
  ...under('OperationsService/CreatePool', prefixed('pool', pool)),
  ...under('OperationsService/UpdatePool', { ...prefixed('pool', pool), update_mask: { field: 'update_mask', bad: [[], ['pool'], ['figures'], ['__proto__'], ['ranges', 'nonsense']] }, drain: FREE }),
  ...figures('OperationsService/CreatePool'), ...figures('OperationsService/UpdatePool'),
  ...under('OperationsService/ListPools', { gateway: filter('gateway') }),
  ...under('OperationsService/DeletePool', { gateway: name('gateway'), pool: name('pool') }),
  ...under('OperationsService/CreateHost', {
    'host.host': name('host.host'), 'host.gateway': name('host.gateway'),
    'host.roles': { field: 'host.roles', bad: [[0], [99], [1, -1]] },
    'host.failure_domain': filter('host.failure_domain'),
    'host.public_host': { field: 'host.public_host', bad: ['a b', '-x', '$(id)', 'a\nb'] },
    ...Object.fromEntries(['state', 'addresses', 'session', 'agent_version', 'heartbeat_age', 'mappings', 'leased_ports', 'drift_repairs', 'replaceable', 'duty', 'kept_until', 'routes.reloads', 'routes.failures', 'routes.served', 'routes.latency_p50', 'routes.latency_p99'].map((field) => [`host.${field}`, FREE])),
  }),
  ...under('OperationsService/ListHosts', { gateway: filter('gateway'), host: filter('host') }),
  ...under('OperationsService/ReplaceHost', { host: name('host'), reason: WHY }),
  ...under('OperationsService/ReclaimHost', { host: name('host'), reason: WHY, override: FREE }),
  ...under('OperationsService/CordonHost', { host: name('host'), reason: NOTE }),
  ...under('OperationsService/UncordonHost', { host: name('host'), reason: NOTE }),
  ...under('OperationsService/DrainHost', { host: name('host'), reason: NOTE }),
  ...under('OperationsService/HoldHost', { host: name('host'), reason: NOTE, duration: { field: 'duration', bad: TERMS } }),
  ...under('OperationsService/ForgetHost', { host: name('host'), reason: WHY, host_is_off: FREE, gateway_is_off: FREE }),
  ...under('OperationsService/OverrideMassLoss', { gateway: name('gateway'), failure_domain: filter('failure_domain'), reason: WHY, duration: { field: 'duration', bad: TERMS } }),
  ...under('OperationsService/WaiveHost', { host: name('host'), reason: WHY }),
  ...under('OperationsService/Purge', { dry_run: FREE }),
  ...under('OperationsService/ListConflicts', { gateway: filter('gateway'), host: filter('host'), pool: filter('pool'), ...page }),
  ...under('OperationsService/ListLeaks', { gateway: filter('gateway'), host: filter('host'), pool: filter('pool'), ...page }),
  ...under('OperationsService/ResolveLeak', { host: name('host'), leak: { field: 'leak', bad: LEAK_IDS }, reason: NOTE, dry_run: FREE }),
  ...under('OperationsService/ListLeases', { gateway: filter('gateway'), host: filter('host'), pool: filter('pool'), ...page }),
  ...under('TunnelService/CreateTunnel', { ...prefixed('spec', tunnelSpec('spec')), wait: FREE }),
  ...under('TunnelService/ListTunnels', { gateway: filter('gateway'), host: filter('host'), ...page }),
  ...under('TunnelService/GetTunnel', { host: name('host'), tunnel: name('tunnel') }),
  ...Object.assign({}, ...['RestartTunnel', 'StopTunnel', 'StartTunnel', 'RemoveTunnel'].map((method) => under(`TunnelService/${method}`, { host: name('host'), tunnel: name('tunnel'), reason: NOTE }))) as Record<string, Row>,
  ...under('EventService/WatchEvents', {
    gateway: name('gateway'), after_revision: number(), after_position: { field: 'after_position', bad: [10_000_001, 4_294_967_295] }, ...eventFilter,
    bookmark_interval: { field: 'bookmark_interval', bad: [...DURATIONS, { seconds: 0, nanos: 99_000_000 }, { seconds: 3601, nanos: 0 }] },
  }),
  ...under('EventService/ListEvents', { gateway: name('gateway'), after_revision: number(), after_position: { field: 'after_position', bad: [1, 4_294_967_295] }, ...eventFilter, ...page, newest_first: FREE }),
  ...under('AgentService/Heartbeat', {
    host: name('host'), session: number(), sequence: number(), accepted_revision: number(),
    digest: { field: 'digest', bad: ['', 'x', 'g'.repeat(16), 'A'.repeat(16), '0'.repeat(17)] },
  }),
  ...under('AgentService/Session', {
    'hello.host': name('hello.host'), 'hello.gateway': name('hello.gateway'),
    'hello.boot_id': { field: 'hello.boot_id', bad: ['', '-j', 'a b', '../x', 'x'.repeat(65)] },
    'hello.version': { field: 'hello.version', bad: ['', '-j', 'a\nb', 'x'.repeat(65)] },
    'hello.roles': { field: 'hello.roles', bad: [[], [0], [99]] },
    'hello.addresses': { field: 'hello.addresses', bad: [['x'], ['10.0.0.256'], Array.from({ length: 17 }, (_, i) => `10.0.0.${i + 1}`)] },
    'hello.last_session': number(), 'hello.driver': { field: 'hello.driver', bad: [3, 99] }, 'hello.hides_clients': FREE, 'hello.tunnel_key': { field: 'hello.tunnel_key', bad: SSH_KEYS },
    'hello.capabilities': { field: 'hello.capabilities', bad: [[''], ['A'], ['-a'], ['a b'], ['a'.repeat(65)], Array.from({ length: 65 }, (_, i) => `a${i}`)] },
    ...prefixed('hello.accepted', version), ...prefixed('hello.leases', grant('hello.leases[0]')), ...prefixed('hello.routes', grant('hello.routes[0]')),
    'hello.leases.host': FREE, 'hello.routes.host': name('hello.routes[0].host'),
    ...prefixed('hello.state.objects', acceptedObjects),
    'report.session': number(), ...prefixed('report.applied', version),
    'report.problems.key': { field: 'report.problems[0].key', bad: ['', 'x/y', 'mapping/', 'mapping/../x', 'lease/-j'] },
    'report.problems.reason': { field: 'report.problems[0].reason', bad: ['', 'lower', 'A B', 'A'.repeat(65)] },
    'report.problems.message': FREE,
    'report.confirmations.key': { field: 'report.confirmations[0].key', bad: ['', 'x/y', 'release/', 'release/a b'] },
    ...Object.fromEntries(Object.entries(grant('report.confirmations[0]')).filter(([key]) => key !== 'lease_id').map(([key, row]) => [`report.confirmations.${key}`, row])),
    'report.verified': { field: 'report.verified', bad: [[''], ['../x'], ['x'.repeat(19)]] },
    'report.environments.environment': name('report.environments[0].environment'),
    'report.environments.generation': number(), 'report.environments.rotation': number(),
    'report.environments.state': { field: 'report.environments[0].state', bad: [0, ...UNKNOWN_ENUM] },
    'report.environments.step': { field: 'report.environments[0].step', bad: ['', 'UPPER', 'a b', 'x'.repeat(33)] },
    'report.environments.reason': { field: 'report.environments[0].reason', bad: ['lower', 'A B', 'A'.repeat(65)] },
    'report.environments.message': FREE,
    'report.environments.percent': { field: 'report.environments[0].percent', bad: [101, 4_294_967_295] },
    'report.environments.container_id': { field: 'report.environments[0].container_id', bad: ['xyz', '-1', '../x', 'a'.repeat(65)] },
    ...prefixed('report.environments.credentials', credentialSpec('report.environments[0].credentials[0]')),
    'report.environments.credentials.value': { field: 'report.environments[0].credentials[0].value', bad: ['', 'short', 'a b'.repeat(10), 'x'.repeat(129), 'ä'.repeat(32)] },
    ...prefixed('report.tunnels', {
      ...prefixed('spec', tunnelSpec('report.tunnels[0].spec')), from_config: FREE, flapping: FREE, pid: FREE, restart: number(),
      // Texts that a server may have chosen: cut and cleaned, never refused. See test/unit/shared/wire-tunnel.test.ts.
      message: FREE, log_tail: FREE,
      state: { field: 'report.tunnels[0].state', bad: [0, ...UNKNOWN_ENUM] }, since: { field: 'report.tunnels[0].since', bad: [undefined, ...DURATIONS] },
      reason: { field: 'report.tunnels[0].reason', bad: ['lower', 'A B', 'A'.repeat(65)] }, 'statistics.attempts': FREE,
      ...prefixed('statistics', Object.fromEntries(['connections', 'failures', 'restarts', 'probes', 'probes_failed'].map((one) => [one, number()]))),
      ...prefixed('statistics', Object.fromEntries(['probe_time', 'probe_age', 'restart_time'].map((one) => [one, { field: `report.tunnels[0].statistics.${one}`, bad: DURATIONS }]))),
    }),
    'report.drift_repairs': number(), 'report.routes.reloads': number(), 'report.routes.failures': number(), 'report.routes.served': number(),
    'report.routes.latency_p50': { field: 'report.routes.latency_p50', bad: DURATIONS }, 'report.routes.latency_p99': { field: 'report.routes.latency_p99', bad: DURATIONS },
    'report.idle.mapping_id': { field: 'report.idle[0].mapping_id', bad: ['', '../x', 'x'.repeat(19)] },
    'report.idle.generation': number(), 'report.idle.environment_lives': FREE,
    'report.idle.idle': { field: 'report.idle[0].idle', bad: [undefined, ...DURATIONS] },
    'report.occupied': { field: 'report.occupied', bad: [[''], ['30001'], ['tcp/0'], ['tcp/65536'], ['sctp/1'], ['tcp/-1']] },
    'report.conflicts.protocol': { field: 'report.conflicts[0].protocol', bad: [0, 3, ...UNKNOWN_ENUM] },
    'report.conflicts.port': { field: 'report.conflicts[0].port', bad: [0, ...PORTS] },
    'report.conflicts.address': { field: 'report.conflicts[0].address', bad: ['', 'localhost', '10.0.0.256', '10.0.0.1/8'] },
    // Texts that a foreign process may have chosen: cut and cleaned, never refused. See test/unit/shared/wire.test.ts.
    'report.conflicts.uid': FREE, 'report.conflicts.user': FREE, 'report.conflicts.holder.pid': FREE, 'report.conflicts.holder.program': FREE,
    'report.conflicts.holder.command': FREE, 'report.conflicts.holder.container_id': FREE, 'report.conflicts.holder.proxy_for': FREE,
    'report.leaks.leak': { field: 'report.leaks[0].leak', bad: LEAK_IDS },
    'report.leaks.kind': { field: 'report.leaks[0].kind', bad: [0] },
    'report.leaks.protocol': { field: 'report.leaks[0].protocol', bad: [0, 3, ...UNKNOWN_ENUM] },
    'report.leaks.port': { field: 'report.leaks[0].port', bad: PORTS },
    'report.leaks.mapping_id': { field: 'report.leaks[0].mapping_id', bad: ['../x', 'x'.repeat(19)] },
    'report.leaks.generation': number(), 'report.leaks.message': FREE, 'report.leaks.sightings': FREE, 'report.leaks.repair': FREE, 'report.leaks.automatic': FREE,
    'report.conflicts.holder.started_at': FREE, 'report.conflicts.holder.environment': FREE,
  }),
};

function under(method: string, rows: Record<string, Row | typeof FREE>): Record<string, Row | typeof FREE> {
  return Object.fromEntries(Object.entries(rows).map(([field, row]) => [`${method} ${field}`, row]));
}

function prefixed<Value>(prefix: string, rows: Record<string, Value>): Record<string, Value> {
  return Object.fromEntries(Object.entries(rows).map(([field, row]) => [`${prefix}.${field}`, row]));
}

function figures(method: string): Record<string, typeof FREE> {
  const names = ['total', 'reserved', 'leased', 'allocated', 'held', 'quarantined', 'free', 'usage_percent', 'draining', ...['recent', 'since_start'].flatMap((time) => RATES.map((rate) => `${time}.${rate}`))];
  return Object.fromEntries(names.map((figure) => [`${method} pool.figures.${figure}`, FREE]));
}
