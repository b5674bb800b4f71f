/** The agent's config: /etc/portlease/agent.yaml, overridden by PORTLEASE_AGENT_… variables, overridden by --set. */
import { z } from 'zod';
import { usageOf, type Arguments } from '../shared/arguments.js';
import { cidrText, ConfigError, dnsLabelText, durationMs, endpointText, filePathText, ipAddressText, loadConfig, tlsFiles } from '../shared/config.js';
import { LOG_LEVELS } from '../shared/log.js';
import { isLoopback, isTargetAddress } from '../shared/names.js';
import { isDockerName } from '../shared/target.js';
import { listenPolicy } from '../shared/tls.js';
import { isPlainPath, isPlainUser, isUnit } from './drivers/nginx/settings.js';
import { BOOT_ID_PATH } from './drivers/settings/boot.js';
import { tunnelsConfig } from './tunnels/config.js';

const DEFAULT_CONFIG_PATH = '/etc/portlease/agent.yaml';

const DEFAULT_STATE_PATH = '/var/lib/portlease';

const ENV_PREFIX = 'PORTLEASE_AGENT_';

/** As many as a hello may carry. */
const MAX_ADDRESSES = 16;

/** Containers and private networks. What every host refuses (loopback, link-local, …) is refused within them as well. */
const TARGET_NETWORKS = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7'];

const NO_LEASE_ADDRESS = 'is loopback, link-local, multicast or unspecified: name the address where public ports arrive';

const leaseAddress = ipAddressText.refine(address => isTargetAddress(address) || isLoopback(address), { error: NO_LEASE_ADDRESS });

const targetNetwork = cidrText.refine(cidr => isTargetAddress(cidr.text.split('/')[0] ?? '') || cidr.text.endsWith('/0'),
  { error: 'is loopback, link-local, multicast or unspecified: no mapping leads there' });

function between(minMs: number, maxMs: number) {
  return durationMs.refine(ms => ms >= minMs && ms <= maxMs, { error: `is not between ${minMs} and ${maxMs} ms` });
}

function unique(values: readonly unknown[]): boolean {
  return new Set(values).size === values.length;
}

const timing = z.strictObject({
  /** Between two rounds that compare the kernel with the desired state. */
  reconcileInterval: between(100, 60_000).prefault('2s'),
  /** Between two looks at the traffic of mappings. Idle limits that are shorter than this are as good as it. */
  idleInterval: between(100, 3_600_000).prefault('1m'),
  /** Between two looks for leaks. */
  leakInterval: between(100, 3_600_000).prefault('30s'),
  /** Delay before the session is opened again: doubled from min to max. */
  reconnectMin: between(10, 60_000).prefault('1s'),
  reconnectMax: between(10, 600_000).prefault('30s'),
  /** For the connection, and again for the welcome. */
  connect: between(100, 120_000).prefault('10s'),
}).refine(({ reconnectMin, reconnectMax }) => reconnectMin <= reconnectMax,
  { path: ['reconnectMax'], error: 'is shorter than timing.reconnectMin' });

function limit(max: number) {
  return z.int({ error: 'is not a whole number' }).min(1, { error: 'is less than 1' }).max(max, { error: `is more than ${max}` });
}

/** Of driver: userspace. */
const userspace = z.strictObject({
  /** Client connections at once. */
  maxConnections: limit(100_000).prefault(4_096),
  maxConnectionsPerMapping: limit(100_000).prefault(1_024),
  /** For the connection to a target. */
  connectTimeout: between(100, 120_000).prefault('5s'),
});

/** Containers that mappings lead to. */
const docker = z.strictObject({
  enabled: z.boolean({ error: 'is not true or false' }).prefault(true),
  socket: filePathText.prefault('/run/docker.sock'),
  /** Bit of the packet mark by which bridges tell packets of mappings: one that nothing else on this machine uses. */
  markBit: z.int({ error: 'is not a whole number' }).min(0, { error: 'is less than 0' }).max(31, { error: 'is more than 31' }).prefault(27),
});

const isPattern = (text: string): boolean => /^[A-Za-z0-9*][A-Za-z0-9_.:@/*-]{0,254}$/.test(text);
const pattern = z.string().refine(isPattern, { error: 'is not a name with * for any characters: 1-255 characters of A-Z a-z 0-9 _ . : @ / - *, a letter, digit or * first' });

/** "/data", or "/data:ro" for reading only. */
const hostPath = z.string().refine(text => /^(?:\/(?!\.{1,2}(?:\/|:|$))[^/:\p{Cc}]+)+(?::ro)?$/u.test(text), { error: 'is not an absolute path without "." and "..", with :ro behind it for reading only' })
  .transform(text => ({ path: text.replace(/:ro$/, ''), readOnly: text.endsWith(':ro') }));

/** Containers that schedulers may have this agent run. Never: privileged, further capabilities, the host's network, process or IPC namespace. */
const environments = z.strictObject({
  enabled: z.boolean({ error: 'is not true or false' }).prefault(false),
  /** Images that may be run. */
  images: z.array(pattern).prefault([]),
  /** Load an image that is not there. */
  pull: z.boolean({ error: 'is not true or false' }).prefault(false),
  /** What containers may see of the host's files. A tenant who may write there must not be able to put links there: Docker follows them. */
  hostPaths: z.array(hostPath).prefault([]),
  /** Named volumes that may be mounted. */
  volumes: z.array(pattern).prefault([]),
  networks: z.array(z.string().refine(isDockerName, { error: 'is not the name of a network of Docker' })).prefault(['bridge']),
  gpus: z.boolean({ error: 'is not true or false' }).prefault(false),
  /** Of one container; 0: no limit. */
  maxMemoryMiB: z.int({ error: 'is not a whole number' }).min(0, { error: 'is less than 0' }).prefault(0),
  maxCpus: z.number({ error: 'is not a number' }).min(0, { error: 'is less than 0' }).max(4_096, { error: 'is more than 4096' }).prefault(0),
  maxProcesses: limit(4_194_304).prefault(4_096),
  ulimits: z.array(z.enum(['core', 'memlock', 'nofile', 'nproc', 'stack'], { error: 'is not one of core, memlock, nofile, nproc, stack' })).prefault(['core', 'memlock', 'nofile', 'nproc', 'stack'])
    .transform((names): readonly string[] => names),
  /** Programs with the setuid bit (sudo) get no rights in containers. */
  noNewPrivileges: z.boolean({ error: 'is not true or false' }).prefault(true),
});

const plainPath = filePathText.refine(isPlainPath, { error: 'has characters that may not stand in the config of nginx: A-Z a-z 0-9 _ @ % + = : , . - / are allowed' });

/** Of routes: nginx. */
const nginx = z.strictObject({
  program: plainPath.prefault('/usr/sbin/nginx'),
  /** Unit of systemd that starts it: with portlease-nginx.service connections outlive the agent's unit. Left out: the agent starts it. */
  unit: z.string().refine(isUnit, { error: 'is not the name of a unit that ends in .service' }).optional(),
  /** Where stream is a module of its own. Left out: Debian's, if it is there. */
  streamModule: plainPath.optional(),
  /** Files of this nginx, and nothing else. Left out: nginx in paths.state. */
  directory: plainPath.optional(),
  /** Of its workers. */
  user: z.string().refine(isPlainUser, { error: 'is not the name of a user' }).prefault('www-data'),
  workers: limit(64).prefault(2),
  /** Clients of one worker. */
  connections: limit(1_000_000).prefault(4_096),
  /** For the connection to a host. */
  connectTimeout: between(100, 120_000).prefault('5s'),
  /** Connections of earlier workers end so long after a reload. Left out: when they end by themselves. */
  shutdownTimeout: between(1_000, 30 * 86_400_000).optional(),
  /** The log of connections is put aside when it is larger, and 4 of such are kept. 0: none. */
  accessLogMiB: z.int({ error: 'is not a whole number' }).min(0, { error: 'is less than 0' }).max(100_000, { error: 'is more than 100000' }).prefault(64),
  /** Of pools with tls: terminate: POOL.crt and POOL.key, for other pools default.crt and default.key. */
  certificates: filePathText.prefault('/etc/portlease/certificates'),
  /** Between two reloads; a range that is taken away does not wait for it. */
  reloadInterval: between(0, 60_000).prefault('1s'),
});

/** Things that are there without what they are for. */
const leaks = z.strictObject({
  /** So many looks in a row must see a leak before it is told of or repaired. */
  sightings: limit(1_000).prefault(3),
  /** repair: processes with the mark of a tunnel that there is not are ended. */
  tunnelProcesses: z.enum(['report', 'repair'], { error: 'is not a policy: report or repair' }).prefault('report'),
  /** repair: containers that do not run, and were made here for an environment that is not to run here any more, are removed. */
  containers: z.enum(['report', 'repair'], { error: 'is not a policy: report or repair' }).prefault('report'),
});

const paths = z.strictObject({
  /** Left out: /var/lib/portlease; with driver: userspace portlease/HOST in XDG_STATE_HOME, else in ~/.local/state. */
  state: filePathText.optional(),
  run: filePathText.prefault('/run/portlease'),
  /** The writer's lock: the agent is started under flock on it. Left out: agent.lock in paths.run. */
  lock: filePathText.optional(),
  bootId: filePathText.prefault(BOOT_ID_PATH),
}).transform(({ state, run, lock, bootId }) => ({ state, run, bootId, lock: lock ?? `${run}/agent.lock` }));

export const agentConfigSchema = z.strictObject({
  /** This machine. */
  host: dnsLabelText,
  /** Gateway that it belongs to. */
  gateway: dnsLabelText,
  roles: z.array(z.enum(['host', 'gateway'], { error: 'is not a role: host or gateway' }))
    .min(1, { error: 'is empty: name host, gateway or both' }).refine(unique, { error: 'names a role twice' }).prefault(['host']),
  /** iptables: rules in the kernel, as root. userspace: a TCP forwarder in the agent, as any user, for gateways with scope host. */
  driver: z.enum(['iptables', 'userspace'], { error: 'is not a driver: iptables or userspace' }).prefault('iptables'),
  userspace: userspace.prefault({}),
  docker: docker.prefault({}),
  environments: environments.prefault({}),
  leaks: leaks.prefault({}),
  tunnels: tunnelsConfig.prefault({}),
  /** Where the coordinator listens. */
  coordinator: endpointText.refine(endpoint => endpoint.kind === 'unix' || endpoint.port !== 0, { error: 'has port 0' }),
  /** Lease addresses of this machine: where the public ports arrive. */
  addresses: z.array(leaseAddress).min(1, { error: 'is empty: name the address where public ports arrive' })
    .max(MAX_ADDRESSES, { error: `has more than ${MAX_ADDRESSES} addresses` }).refine(unique, { error: 'names an address twice' }),
  /** Gateway role: hosts see the gateway's address instead of the client's. For hosts that do not route back through it. */
  snat: z.boolean({ error: 'is not true or false' }).prefault(false),
  /** Gateway role: what leads clients to the hosts. kernel: rules. nginx: a TCP and UDP proxy; hosts see the gateway's address. */
  routes: z.enum(['kernel', 'nginx'], { error: 'is not one of kernel, nginx' }).prefault('kernel'),
  nginx: nginx.prefault({}),
  /** Mappings lead only there. */
  targetNetworks: z.array(targetNetwork).prefault(TARGET_NETWORKS),
  timing: timing.prefault({}),
  paths: paths.prefault({}),
  tls: tlsFiles.optional(),
  /** Allows a connection without TLS that leaves this machine. */
  insecure: z.boolean({ error: 'is not true or false' }).prefault(false),
  log: z.strictObject({ level: z.enum(LOG_LEVELS, { error: `is not one of ${LOG_LEVELS.join(', ')}` }).prefault('info') }).prefault({}),
}).refine(({ environments: { enabled }, docker: { enabled: hasDocker } }) => !enabled || hasDocker,
  { path: ['environments', 'enabled'], error: 'needs Docker: set docker.enabled: true' })
  .refine(({ tunnels: { gateway }, roles, driver }) => gateway === undefined || (driver === 'iptables' && roles.join() === 'host'),
    { path: ['tunnels', 'gateway'], error: 'is for a machine with the role host alone and driver: iptables' })
  .refine(({ roles, snat }) => !snat || roles.includes('gateway'), { path: ['snat'], error: 'is for the role gateway' })
  .refine(({ roles, routes }) => routes === 'kernel' || roles.includes('gateway'), { path: ['routes'], error: 'nginx is for the role gateway' })
  .refine(({ roles, driver }) => driver === 'iptables' || !roles.includes('gateway'),
    { path: ['driver'], error: 'has no role gateway: routes need rules in the kernel: set driver: iptables, or roles: [host]' })
  .refine(({ addresses, driver }) => driver === 'userspace' || addresses.every(isTargetAddress),
    { path: ['addresses'], error: `: one of them ${NO_LEASE_ADDRESS}; loopback only with driver: userspace` })
  .refine(({ coordinator, tls, insecure }) => listenPolicy({ endpoint: coordinator, tls: tls !== undefined, insecure }).kind !== 'refused',
    { path: ['coordinator'], error: 'is another machine, and tls is not set: set tls.certificate, tls.key and tls.ca, or insecure: true' });

type Read = z.output<typeof agentConfigSchema>;

export type AgentConfig = Omit<Read, 'paths'> & { paths: Omit<Read['paths'], 'state'> & { state: string } };

/** Mappings lead to containers on hosts only. */
export function followsDocker({ docker: { enabled }, roles }: Pick<AgentConfig, 'docker' | 'roles'>): boolean {
  return enabled && roles.includes('host');
}

type Env = Readonly<Record<string, string | undefined>>;

/** Throws ConfigError, which names the key of each problem. */
export function loadAgentConfig({ configPath, set }: Pick<Arguments, 'configPath' | 'set'>, env: Env): AgentConfig {
  const named = configPath ?? env[`${ENV_PREFIX}CONFIG`];
  const file = { path: named ?? DEFAULT_CONFIG_PATH, optional: named === undefined };
  const config = loadConfig({ schema: agentConfigSchema, file, env, flags: set, envPrefix: ENV_PREFIX });
  return { ...config, paths: { ...config.paths, state: config.paths.state ?? defaultState(config, env) } };
}

/** A folder that the user can write, one for each host: several trial agents may run on one machine. */
function defaultState({ driver, host }: Read, env: Env): string {
  if (driver === 'iptables') return DEFAULT_STATE_PATH;
  const { XDG_STATE_HOME: state, HOME: home } = env;
  const folder = state?.startsWith('/') === true ? state : home?.startsWith('/') === true ? `${home}/.local/state` : undefined;
  if (folder === undefined) throw new ConfigError(['paths.state (default): neither XDG_STATE_HOME nor HOME says where: set it to a folder that this user can write']);
  return `${folder}/portlease/${host}`;
}

const DRIVERS = `
  driver: iptables   (default) rules in the kernel: as root, under flock, as the unit portlease-agent.service starts it
  driver: userspace  a TCP forwarder in this process, for trials: as any user, on gateways with scope host; README, "Try it without root"
`;

export const USAGE = usageOf('portlease-agent', { defaultPath: DEFAULT_CONFIG_PATH, envPrefix: ENV_PREFIX, example: 'timing.reconcileInterval=1s' }) + DRIVERS;
