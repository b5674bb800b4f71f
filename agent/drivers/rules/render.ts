/** Rules that bring a spec about, in the words in which iptables-save prints them. Pure. */
import type { PortRange, Transport } from '../../../shared/ports.js';
import {
  ACCEPT, CUT, CUT_SET, FLOW_SET, FLOW_TIMEOUT_S, FORWARD, GUARD, GUARD_SET, MASQ, POST, ROOT, TARGET_SET, treeChain, WIDE_SET, type Table,
} from './layout.js';
import { union } from './ranges.js';
import { familyOf, TRANSPORTS, type Family, type RulesSpec } from './spec.js';
import { growTree, type Tree } from './tree.js';

/** A rule of a chain that is not portlease's, and that leads to one that is. */
export type Jump = { readonly chain: string; readonly rule: string };

export type DesiredTable = { readonly chains: ReadonlyMap<string, readonly string[]>; readonly jumps: readonly Jump[] };
/** The dispatch trees of a family: given back to the next rendering, which then makes only what has changed. */
export type Trees = Readonly<Record<Transport, Tree>>;
export type DesiredFamily = Readonly<Record<Table, DesiredTable>> & { readonly trees: Trees | undefined };

/** Where forwarded traffic meets portlease first. */
export type ForwardHook = 'FORWARD' | 'DOCKER-USER';

export type FamilyContext = { readonly family: Family; readonly hook: ForwardHook; readonly before?: Trees | undefined };

/** Nothing at all, when the spec has no lease address of the family. */
export function renderFamily(spec: RulesSpec, { family, hook, before }: FamilyContext): DesiredFamily {
  const addresses = spec.addresses.filter(address => familyOf(address) === family);
  if (addresses.length === 0) return { mangle: NOTHING, nat: NOTHING, filter: NOTHING, trees: undefined };
  const { table, trees } = nat(spec, addresses, family, before);
  return { mangle: mangle(addresses, family), nat: table, filter: filter(spec, addresses, hook), trees };
}

const NOTHING: DesiredTable = { chains: new Map(), jumps: [] };

function mangle(addresses: readonly string[], family: Family): DesiredTable {
  const chains = new Map([
    [GUARD, TRANSPORTS.map(transport => `-p ${transport} -m set --match-set ${GUARD_SET[transport]} dst -j DROP`)],
    [CUT, cutRules(family)],
  ]);
  const cut = `-m conntrack --ctstate NEW -j ${CUT}`;
  const guard = addresses.map(address => ({
    chain: 'INPUT', rule: `${to(address)} -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j ${GUARD}`,
  }));
  return { chains, jumps: [{ chain: 'PREROUTING', rule: cut }, { chain: 'OUTPUT', rule: cut }, ...guard] };
}

/**
 * New packets of former targets, in this order: the start of a connection passes, for it revives nothing, and the port may be used for
 * connections outwards; a connection that was ended is remembered anew; the rest is dropped.
 */
function cutRules(family: Family): string[] {
  const flow = `-m set --match-set ${FLOW_SET[family]} src,src,dst`;
  return [
    '-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j RETURN',
    ...TRANSPORTS.map(transport => `-p ${transport} ${flow} -j SET --add-set ${FLOW_SET[family]} src,src,dst --exist --timeout ${FLOW_TIMEOUT_S[transport]}`),
    `${flow} -j DROP`,
    ...[WIDE_SET, CUT_SET].map(set => `-m set --match-set ${set[family]} src,src -j DROP`),
  ];
}

type Nat = { table: DesiredTable; trees: Trees };

function nat(spec: RulesSpec, addresses: readonly string[], family: Family, before: Trees | undefined): Nat {
  const root: string[] = [];
  const chains = new Map<string, readonly string[]>([[ROOT, root], [POST, ownConnections(addresses, MASQ)], [MASQ, masquerade(spec, family)]]);
  const trees = {} as Record<Transport, Tree>;
  for (const transport of TRANSPORTS) {
    const forwards = spec.forwards.filter(forward => forward.transport === transport && familyOf(forward.to) === family);
    const tree = trees[transport] = growTree(transport, forwards, before?.[transport]);
    for (const [chain, rules] of tree.chains) chains.set(chain, rules);
    if (forwards.length > 0) root.push(`-p ${transport} -g ${treeChain(transport, 0, 65_536)}`);
  }
  const jumps = ['PREROUTING', 'OUTPUT'].flatMap(chain => addresses.map(address => ({ chain, rule: `${to(address)} -j ${ROOT}` })));
  return { table: { chains, jumps: [...jumps, { chain: 'POSTROUTING', rule: `-j ${POST}` }] }, trees };
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
  return TRANSPORTS.flatMap(transport => acceptedPorts(spec, transport).map(({ first, last }) =>
    `-m conntrack --ctproto ${PROTOCOL_NUMBER[transport]} --ctorigdstport ${first === last ? first : `${first}:${last}`} -j ${target}`));
}

const PROTOCOL_NUMBER: Record<Transport, number> = { tcp: 6, udp: 17 };

/** Leased ports, and those of forwards: they may have been taken out of the guard. */
function acceptedPorts(spec: RulesSpec, transport: Transport): PortRange[] {
  return union([...spec.leased, ...spec.forwards].filter(each => each.transport === transport).map(each => each.ports));
}

function to(address: string): string {
  return `-d ${address}/${familyOf(address) === 'v4' ? 32 : 128}`;
}

