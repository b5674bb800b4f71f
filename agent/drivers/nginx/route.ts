/** Routes as nginx serves them. */
import type { RouteConnections } from '../../../shared/desired.js';
import type { PortRange, Transport } from '../../../shared/ports.js';
import type { Family } from '../rules/spec.js';

/** Public ports of the lease addresses that lead to the same ports of a host. */
export type ProxiedRoute = {
  /** Of the desired object. */
  readonly key: string;
  /** Of the lease. */
  readonly id: string;
  readonly ports: PortRange;
  readonly transports: readonly Transport[];
  /** Address of the host for clients of each family, in canonical form. */
  readonly hosts: Readonly<Partial<Record<Family, string>>>;
  /** Another host had the range: it is waited for. */
  readonly isFenced: boolean;
  /** What its pool says of connections. */
  readonly connections?: RouteConnections | undefined;
};

/** Where it leads. Routes with the same text lead to the same host: clients need not notice when one takes the place of another. */
export function placesOf({ hosts }: Pick<ProxiedRoute, 'hosts'>): string {
  return [hosts.v4, hosts.v6].filter(address => address !== undefined).join(' ');
}
