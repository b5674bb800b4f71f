/** What iptables-save says, as far as it concerns portlease. Pure; one pass over the text. */
import { isOwnChain, ROOT, TABLES, type Table } from './layout.js';
import type { Jump } from './render.js';
import { RulesError } from './errors.js';

export type ObservedTable = {
  /** Own chains, and their rules as printed. */
  readonly chains: ReadonlyMap<string, readonly string[]>;
  /** Rules of hooks that are jumps of portlease's own form, in order, doubles included. */
  readonly jumps: readonly Jump[];
  /** Other rules that lead to own chains: left alone, and so is the existence of the chain. */
  readonly strays: readonly Jump[];
};

export type ObservedFamily = Readonly<Record<Table, ObservedTable>> & {
  /** True where Docker's chain for users exists and FORWARD leads to it. */
  readonly docker: boolean;
};

/** A table while it is read. */
type Draft = { chains: Map<string, string[]>; jumps: Jump[]; strays: Jump[] };

const HOOKS = new Set(['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING', 'DOCKER-USER']);
const TARGET = /(?:^|\s)(?:-j|-g|--jump|--goto) (\S+)/;
/** A jump of ours names a lease address at most, or the conntrack states that the renderer names. */
const OWN_FORM = /^(?:-d [0-9a-f.:]+(?:\/(?:32|128))? )?(?:-m conntrack (?:--ctstate NEW|! --ctstate [A-Z,]+) )?-j \S+$/;

export function emptyFamily(): ObservedFamily {
  return emptyDraft();
}

function emptyDraft(): Record<Table, Draft> & { docker: boolean } {
  const table = (): Draft => ({ chains: new Map(), jumps: [], strays: [] });
  return { mangle: table(), nat: table(), filter: table(), docker: false };
}

/** Throws RulesError for a table that the tool could not read: what is there is not known then. */
export function parseSave(text: string): ObservedFamily {
  const family = emptyDraft();
  let table: Draft | undefined;
  let userChain = false;
  let userJump = false;
  for (const line of text.split('\n')) {
    switch (line.charCodeAt(0)) {
      case 0x2d: // -
        if (table === undefined) break;
        takeRule(table, line);
        if (table === family.filter && line === '-A FORWARD -j DOCKER-USER') userJump = true;
        break;
      case 0x3a: { // :
        const name = line.slice(1, line.indexOf(' '));
        if (table !== undefined && isOwnChain(name)) table.chains.set(name, []);
        if (table === family.filter && name === 'DOCKER-USER') userChain = true;
        break;
      }
      case 0x2a: // *
        table = isTable(line.slice(1)) ? family[line.slice(1) as Table] : undefined;
        break;
      case 0x23: // #
        refuseUnreadable(line);
    }
  }
  family.docker = userChain && userJump;
  return family;
}

function takeRule(table: Draft, line: string): void {
  const end = line.indexOf(' ', 3);
  const chain = line.slice(3, end);
  if (isOwnChain(chain)) {
    const rules = table.chains.get(chain);
    if (rules === undefined) table.chains.set(chain, [line.slice(end + 1)]);
    else rules.push(line.slice(end + 1));
  } else if (line.includes(ROOT)) {
    const rule = line.slice(end + 1);
    const target = TARGET.exec(rule)?.[1];
    if (target === undefined || !isOwnChain(target)) return;
    const own = HOOKS.has(chain) && OWN_FORM.test(rule);
    (own ? table.jumps : table.strays).push({ chain, rule });
  }
}

function isTable(name: string): name is Table {
  return (TABLES as readonly string[]).includes(name);
}

/** iptables-nft leaves a table out that holds what it cannot express; repairing it blindly would double every jump. */
function refuseUnreadable(line: string): void {
  const table = /^# Table `(\S+)' is incompatible/.exec(line)?.[1];
  if (table === undefined || !isTable(table)) return;
  throw new RulesError('tableUnreadable', `iptables cannot read the table ${table}: somebody put rules there with nft. `
    + `Move those rules to a table of another name (nft list table ip ${table} shows them).`);
}
