/**
 * The bridge guard as an nft table: packets that portlease's rules lead to the address of a container leave a bridge through the port
 * behind which that container is, or not at all. So a container that inherits an address inherits no traffic with it, also while no agent
 * runs. The packets are told by a mark, which rules of portlease set last of all (mangle POSTROUTING): connection tracking is not to be had in
 * a bridge on every kernel. Pure.
 */
import { familyOf } from '../../../shared/names.js';

export const TABLE = 'portlease';

/** Address to the name of the bridge port, or undefined: the address is guarded, and nobody is behind it. */
export type Ports = ReadonlyMap<string, string | undefined>;

const HEAD = (markBit: number): string => {
  const mark = `0x${(2 ** markBit).toString(16)}`;
  return `add table bridge ${TABLE}
add set bridge ${TABLE} bound4 { type ipv4_addr; }
add set bridge ${TABLE} bound6 { type ipv6_addr; }
add set bridge ${TABLE} place4 { type ipv4_addr . ifname; }
add set bridge ${TABLE} place6 { type ipv6_addr . ifname; }
add chain bridge ${TABLE} output { type filter hook output priority 0; policy accept; }
flush chain bridge ${TABLE} output
add rule bridge ${TABLE} output meta mark & ${mark} == 0 accept
add rule bridge ${TABLE} output ip daddr @bound4 ip daddr . oifname != @place4 drop
add rule bridge ${TABLE} output ip6 daddr @bound6 ip6 daddr . oifname != @place6 drop
`;
};

/** Input of `nft -f -` that makes the whole table. */
export function wholeTable(ports: Ports, markBit: number): string {
  const flush = ['bound4', 'bound6', 'place4', 'place6'].map((set) => `flush set bridge ${TABLE} ${set}\n`).join('');
  return HEAD(markBit) + flush + changedTable(new Map(), ports);
}

/** Input that leads from one to the other; '' when they are the same. */
export function changedTable(before: Ports, after: Ports): string {
  const lines: string[] = [];
  for (const [address, port] of before) {
    const now = after.get(address);
    if (port !== undefined && port !== now) lines.push(`delete element bridge ${TABLE} place${familyOf(address)} { ${address} . "${port}" }`);
    if (!after.has(address)) lines.push(`delete element bridge ${TABLE} bound${familyOf(address)} { ${address} }`);
  }
  for (const [address, port] of after) {
    if (!before.has(address)) lines.push(`add element bridge ${TABLE} bound${familyOf(address)} { ${address} }`);
    if (port !== undefined && before.get(address) !== port) lines.push(`add element bridge ${TABLE} place${familyOf(address)} { ${address} . "${port}" }`);
  }
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

type Listed = { nftables?: { set?: { name: string; elem?: unknown[] }; rule?: { expr?: unknown } }[] };

/** What `nft -j list table bridge portlease` says; undefined when the table is not as wholeTable makes it. */
export function parseTable(json: string): Ports | undefined {
  const { nftables = [] } = JSON.parse(json) as Listed;
  const sets = new Map(nftables.flatMap(({ set }) => (set === undefined ? [] : [[set.name, set.elem ?? []] as const])));
  if (nftables.filter(({ rule }) => rule !== undefined).length !== RULES || ['bound4', 'bound6', 'place4', 'place6'].some((name) => !sets.has(name))) return undefined;
  const ports = new Map<string, string | undefined>();
  for (const name of ['bound4', 'bound6']) for (const address of sets.get(name) ?? []) ports.set(String(address), undefined);
  for (const name of ['place4', 'place6']) {
    for (const element of sets.get(name) ?? []) {
      const [address, port] = (element as { concat?: unknown[] }).concat ?? [];
      if (typeof address !== 'string' || typeof port !== 'string') return undefined;
      ports.set(address, port);
    }
  }
  return ports;
}

const RULES = 3;

/** Names of devices as nft takes them in quotes; Docker's are "veth" and hexadecimal digits. */
export function isPortName(name: string): boolean {
  return /^[A-Za-z0-9_.-]{1,15}$/.test(name);
}
