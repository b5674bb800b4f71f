/** What wanted routes come to on this machine. Pure. */
import type { Ports } from '../../persistent/ports.js';
import { leadsOf } from './doors.js';
import { listenersOf, renderMain, renderRoutes, type RouteFiles, type ServedRoute } from './render.js';
import type { Config } from './files.js';
import type { NginxPaths } from './paths.js';
import type { Place } from './place.js';
import type { ProxiedRoute } from './route.js';
import type { NginxSettings } from './settings.js';

/** What a round wants. `occupied`: ports that foreign processes have. `own`: ports of this host's own leases. */
export type RoutesWanted = { readonly routes: ReadonlyMap<string, ProxiedRoute>; readonly occupied: readonly Place[]; readonly own: Ports<true> };

/** `here`: lease addresses that this machine has. */
export type Target = { readonly here: readonly string[]; readonly routes: readonly ServedRoute[]; readonly leads: Ports<string>; readonly files: RouteFiles };

/** What cannot be listened on, or is refused, is left out. */
export type LeftOut = { isRefused: (route: ProxiedRoute) => boolean; takenOf: (route: ProxiedRoute) => readonly Place[] };

/** Of a pool: a file with certificate and key. Undefined: there is none that works. */
export type CertificateOf = (pool: string) => string | undefined;

export function targetOf({ routes, occupied }: RoutesWanted, { here, certificateOf }: { here: readonly string[]; certificateOf: CertificateOf }, { isRefused, takenOf }: LeftOut): Target {
  const served = [...routes.values()].filter(route => !isRefused(route)).flatMap(route => {
    const { id, ports, transports, hosts, connections } = route;
    const certificate = connections?.tls === 'terminate' ? certificateOf(connections.pool) : undefined;
    // Never without TLS instead.
    if (connections?.tls === 'terminate' && certificate === undefined) return [];
    const foreign = occupied.filter(({ port }) => ports.first <= port && port <= ports.last);
    return [{ id, ports, transports, hosts, ...(connections === undefined ? {} : { connections }), ...(certificate === undefined ? {} : { certificate }), without: [...foreign, ...takenOf(route)].map(({ transport, port }) => ({ transport, port })) }];
  });
  return { here, routes: served, leads: leadsOf(served), files: renderRoutes(served, here) };
}

export function configOf(serial: number, { routes, files, here }: Pick<Target, 'routes' | 'files' | 'here'>, of: { settings: NginxSettings; paths: NginxPaths }): Config {
  return { serial, routes, files, main: renderMain({ serial, ...of, listeners: listenersOf(routes, here) }) };
}
