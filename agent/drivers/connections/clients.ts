/** Who may be connected to a place, and how many at once. Pure. */
import { cidrContains, parseCidr, type Cidr } from '../../../shared/names.js';
import { sameLimits, type ClientLimits } from '../../../shared/desired.js';
import { networksOf } from '../../../shared/networks.js';

export type Clients = {
  readonly limits: ClientLimits;
  /** Of the family of the place; undefined: everybody. */
  readonly networks: readonly Cidr[] | undefined;
};

export function clientsOf(limits: ClientLimits, family: 4 | 6): Clients {
  return { limits, networks: networksOf(limits.networks, family)?.flatMap(network => parseCidr(network) ?? []) };
}

/** `clients` undefined: everybody, without limit. */
export function isWelcome(clients: Clients | undefined, address: string): boolean {
  return clients?.networks === undefined || clients.networks.some(network => cidrContains(network, address));
}

export function sameClients(a: Clients | undefined, b: Clients | undefined): boolean {
  return a === b || sameLimits(a?.limits, b?.limits);
}
