/**
 * Rules that are not portlease's and take its ports: they lead connections of leased ports elsewhere (nat: DNAT, REDIRECT), or lead to own chains.
 * They are found, never touched. `docker run -p` makes such rules, too: they carry `isDockers`.
 */
import { createHash } from 'node:crypto';
import { canonicalAddress } from '../../../shared/names.js';
import { MAX_PORT, overlaps, type PortRange, type Transport } from '../../../shared/ports.js';
import type { RunChild } from '../child.js';
import type { Wanted } from '../connections/listeners.js';
import { readFailure } from './errors.js';
import { isOwnChain } from './layout.js';
import { parseSave } from './parse.js';
import { familyOf, FAMILIES, TRANSPORTS, type Family } from './spec.js';
import { wordsOf } from './text.js';

export type ForeignRule = {
  /** The same for the same rule. */
  readonly id: string;
  /** "-A PREROUTING -p tcp …", as iptables-save prints it. */
  readonly rule: string;
  readonly tool: 'iptables' | 'ip6tables';
  /** Leased ports that it takes; undefined: it leads to an own chain. */
  readonly takes: { readonly transport: Transport; readonly ports: PortRange } | undefined;
  /** It is one of Docker's chain for published ports. */
  readonly isDockers: boolean;
};

export type ForeignRulesQuery = { readonly addresses: readonly string[]; readonly leased: Wanted };

const DEADLINE_MS = 20_000;
const SAVE: Record<Family, { file: string; tool: ForeignRule['tool'] }> = {
  v4: { file: 'iptables-save', tool: 'iptables' }, v6: { file: 'ip6tables-save', tool: 'ip6tables' },
};
const TAKING = new Set(['DNAT', 'REDIRECT']);
/** Chains that every connection meets: a rule there without a port takes all. */
const ENTRANCES = new Set(['PREROUTING', 'OUTPUT']);
const EVERY_PORT: PortRange = { first: 1, last: MAX_PORT };

/** Only reads. Throws when a tool fails. */
export async function findForeignRules(run: RunChild, { addresses, leased }: ForeignRulesQuery): Promise<ForeignRule[]> {
  const families = FAMILIES.filter(family => addresses.some(address => familyOf(address) === family));
  const texts = await Promise.all(families.map(async family => {
    const { file } = SAVE[family];
    try {
      return (await run(file, [], { deadlineMs: DEADLINE_MS })).stdout;
    } catch (error) {
      throw readFailure(error, file);
    }
  }));
  return families.flatMap((family, i) => foreignRules(texts[i] ?? '', { family, addresses, leased }));
}

/** `text`: what iptables-save prints. */
export function foreignRules(text: string, { family, addresses, leased }: ForeignRulesQuery & { family: Family }): ForeignRule[] {
  const { tool } = SAVE[family];
  const own = new Set(addresses);
  const rules = natRules(text).flatMap(({ chain, line }): ForeignRule[] => {
    const taken = takenBy(chain, wordsOf(line), own);
    const hit = taken && firstHit(taken, leased);
    return hit === undefined ? [] : [{ id: idOf(tool, 'nat', line), rule: line, tool, takes: hit, isDockers: chain === 'DOCKER' }];
  });
  const { mangle, nat, filter } = parseSave(text);
  const strays = Object.entries({ mangle, nat, filter }).flatMap(([table, { strays: jumps }]) => jumps.map(({ chain, rule }): ForeignRule => {
    const line = `-A ${chain} ${rule}`;
    return { id: idOf(tool, table, line), rule: `-t ${table} ${line}`, tool, takes: undefined, isDockers: false };
  }));
  return [...new Map([...rules, ...strays].map(rule => [rule.id, rule])).values()];
}

function natRules(text: string): { chain: string; line: string }[] {
  const found: { chain: string; line: string }[] = [];
  let isNat = false;
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) isNat = line === '*nat';
    if (!isNat || !line.startsWith('-A ')) continue;
    const chain = line.slice(3, line.indexOf(' ', 3));
    if (!isOwnChain(chain)) found.push({ chain, line });
  }
  return found;
}

type Taken = { transports: readonly Transport[]; ports: readonly PortRange[] };

/** Undefined: it leads nobody elsewhere, or not those who come to a lease address. */
function takenBy(chain: string, words: readonly string[], own: ReadonlySet<string>): Taken | undefined {
  if (!TAKING.has(valueOf(words, '-j')?.value ?? '')) return undefined;
  const to = valueOf(words, '-d');
  if (to !== undefined && !to.isNegated && isOneAddress(to.value) && !own.has(addressOf(to.value))) return undefined;
  const protocol = valueOf(words, '-p');
  const transports = protocol === undefined ? TRANSPORTS : TRANSPORTS.filter(transport => (transport === protocol.value) !== protocol.isNegated);
  const ports = valueOf(words, '--dport') ?? valueOf(words, '--dports');
  if (ports === undefined) return ENTRANCES.has(chain) ? { transports, ports: [EVERY_PORT] } : undefined;
  const ranges = rangesOf(ports.value);
  return { transports, ports: ports.isNegated ? othersThan(ranges) : ranges };
}

/** The first leased range that it takes ports of. */
function firstHit({ transports, ports }: Taken, leased: Wanted): ForeignRule['takes'] {
  for (const transport of transports) {
    for (const range of leased[transport]) {
      const hit = ports.find(one => overlaps(one, range));
      if (hit !== undefined) return { transport, ports: { first: Math.max(hit.first, range.first), last: Math.min(hit.last, range.last) } };
    }
  }
  return undefined;
}

function valueOf(words: readonly string[], option: string): { value: string; isNegated: boolean } | undefined {
  const at = words.indexOf(option);
  const value = at === -1 ? undefined : words[at + 1];
  return value === undefined ? undefined : { value, isNegated: words[at - 1] === '!' };
}

/** "80,443,8000:8100", as iptables prints ports. */
function rangesOf(text: string): PortRange[] {
  return text.split(',').map(part => {
    const [first, last = first] = part.split(':').map(Number);
    return { first: first ?? 0, last: last ?? 0 };
  });
}

function othersThan(ranges: readonly PortRange[]): PortRange[] {
  const sorted = [...ranges].sort((a, b) => a.first - b.first);
  const gaps = sorted.map(({ last }, i) => ({ first: last + 1, last: (sorted[i + 1]?.first ?? MAX_PORT + 1) - 1 }));
  return [{ first: 1, last: (sorted[0]?.first ?? 1) - 1 }, ...gaps].filter(({ first, last }) => first <= last);
}

function isOneAddress(text: string): boolean {
  return !text.includes('/') || /\/(?:32|128)$/.test(text);
}

function addressOf(text: string): string {
  const address = text.replace(/\/\d+$/, '');
  return canonicalAddress(address) ?? address;
}

function idOf(tool: string, table: string, line: string): string {
  return createHash('sha256').update(`${tool} ${table} ${line}`).digest('hex').slice(0, 16);
}
