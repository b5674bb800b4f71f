/** Rules that bring a spec about, in the words in which iptables-save prints them. Pure. */
import type { Transport } from '../../../shared/ports.js';
import { PersistentMap, type Change } from '../../persistent/map.js';
import { noPorts, PortMap } from '../../persistent/ports.js';
import { acceptedPorts, type Accepted } from './accepted.js';
import type { CheckedSpec } from './checked.js';
import {
  ACCEPT, CUT, CUT_SET, FLOW_SET, FLOW_TIMEOUT_S, FORWARD, GUARD, GUARD_SET, MARK, MARKED, MASQ, POST, PROXIED_SET, PUBLISHED_SET, ROOT, TARGET_SET, treeChain, WIDE_SET, type Table,
} from './layout.js';
import { limitedChanges } from './limited.js';
import { familyOf, TRANSPORTS, type Family } from './spec.js';
import { treeChanges } from './tree.js';

/** A rule of a chain that is not portlease's, and that leads to one that is. */
export type Jump = { readonly chain: string; readonly rule: string };

export type DesiredTable = { readonly chains: PersistentMap<readonly string[]>; readonly jumps: readonly Jump[] };
export type DesiredFamily = Readonly<Record<Table, DesiredTable>> & {
  /** Undefined: nothing is wanted. */
  readonly accepted: Accepted | undefined;
};

/** Where forwarded traffic meets portlease first. */
export type ForwardHook = 'FORWARD' | 'DOCKER-USER';

/** `before`: an earlier rendering for this family. What did not change since is taken from there, as the same objects. */
export type FamilyContext = { readonly family: Family; readonly hook: ForwardHook; readonly before?: DesiredFamily | undefined };

/** Nothing at all, when the spec has no lease address of the family. */
export function renderFamily(spec: CheckedSpec, { family, hook, before }: FamilyContext): DesiredFamily {
  const addresses = spec.addresses.filter(address => familyOf(address) === family);
  if (addresses.length === 0) return { mangle: NOTHING, nat: NOTHING, filter: NOTHING, accepted: undefined };
  const base = sameAddresses(before, spec) ? before : undefined;
  const accepted = acceptedPorts(spec, base?.accepted);
  const context = { spec, family, addresses, accepted, base };
  return { mangle: mangle(context), nat: nat(context), filter: filter(context, hook), accepted };
}

const NOTHING: DesiredTable = { chains: PersistentMap.empty(), jumps: [] };

function sameAddresses(before: DesiredFamily | undefined, spec: CheckedSpec): boolean {
  return before?.accepted?.of.addresses.join() === spec.addresses.join();
}

type Context = { spec: CheckedSpec; family: Family; addresses: readonly string[]; accepted: Accepted; base: DesiredFamily | undefined };

function mangle({ spec: { markBit, proxied }, addresses, family, accepted, base }: Context): DesiredTable {
  const before = base?.accepted;
  const isSame = before !== undefined && before.of.markBit === markBit && (before.of.proxied === undefined) === (proxied === undefined);
  if (isSame && (markBit === undefined || sameRanges(before, accepted))) return base?.mangle as DesiredTable;
  const chains: Change<readonly string[]>[] = [
    [GUARD, TRANSPORTS.map(transport => `-p ${transport} -m set --match-set ${GUARD_SET[transport]} dst${proxied === undefined ? '' : ` -m set ! --match-set ${PROXIED_SET[transport]} dst`} -j DROP`)],
    [CUT, cutRules(family)],
    [MARK, markBit === undefined ? undefined : addresses.map(address => `-m conntrack --ctstate DNAT --ctorigdst ${address} --ctdir ORIGINAL -j ${MARKED}`)],
    [MARKED, markBit === undefined ? undefined : originalPorts(accepted, `MARK --set-xmark ${markText(markBit)}/${markText(markBit)}`)],
  ];
  const cut = `-m conntrack --ctstate NEW -j ${CUT}`;
  const guard = addresses.map(address => ({
    chain: 'INPUT', rule: `${to(address)} -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j ${GUARD}`,
  }));
  const mark = markBit === undefined ? [] : [{ chain: 'POSTROUTING', rule: `-j ${MARK}` }];
  return tableOf(chains, [{ chain: 'PREROUTING', rule: cut }, { chain: 'OUTPUT', rule: cut }, ...guard, ...mark], base?.mangle);
}

function markText(bit: number): string {
  return `0x${(2 ** bit).toString(16)}`;
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

function nat(context: Context): DesiredTable {
  const { spec, family, addresses, base } = context;
  const root: string[] = [];
  const changes: Change<readonly string[]>[] = [[POST, ownConnections(addresses, MASQ)], [MASQ, masquerade(context)]];
  for (const transport of TRANSPORTS) {
    const forwards = spec.forwards.of(family).ports[transport];
    changes.push(...treeChanges(transport, base?.accepted?.of.forwards.of(family).ports[transport] ?? PortMap.empty(), forwards));
    if (!forwards.isEmpty(0, 65_536)) root.push(`-p ${transport} -j ${treeChain(transport, 0, 65_536)}`);
    root.push(`-p ${transport} -m set --match-set ${GUARD_SET[transport]} dst -m set ! --match-set ${PUBLISHED_SET[transport]} dst -j ACCEPT`);
  }
  changes.push(...limitedChanges(base?.accepted?.of.forwards.of(family).ports ?? noPorts(), spec.forwards.of(family).ports));
  const jumps = ['PREROUTING', 'OUTPUT'].flatMap(chain => addresses.map(address => ({ chain, rule: `${to(address)} -j ${ROOT}` })));
  return tableOf([...changes, [ROOT, root]], [...jumps, { chain: 'POSTROUTING', rule: `-j ${POST}` }], base?.nat);
}

function masquerade({ spec, family, accepted, base }: Context): readonly string[] {
  const before = base?.accepted;
  if (before !== undefined && before.of.snat === spec.snat && sameRanges(before, accepted)) return base?.nat.chains.get(MASQ) as readonly string[];
  const set = TARGET_SET[family];
  const hairpin = `-m set --match-set ${set} src -m set --match-set ${set} dst -j MASQUERADE`;
  return [hairpin, ...spec.snat ? originalPorts(accepted, 'MASQUERADE') : []];
}

function filter({ addresses, accepted, base }: Context, hook: ForwardHook): DesiredTable {
  const before = base?.accepted;
  const accept = before !== undefined && sameRanges(before, accepted) ? base?.filter.chains.get(ACCEPT) as readonly string[] : originalPorts(accepted, 'ACCEPT');
  return tableOf([[FORWARD, ownConnections(addresses, ACCEPT)], [ACCEPT, accept]], [{ chain: hook, rule: `-j ${FORWARD}` }], base?.filter);
}

function sameRanges(a: Accepted, b: Accepted): boolean {
  return TRANSPORTS.every(transport => a[transport].ranges === b[transport].ranges);
}

/** Chains and jumps that say the same as before are the same objects. */
function tableOf(changes: readonly Change<readonly string[]>[], jumps: readonly Jump[], base: DesiredTable | undefined): DesiredTable {
  const before = base?.chains ?? PersistentMap.empty<readonly string[]>();
  const isNews = ([chain, rules]: Change<readonly string[]>): boolean => !sameTexts(before.get(chain), rules);
  const isSame = base !== undefined && sameTexts(base.jumps.map(textOf), jumps.map(textOf));
  return { chains: before.with(changes.filter(isNews)), jumps: isSame ? base.jumps : jumps };
}

function sameTexts(a: readonly string[] | undefined, b: readonly string[] | undefined): boolean {
  return a === b || (a !== undefined && b?.length === a.length && a.every((text, index) => text === b[index]));
}

function textOf({ chain, rule }: Jump): string {
  return `${chain} ${rule}`;
}

/** Packets of both directions, and ICMP errors, of connections that were led away from an own address. */
function ownConnections(addresses: readonly string[], chain: string): string[] {
  return addresses.map(address => `-m conntrack --ctstate DNAT --ctorigdst ${address} -j ${chain}`);
}

function originalPorts(accepted: Accepted, target: string): string[] {
  return TRANSPORTS.flatMap(transport => accepted[transport].ranges.map(({ first, last }) =>
    `-m conntrack --ctproto ${PROTOCOL_NUMBER[transport]} --ctorigdstport ${first === last ? first : `${first}:${last}`} -j ${target}`));
}

const PROTOCOL_NUMBER: Record<Transport, number> = { tcp: 6, udp: 17 };

function to(address: string): string {
  return `-d ${address}/${familyOf(address) === 'v4' ? 32 : 128}`;
}

