/** The config of nginx: one file a route, and the main file. Pure; nothing but numbers, lease ids and addresses that were parsed gets in. */
import { isIP } from 'node:net';
import { rangeText, type PortRange, type Transport } from '../../../shared/ports.js';
import { difference, union } from '../rules/ranges.js';
import { familyOf, FAMILIES, isRange, type Family } from '../rules/spec.js';
import type { NginxPaths } from './paths.js';
import type { ProxiedRoute } from './route.js';
import { isPlainPath, isPlainUser, type NginxSettings } from './settings.js';

/** A route, without the ports that cannot be listened on. `certificate`: file with certificate and key, where TLS ends here. */
export type ServedRoute = Omit<ProxiedRoute, 'key' | 'isFenced'> & { readonly without: readonly { readonly transport: Transport; readonly port: number }[]; readonly certificate?: string | undefined };

/** By name of the file. */
export type RouteFiles = ReadonlyMap<string, string>;

const ID = /^[a-z0-9-]{1,18}$/;
/** As good as none: nginx has no word for that. */
const NO_TIMEOUT = '3650d';

export function routeFileName(id: string): string {
  if (!ID.test(id)) throw new RangeError(`${JSON.stringify(id)} is not the id of a lease`);
  return `route-${id}.conf`;
}

/** `addresses`: lease addresses that this machine has. */
export function renderRoutes(routes: Iterable<ServedRoute>, addresses: readonly string[]): RouteFiles {
  return new Map(Array.from(routes, route => [routeFileName(route.id), renderRoute(route, addresses)]));
}

function renderRoute(route: ServedRoute, addresses: readonly string[]): string {
  if (!isRange(route.ports)) throw new RangeError(`${rangeText(route.ports)} is not a range of ports`);
  const servers = route.transports.flatMap(transport => FAMILIES.flatMap(family => {
    const to = route.hosts[family];
    const own = addresses.filter(address => familyOf(address) === family);
    const ranges = portsOf(route, transport);
    return to === undefined || own.length === 0 || ranges.length === 0 ? [] : [serverText(route, { transport, ranges, own, to })];
  }));
  return `# Written by portlease-agent: what is changed here is overwritten.\n${servers.join('')}`;
}

/** Ports that are listened on. */
export function portsOf({ ports, without }: ServedRoute, transport: Transport): PortRange[] {
  return difference([ports], union(without.filter(each => each.transport === transport).map(({ port }) => ({ first: port, last: port }))));
}

function serverText({ connections, certificate }: ServedRoute, { transport, ranges, own, to }: { transport: Transport; ranges: readonly PortRange[]; own: readonly string[]; to: string }): string {
  if (certificate !== undefined && !isPlainPath(certificate)) throw new RangeError(`${JSON.stringify(certificate)} cannot stand in the config of nginx`);
  const listens = own.flatMap(address => ranges.map(range => `  listen ${bracketed(address)}:${rangeText(range)}${transport === 'udp' ? ' udp reuseport' : ` so_keepalive=on${certificate === undefined ? '' : ' ssl'}`};\n`));
  const { timeoutMs = 0 } = connections ?? {};
  const timeout = timeoutMs > 0 ? `${Math.round(timeoutMs)}ms` : transport === 'udp' ? UDP_TIMEOUT : NO_TIMEOUT;
  const tls = certificate === undefined ? '' : `  ssl_certificate ${certificate};\n  ssl_certificate_key ${certificate};\n`;
  return `server {\n${listens.join('')}${tls}  proxy_pass ${bracketed(to)}:$server_port;\n  proxy_timeout ${timeout};\n}\n`;
}

/** A UDP session has no end: as long as conntrack remembers a flow. */
const UDP_TIMEOUT = '120s';

/** Whose port it was is asked of the coordinator: allocations cost the gateway nothing. */
function accessLog({ accessLogBytes }: NginxSettings, paths: NginxPaths): string[] {
  if (accessLogBytes === 0) return ['  access_log off;'];
  const fields = ['"time":"$time_iso8601"', '"protocol":"$protocol"', '"client":"$remote_addr"', '"port":$server_port', '"host":"$upstream_addr"', '"status":$status',
    '"fromClient":$bytes_received', '"toClient":$bytes_sent', '"seconds":$session_time'];
  return [`  log_format portlease escape=json '{${fields.join(',')}}';`, `  access_log ${paths.accessLog} portlease buffer=32k flush=1s;`];
}

function bracketed(address: string): string {
  if (isIP(address) === 0 || address.includes('%')) throw new RangeError(`${JSON.stringify(address)} is not an address`);
  return address.includes(':') ? `[${address}]` : address;
}

/** Sockets that a worker listens on. */
export function listenersOf(routes: Iterable<ServedRoute>, addresses: readonly string[]): number {
  const own = (family: Family): number => addresses.filter(address => familyOf(address) === family).length;
  let count = 0;
  for (const route of routes) {
    const perPort = FAMILIES.reduce((sum, family) => sum + (route.hosts[family] === undefined ? 0 : own(family)), 0);
    for (const transport of route.transports) count += perPort * portsOf(route, transport).reduce((sum, { first, last }) => sum + last - first + 1, 0);
  }
  return count;
}

export type MainConfig = { serial: number; settings: NginxSettings; paths: NginxPaths; listeners: number };

/** A client's connection takes two, one to the host; listeners and logs take some more. */
export function renderMain({ serial, settings, paths, listeners }: MainConfig): string {
  const { module, user, workers, connections, connectMs, shutdownMs } = settings;
  for (const path of [paths.directory, ...module === undefined ? [] : [module]]) if (!isPlainPath(path)) throw new RangeError(`${JSON.stringify(path)} cannot stand in the config of nginx`);
  if (!isPlainUser(user)) throw new RangeError(`${JSON.stringify(user)} is not the name of a user`);
  return [
    '# Written by portlease-agent: what is changed here is overwritten.',
    ...module === undefined ? [] : [`load_module ${module};`],
    `user ${user};`,
    `worker_processes ${workers};`,
    ...shutdownMs === undefined ? [] : [`worker_shutdown_timeout ${shutdownMs}ms;`],
    `pid ${paths.pid};`,
    `error_log ${paths.errorLog} crit;`,
    `error_log ${paths.mark(serial)} emerg;`,
    `events {\n  worker_connections ${2 * connections + listeners + 64};\n}`,
    'stream {',
    `  proxy_connect_timeout ${connectMs}ms;`,
    '  proxy_socket_keepalive on;',
    ...accessLog(settings, paths),
    '  ssl_protocols TLSv1.2 TLSv1.3;',
    '  ssl_handshake_timeout 10s;',
    `  include ${paths.routes}/route-*.conf;`,
    '}',
    '',
  ].join('\n');
}
