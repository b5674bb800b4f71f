/** Rules that bring a spec about, in the words in which iptables-save prints them. Pure. */
import type { PortRange, Transport } from '../../../shared/ports.js';
import { ACCEPT, CUT, CUT_SET, FORWARD, GUARD, GUARD_SET, MASQ, POST, ROOT, TARGET_SET, treeChain, type Table } from './layout.js';
import { union } from './ranges.js';
import { familyOf, TRANSPORTS, type Family, type RulesSpec } from './spec.js';
import { growTree, type Chains } from './tree.js';

/** A rule of a chain that is not portlease's, and that leads to one that is. */
export type Jump = { readonly chain: string; readonly rule: string };

export type DesiredTable = { readonly chains: ReadonlyMap<string, readonly string[]>; readonly jumps: readonly Jump[] };
export type DesiredFamily = Readonly<Record<Table, DesiredTable>>;

/** Where forwarded traffic meets portlease first. */
export type ForwardHook = 'FORWARD' | 'DOCKER-USER';

/** Nothing at all, when the spec has no lease address of the family. */
export function renderFamily(spec: RulesSpec, family: Family, hook: ForwardHook): DesiredFamily {
  const addresses = spec.addresses.filter(address => familyOf(address) === family);
  if (addresses.length === 0) return { mangle: NOTHING, nat: NOTHING, filter: NOTHING };
  return { mangle: mangle(addresses, family), nat: nat(spec, addresses, family), filter: filter(spec, addresses, hook) };
}

const NOTHING: DesiredTable = { chains: new Map(), jumps: [] };

function mangle(addresses: readonly string[], family: Family): DesiredTable {
  const chains: Chains = new Map([
    [GUARD, TRANSPORTS.map(transport => `-p ${transport} -m set --match-set ${GUARD_SET[transport]} dst -j DROP`)],
    [CUT, [`-m set --match-set ${CUT_SET[family]} src,src -j DROP`]],
  ]);
  const cut = `-m conntrack --ctstate NEW -j ${CUT}`;
  const guard = addresses.map(address => ({
    chain: 'INPUT', rule: `${to(address)} -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j ${GUARD}`,
  }));
  return { chains, jumps: [{ chain: 'PREROUTING', rule: cut }, { chain: 'OUTPUT', rule: cut }, ...guard] };
}

function nat(spec: RulesSpec, addresses: readonly string[], family: Family): DesiredTable {
  const chains: Chains = new Map([[ROOT, []], [POST, ownConnections(addresses, MASQ)], [MASQ, masquerade(spec, family)]]);
  for (const transport of TRANSPORTS) {
    const forwards = spec.forwards.filter(forward => forward.transport === transport && familyOf(forward.to) === family);
    if (forwards.length === 0) continue;
    growTree(chains, transport, forwards);
    chains.get(ROOT)?.push(`-p ${transport} -g ${treeChain(transport, 0, 65_536)}`);
  }
  const jumps = ['PREROUTING', 'OUTPUT'].flatMap(chain => addresses.map(address => ({ chain, rule: `${to(address)} -j ${ROOT}` })));
  return { chains, jumps: [...jumps, { chain: 'POSTROUTING', rule: `-j ${POST}` }] };
}

function masquerade(spec: RulesSpec, family: Family): string[] {
  const set = TARGET_SET[family];
  const hairpin = `-m set --match-set ${set} src -m set --match-set ${set} dst -j MASQUERADE`;
  return [hairpin, ...spec.snat ? originalPorts(spec, 'MASQUERADE') : []];
}

function filter(spec: RulesSpec, addresses: readonly string[], hook: ForwardHook): DesiredTable {
  return {
    chains: new Map([[FORWARD, ownConnections(addresses, ACCEPT)], [ACCEPT, originalPorts(spec, 'ACCEPT')]]),
    jumps: [{ chain: hook, rule: `-j ${FORWARD}` }],
  };
}

/** Packets of both directions, and ICMP errors, of connections that were led away from an own address. */
function ownConnections(addresses: readonly string[], chain: string): string[] {
  return addresses.map(address => `-m conntrack --ctstate DNAT --ctorigdst ${address} -j ${chain}`);
}

function originalPorts(spec: RulesSpec, target: string): string[] {
  return TRANSPORTS.flatMap(transport => leasedPorts(spec, transport).map(({ first, last }) =>
    `-m conntrack --ctproto ${PROTOCOL_NUMBER[transport]} --ctorigdstport ${first === last ? first : `${first}:${last}`} -j ${target}`));
}

const PROTOCOL_NUMBER: Record<Transport, number> = { tcp: 6, udp: 17 };

/** Leased ports and, should a lease be late, those of forwards. */
export function leasedPorts(spec: RulesSpec, transport: Transport): PortRange[] {
  return union([...spec.leased, ...spec.forwards].filter(each => each.transport === transport).map(each => each.ports));
}

function to(address: string): string {
  return `-d ${address}/${familyOf(address) === 'v4' ? 32 : 128}`;
}

