/** Sets of ports and addresses: what is wanted, what `ipset save` says, and what makes the one from the other. Pure. */
import type { PortRange, Transport } from '../../../shared/ports.js';
import { CUT_SET, FLOW_SET, GUARD_SET, OWN_SET_PREFIX, PROXIED_SET, PUBLISHED_SET, TARGET_SET, WIDE_SET } from './layout.js';
import { count, difference, union } from './ranges.js';
import { familyOf, FAMILIES, TRANSPORTS, type Leased } from './spec.js';
import type { CheckedSpec } from './checked.js';
import { differences } from '../../persistent/map.js';

/** Members of a set whose content is this driver's; 'others' for sets that it only makes. */
export type Members = { kind: 'ports'; ports: readonly PortRange[] } | { kind: 'addresses'; addresses: Addresses } | { kind: 'others' };

/** Only the keys count. */
export type Addresses = ReadonlyMap<string, unknown>;

export type WantedSet = { readonly type: string; readonly options: string; readonly members: Members };
export type ObservedSet = { readonly type: string; readonly members: Members };
export type WantedSets = ReadonlyMap<string, WantedSet>;
export type ObservedSets = ReadonlyMap<string, ObservedSet>;

/** Lines for `ipset restore`, and how many sets and members they add or remove. */
export type SetPlan = { readonly creations: string[]; readonly changes: string[]; readonly changed: number };

const INET = { v4: 'inet', v6: 'inet6' } as const;

/** `before`: an earlier spec and its sets; those whose content did not change are taken from there, as the same objects. */
export function renderSets(spec: CheckedSpec, before?: { spec: CheckedSpec; sets: WantedSets }): WantedSets {
  const sets = new Map<string, WantedSet>();
  if (spec.addresses.length === 0) return sets;
  for (const transport of TRANSPORTS) {
    const known = (isSame: boolean, set: string): WantedSet | undefined => (isSame ? before?.sets.get(set) : undefined);
    const [guard, published] = [GUARD_SET[transport], PUBLISHED_SET[transport]];
    sets.set(guard, known(before?.spec.leased === spec.leased, guard) ?? portSet(spec.leased, transport));
    sets.set(published, known(before?.spec.published === spec.published, published) ?? portSet(spec.published ?? [], transport));
    if (spec.proxied !== undefined) sets.set(PROXIED_SET[transport], known(before?.spec.proxied === spec.proxied, PROXIED_SET[transport]) ?? portSet(spec.proxied, transport));
  }
  for (const family of FAMILIES) {
    if (!spec.addresses.some(address => familyOf(address) === family)) continue;
    const options = `family ${INET[family]} maxelem 1048576`;
    for (const [set, type] of [[CUT_SET, 'hash:ip,port'], [WIDE_SET, 'hash:ip,port'], [FLOW_SET, 'hash:ip,port,ip']] as const) {
      sets.set(set[family], { type, options: `${options} timeout 60`, members: { kind: 'others' } });
    }
    const targets = spec.forwards.of(family).hairpins.with(spec.addresses.map(address => [address, undefined]));
    sets.set(TARGET_SET[family], { type: 'hash:ip', options, members: { kind: 'addresses', addresses: targets } });
  }
  return sets;
}

function portSet(all: readonly Leased[], transport: Transport): WantedSet {
  const ports = union(all.filter(each => each.transport === transport).map(each => each.ports));
  return { type: 'bitmap:port', options: 'range 0-65535', members: { kind: 'ports', ports } };
}

/** A set by its name and type; `count` of its members, where ipset says so. */
export type SetHeader = { readonly name: string; readonly type: string; readonly count: number | undefined };

/** Own sets in the output of `ipset list -t`. */
export function parseHeaders(text: string): SetHeader[] {
  return text.split('\n\n').flatMap(block => {
    const value = (key: string): string | undefined => new RegExp(`^${key}: (.*)$`, 'm').exec(block)?.[1];
    const [name, type, count] = [value('Name'), value('Type'), value('Number of entries')];
    if (name === undefined || type === undefined || !name.startsWith(OWN_SET_PREFIX)) return [];
    return [{ name, type, count: count === undefined ? undefined : Number(count) }];
  });
}

/** True when the members have to be read: sets of connections can have a million, and their members are not this driver's. */
export function hasOwnMembers({ type, count }: SetHeader): boolean {
  return (type === 'bitmap:port' || type === 'hash:ip') && count !== 0;
}

/** A set as its header alone shows it. */
export function withoutMembers({ type }: SetHeader): ObservedSet {
  switch (type) {
    case 'bitmap:port': return { type, members: { kind: 'ports', ports: [] } };
    case 'hash:ip': return { type, members: { kind: 'addresses', addresses: new Map() } };
    default: return { type, members: { kind: 'others' } };
  }
}

/** Own sets in the output of `ipset save`. Sets of ports can have 65,535 lines: they are read without cutting the text into lines. */
export function parseSets(text: string): ObservedSets {
  const sets = new Map<string, ObservedSet>();
  for (let at = 0; at < text.length; ) {
    const end = endOfLine(text, at);
    const [word, name = '', type = ''] = text.slice(at, end).split(' ');
    at = end + 1;
    if (word !== 'create' || !name.startsWith(OWN_SET_PREFIX)) continue;
    const own = { text, prefix: `add ${name} `, at };
    if (type === 'bitmap:port') sets.set(name, { type, members: { kind: 'ports', ports: readPorts(own) } });
    else if (type === 'hash:ip') sets.set(name, { type, members: { kind: 'addresses', addresses: readAddresses(own) } });
    else sets.set(name, { type, members: { kind: 'others' } });
    at = own.at;
  }
  return sets;
}

/** Where in the text the members of one set are read; `at` moves on. */
type Reading = { readonly text: string; readonly prefix: string; at: number };

function endOfLine(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  return end < 0 ? text.length : end;
}

/** `ipset save` prints a bitmap in order. */
function readPorts(reading: Reading): PortRange[] {
  const { text, prefix } = reading;
  const ports: { first: number; last: number }[] = [];
  let before: { first: number; last: number } | undefined;
  while (text.startsWith(prefix, reading.at)) {
    let port = 0;
    let at = reading.at + prefix.length;
    for (let digit = text.charCodeAt(at) - ZERO; digit >= 0 && digit <= 9; digit = text.charCodeAt(++at) - ZERO) port = port * 10 + digit;
    if (before?.last === port - 1) before.last = port;
    else ports.push(before = { first: port, last: port });
    reading.at = endOfLine(text, at) + 1;
  }
  return ports;
}

const ZERO = 0x30;

function readAddresses(reading: Reading): Addresses {
  const { text, prefix } = reading;
  const addresses = new Map<string, true>();
  while (text.startsWith(prefix, reading.at)) {
    const end = endOfLine(text, reading.at);
    addresses.set(text.slice(reading.at + prefix.length, end).split(' ', 1)[0] as string, true);
    reading.at = end + 1;
  }
  return addresses;
}

export function planSets(wanted: WantedSets, observed: ObservedSets): SetPlan {
  const plan = { creations: [] as string[], changes: [] as string[], changed: 0 };
  for (const [name, { type, options, members }] of wanted) {
    const found = observed.get(name);
    const there = found?.type === type ? found : undefined;
    if (found !== undefined && there === undefined) plan.creations.push(`destroy ${name}`);
    if (there === undefined) plan.creations.push(`create ${name} ${type} ${options}`);
    const { add, remove, count } = membersBetween(members, there?.members);
    plan.changes.push(...add.map(each => `add ${name} ${each}`), ...remove.map(each => `del ${name} ${each}`));
    plan.changed += count + (there === undefined ? 1 : 0);
  }
  return plan;
}

type Difference = { add: string[]; remove: string[]; count: number };

function membersBetween(wanted: Members, found: Members | undefined): Difference {
  if (wanted === found) return { add: [], remove: [], count: 0 };
  switch (wanted.kind) {
    case 'ports': {
      const has = found?.kind === 'ports' ? union(found.ports) : [];
      const [add, remove] = [difference(wanted.ports, has), difference(has, wanted.ports)];
      return { add: add.map(rangeWord), remove: remove.map(rangeWord), count: count(add) + count(remove) };
    }
    case 'addresses': {
      const has: Addresses = found?.kind === 'addresses' ? found.addresses : new Map();
      const changed = differences(has, wanted.addresses);
      const [add, remove] = [changed.filter(address => !has.has(address)), changed.filter(address => !wanted.addresses.has(address))];
      return { add, remove, count: add.length + remove.length };
    }
    case 'others':
      return { add: [], remove: [], count: 0 };
    default:
      return wanted satisfies never;
  }
}

function rangeWord({ first, last }: PortRange): string {
  return first === last ? `${first}` : `${first}-${last}`;
}
