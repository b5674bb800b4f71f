/** From what is there to what is wanted: one iptables-restore transaction a family. Pure. */
import { differences } from '../../persistent/map.js';
import { isOrdered, TABLES, type Table } from './layout.js';
import type { ObservedFamily, ObservedTable } from './parse.js';
import type { DesiredFamily, DesiredTable, Jump } from './render.js';
import { canonicalRule, sameRule } from './text.js';

/** Input of `iptables-restore --noflush`; '' when nothing is to be done. */
/** `written`: chains that get rules. */
export type FamilyPlan = { readonly script: string; readonly changed: number; readonly written: readonly string[] };

type TablePlan = { lines: string[]; changed: number; written: string[] };

export function planFamily(desired: DesiredFamily, observed: ObservedFamily): FamilyPlan {
  let script = '';
  let changed = 0;
  let written: string[] = [];
  for (const table of TABLES) {
    const plan = planTable(desired[table], observed[table]);
    changed += plan.changed;
    written = written.concat(plan.written);
    if (plan.lines.length > 0) script += `*${table}\n${plan.lines.join('\n')}\nCOMMIT\n`;
  }
  return { script, changed, written };
}

/** What the kernel has once `desired` was applied to `before`: the base of the next plan when nobody looks in between. */
export function afterwards(desired: DesiredFamily, before: ObservedFamily): ObservedFamily {
  const table = (name: Table): ObservedTable => ({
    chains: desired[name].chains.with(leftChains(desired[name], before[name]).map(chain => [chain, []])),
    jumps: desired[name].jumps,
    strays: before[name].strays,
  });
  return { mangle: table('mangle'), nat: table('nat'), filter: table('filter'), docker: before.docker };
}

/**
 * Additions only append, for a deletion makes the whole transaction slower. A chain with a rule too many is written anew. Order:
 * chains exist before they are filled, are filled before they are reached, are left before they go.
 */
function planTable(desired: DesiredTable, observed: ObservedTable): TablePlan {
  const declared: string[] = [];
  const appended: string[] = [];
  const gone: string[] = [];
  const written: string[] = [];
  let changed = 0;
  for (const chain of differences(observed.chains, desired.chains)) {
    const wanted = desired.chains.get(chain);
    const found = observed.chains.get(chain);
    if (wanted !== undefined) {
      const { missing, extra } = (isOrdered(chain) ? differenceInOrder : difference)(wanted, found ?? []);
      changed += missing.length + extra + (found === undefined ? 1 : 0);
      if (found === undefined || extra > 0) declared.push(`:${chain} - [0:0]`);
      const fresh = extra > 0 ? wanted : missing;
      for (const rule of fresh) appended.push(`-A ${chain} ${rule}`);
      if (fresh.length > 0) written.push(chain);
    } else if (found !== undefined && !isLedTo(chain, observed)) {
      declared.push(`:${chain} - [0:0]`);
      changed += found.length + 1;
      gone.push(`-X ${chain}`);
    } else if (found !== undefined && found.length > 0) {
      declared.push(`:${chain} - [0:0]`);
      changed += found.length;
    }
  }
  const jumps = planJumps(desired.jumps, observed.jumps);
  const lines = [...declared, ...appended, ...jumps, ...gone];
  return { lines, changed: changed + jumps.length, written };
}

/** Own chains that are not wanted but cannot go, because a foreign rule leads there. */
function leftChains(desired: DesiredTable, observed: ObservedTable): string[] {
  if (observed.strays.length === 0) return [];
  return differences(observed.chains, desired.chains).filter(chain => !desired.chains.has(chain) && isLedTo(chain, observed));
}

function isLedTo(chain: string, { strays }: ObservedTable): boolean {
  return strays.some(({ rule }) => rule.split(' ').includes(chain));
}

/** Rules that are missing, and how many are too many. The order of most own chains means nothing: no two of their rules meet. */
function difference(wanted: readonly string[], found: readonly string[]): { missing: readonly string[]; extra: number } {
  if (found.length === 0) return { missing: wanted, extra: 0 };
  if (wanted.length === found.length && wanted.every((rule, i) => rule === found[i])) return { missing: [], extra: 0 };
  const counts = new Map<string, number>();
  for (const rule of found) bump(counts, canonicalRule(rule), 1);
  const missing = wanted.filter(rule => {
    const key = canonicalRule(rule);
    const there = (counts.get(key) ?? 0) > 0;
    if (there) bump(counts, key, -1);
    return !there;
  });
  return { missing, extra: found.length - (wanted.length - missing.length) };
}

/** For a chain whose order matters: all but its first rules are taken for extra once one stands where it should not. */
function differenceInOrder(wanted: readonly string[], found: readonly string[]): { missing: readonly string[]; extra: number } {
  let same = 0;
  while (same < wanted.length && same < found.length && sameRule(wanted[same] as string, found[same] as string)) same++;
  return { missing: wanted.slice(same), extra: found.length - same };
}

function bump(counts: Map<string, number>, key: string, by: number): void {
  counts.set(key, (counts.get(key) ?? 0) + by);
}

/** By text, never by number: a foreign rule may have been inserted since. */
function planJumps(wanted: readonly Jump[], found: readonly Jump[]): string[] {
  if (wanted === found) return [];
  const rest = [...found];
  const missing = wanted.filter(jump => {
    const at = rest.findIndex(({ chain, rule }) => chain === jump.chain && sameRule(rule, jump.rule));
    if (at >= 0) rest.splice(at, 1);
    return at < 0;
  });
  return [
    ...missing.toReversed().map(({ chain, rule }) => `-I ${chain} 1 ${rule}`),
    ...rest.map(({ chain, rule }) => `-D ${chain} ${rule}`),
  ];
}
