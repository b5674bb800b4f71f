/** Single public ports. */
import type { Transport } from '../../../shared/ports.js';
import type { ProxiedRoute } from './route.js';

export type Place = { readonly transport: Transport; readonly port: number };

/** Of the route that has the port. */
export function transportsWith(routes: readonly ProxiedRoute[], port: number): readonly Transport[] {
  return routes.find(({ ports }) => ports.first <= port && port <= ports.last)?.transports ?? [];
}
