/** For which ports the hosts behind NAT may listen on this gateway, as its routes say at the moment. Pure. */
import type { DesiredObject } from '../../shared/desired.js';
import { rangeText, transportsOf, type PortRange } from '../../shared/ports.js';
import { tunnelAddress } from '../../shared/tunnel-address.js';
import { difference, union } from '../drivers/rules/ranges.js';

/** What one host may do with its key: listen for these TCP ports on `address`. */
export type Grant = { readonly host: string; readonly address: string; readonly ports: readonly PortRange[] };

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
  return new Map([...found].map(([key, { host, ports }]) => [key, { host, address: tunnelAddress(host), ports: union(ports) }]));
}

/** A line of authorized_keys: listening for exactly these ports, and nothing else. */
export function authorizedKey(key: string, { address, ports }: Grant): string {
  const numbers = ports.flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, i) => first + i)).slice(0, MAX_PORTS);
  const listens = numbers.map(port => `permitlisten="${address}:${port}"`);
  // Nothing of this machine is to be connected to: sshd knows no word for that but a place where nobody is.
  return `${['restrict', 'port-forwarding', 'permitopen="127.0.0.1:1"', 'command="/bin/false"', ...listens].join(',')} ${key}`;
}

/** Ports of a session that are not granted to its host any more. */
export function lostPorts(session: { host: string; ports: readonly PortRange[] }, grants: Grants): PortRange[] {
  const now = [...grants.values()].filter(({ host }) => host === session.host).flatMap(({ ports }) => ports);
  return difference(session.ports, union(now));
}

export function portsText(ports: readonly PortRange[]): string {
  return ports.map(rangeText).join(',');
}
