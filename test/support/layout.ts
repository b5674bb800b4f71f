/**
 * The machines of a bench and their addresses, as data.
 *
 *   client ── gateway ──┐
 *                       switch (a bridge) ── coordinator
 *                       ├── host-a ── vm-a
 *                       └── host-b ── vm-b
 *
 * The hosts route back through the gateway, so the client's address reaches the targets.
 */

export type HostName = 'host-a' | 'host-b' | 'host-c' | 'host-d';
export type Node = 'client' | 'gateway' | 'switch' | 'coordinator' | HostName | 'vm-a' | 'vm-b' | 'vm-c' | 'vm-d';
export type Family = 4 | 6;

export const ALL_HOSTS: readonly HostName[] = ['host-a', 'host-b', 'host-c', 'host-d'];

export const CLIENT = { 4: '203.0.113.10', 6: '2001:db8:0:1::10' } as const;
/** Where clients connect to. */
export const GATEWAY_PUBLIC = { 4: '203.0.113.1', 6: '2001:db8:0:1::1' } as const;
/** What the hosts see of the gateway. */
export const GATEWAY_INNER = { 4: '10.77.0.1', 6: 'fd77::1' } as const;
export const COORDINATOR = { 4: '10.77.0.2', 6: 'fd77::2' } as const;

const numberOf = (host: HostName) => ALL_HOSTS.indexOf(host) + 1;

/** Lease address of a host. */
export function hostAddress(host: HostName, family: Family = 4): string {
  return family === 4 ? `10.77.0.${10 + numberOf(host)}` : `fd77::1${numberOf(host)}`;
}

export function vmOf(host: HostName): Node {
  return host.replace('host', 'vm') as Node;
}

/** Addresses of the machine behind a host, `index` 0-7: each can be the target of another environment. */
export function vmAddress(host: HostName, index = 0, family: Family = 4): string {
  return family === 4 ? `10.88.${numberOf(host)}.${10 + index}` : `fd88:0:0:${numberOf(host)}::${10 + index}`;
}

export const VM_ADDRESSES = 8;

/** The host's side of the link to the machine behind it: a target on the host itself that is not its lease address. */
export function hostInnerAddress(host: HostName, family: Family = 4): string {
  return family === 4 ? `10.88.${numberOf(host)}.1` : `fd88:0:0:${numberOf(host)}::1`;
}

/** Port of the bridge that a machine is plugged into. */
export function bridgePort(node: Node): string {
  return `p-${node}`;
}

export type Link = { ends: readonly [{ node: Node; device: string }, { node: Node; device: string }] };
export type Plan = { nodes: Node[]; links: Link[]; setup: Map<Node, string[]>; forwarding: Node[] };

/** What has to be made, in the words of `ip -batch`. */
export function planOf(hosts: readonly HostName[]): Plan {
  const nodes: Node[] = ['client', 'gateway', 'switch', 'coordinator', ...hosts, ...hosts.map(vmOf)];
  const setup = new Map<Node, string[]>(nodes.map((node) => [node, ['link set lo up']]));
  const plugged: Node[] = ['gateway', 'coordinator', ...hosts];
  const links: Link[] = [link('client', 'pub0', 'gateway', 'pub0'), ...plugged.map((node) => link(node, 'lan0', 'switch', bridgePort(node)))];
  const add = (node: Node, lines: string[]) => setup.get(node)?.push(...lines);

  add('switch', ['link add br0 type bridge', 'link set br0 up', ...plugged.map((node) => `link set ${bridgePort(node)} master br0 up`)]);
  add('client', [...device('pub0', [`${CLIENT[4]}/24`, `${CLIENT[6]}/64`]), ...defaultVia(GATEWAY_PUBLIC)]);
  add('gateway', [...device('pub0', [`${GATEWAY_PUBLIC[4]}/24`, `${GATEWAY_PUBLIC[6]}/64`]), ...device('lan0', [`${GATEWAY_INNER[4]}/24`, `${GATEWAY_INNER[6]}/64`])]);
  add('coordinator', [...device('lan0', [`${COORDINATOR[4]}/24`, `${COORDINATOR[6]}/64`]), ...defaultVia(GATEWAY_INNER)]);
  for (const host of hosts) {
    links.push(link(host, 'vm0', vmOf(host), 'eth0'));
    add(host, [...device('lan0', [`${hostAddress(host)}/24`, `${hostAddress(host, 6)}/64`]), ...defaultVia(GATEWAY_INNER)]);
    add(host, device('vm0', [`${hostInnerAddress(host)}/24`, `${hostInnerAddress(host, 6)}/64`]));
    const inside = Array.from({ length: VM_ADDRESSES }, (_, i) => [`${vmAddress(host, i)}/24`, `${vmAddress(host, i, 6)}/64`]).flat();
    add(vmOf(host), [...device('eth0', inside), ...defaultVia({ 4: hostInnerAddress(host), 6: hostInnerAddress(host, 6) })]);
  }
  return { nodes, links, setup, forwarding: ['gateway', ...hosts] };
}

function link(a: Node, deviceA: string, b: Node, deviceB: string): Link {
  return { ends: [{ node: a, device: deviceA }, { node: b, device: deviceB }] };
}

/** The link-local address is fixed too: one that the kernel makes is not usable before its duplicate detection is over, a second later. */
function device(name: string, addresses: string[]): string[] {
  const linkLocal = addresses.filter((address) => address.includes(':')).slice(0, 1).map((address) => `fe80::${address.split(':').at(-1) ?? ''}`);
  const added = [...addresses, ...linkLocal].map((address) => `addr add ${address} dev ${name}${address.includes(':') ? ' nodad' : ''}`);
  return [`link set ${name} addrgenmode none`, ...added, `link set ${name} up`];
}

function defaultVia(gateway: Record<Family, string>): string[] {
  return [`route add default via ${gateway[4]}`, `route add default via ${gateway[6]}`];
}
