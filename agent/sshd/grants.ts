/** For which ports the hosts behind NAT may listen on this gateway, as its routes say at the moment. Pure. */
import type { DesiredObject } from '../../shared/desired.js';
import { rangeText, transportsOf, type PortRange } from '../../shared/ports.js';
import { tunnelAddress } from '../../shared/tunnel-address.js';
import { difference, union } from '../drivers/rules/ranges.js';

/** What one host may do with its key: listen for these TCP ports on `address`. */
export type Grant = { readonly key: string; readonly host: string; readonly address: string; readonly ports: readonly PortRange[] };

/** By public key. */
export type Grants = ReadonlyMap<string, Grant>;

/** sshd takes no more permitlisten options for one key. */
const MAX_PORTS = 4_096;

export function grantsOf(objects: Iterable<DesiredObject>): Grants {
  const found = new Map<string, { host: string; ports: PortRange[] }>();
  for (const object of objects) {
    if (object.kind !== 'route' || object.tunnelKey === undefined || !transportsOf(object.protocol).includes('tcp')) continue;
    const known = found.get(object.tunnelKey);
    if (known === undefined) found.set(object.tunnelKey, { host: object.host, ports: [object.ports] });
    // Two hosts with one key could not be told apart: the first one has it.
    else if (known.host === object.host) known.ports.push(object.ports);
  }
  return new Map([...found].map(([key, { host, ports }]) => [key, { key, host, address: tunnelAddress(host, key), ports: union(ports) }]));
}

/** A line of authorized_keys: listening for exactly these ports, and nothing else. More than sshd takes become all of the host's own address, where nobody is led who does not come for them. */
export function authorizedKey({ key, address, ports }: Grant): string {
  const numbers = ports.flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, i) => first + i));
  const listens = (numbers.length > MAX_PORTS ? ['*'] : numbers).map(port => `permitlisten="${address}:${port}"`);
  // Nothing of this machine is to be connected to: sshd knows no word for that but a place where nobody is.
  return `${['restrict', 'port-forwarding', 'permitopen="127.0.0.1:1"', 'command="/bin/false"', ...listens].join(',')} ${key}`;
}

/** Ports of a session that are not granted to its host any more. */
export function lostPorts(session: Pick<Grant, 'key' | 'host' | 'ports'>, grants: Grants): PortRange[] {
  const now = grants.get(session.key);
  return difference(session.ports, now?.host === session.host ? now.ports : []);
}

/** Routes that are being re-pointed to a host behind NAT: whoever came with its key before is not to be trusted with them. By lease and generation. */
export function fencedRoutes(objects: Iterable<DesiredObject>): Map<string, { key: string; ports: PortRange }> {
  const found = new Map<string, { key: string; ports: PortRange }>();
  for (const object of objects) {
    if (object.kind === 'route' && object.fence && object.tunnelKey !== undefined) found.set(`${object.leaseId} ${object.generation}`, { key: object.tunnelKey, ports: object.ports });
  }
  return found;
}

export function portsText(ports: readonly PortRange[]): string {
  return ports.map(rangeText).join(',');
}
