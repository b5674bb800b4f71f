/** Rules and sets of this machine: looks at what the kernel has, and brings it to what is wanted. */
import { setTimeout as pause } from 'node:timers/promises';
import type { RunChild } from '../child.js';
import { readFailure, RulesError } from './errors.js';
import { emptyFamily, parseSave, type ObservedFamily } from './parse.js';
import { afterwards, planFamily, type FamilyPlan } from './plan.js';
import { renderFamily, type DesiredFamily, type Jump, type Trees } from './render.js';
import { hasOwnMembers, parseHeaders, parseSets, planSets, renderSets, withoutMembers, type ObservedSets, type SetPlan, type WantedSets } from './sets.js';
import { checkedSpec, familyOf, FAMILIES, type Checked, type Family, type RulesSpec } from './spec.js';

export type ObservedRules = Readonly<Record<Family, ObservedFamily>> & { readonly sets: ObservedSets };

/** Rules, chains, jumps and set members that were added or removed; `repaired` of them because somebody else had changed them. */
export type Applied = { readonly changed: number; readonly repaired: number };

type Plan = {
  families: Record<Family, { desired: DesiredFamily; script: string }>;
  sets: SetPlan;
  wantedSets: WantedSets;
  changed: number;
};

type Known = { spec: RulesSpec; asked: RulesSpec; state: ObservedRules; trees: TreesOf };
type TreesOf = Readonly<Record<Family, Trees | undefined>>;

const TOOLS: Record<Family, { save: string; restore: string }> = {
  v4: { save: 'iptables-save', restore: 'iptables-restore' },
  v6: { save: 'ip6tables-save', restore: 'ip6tables-restore' },
};
const NOTHING: RulesSpec = { addresses: [], leased: [], forwards: [], snat: false };
const DEADLINE_MS = 20_000;
const DESTROY_ATTEMPTS = 20;
const DESTROY_PAUSE_MS = 50;

export class RulesDriver {
  readonly #run: RunChild;
  readonly #deadlineMs: number;
  /** What was last applied, and what the kernel must have if nobody else changed it. */
  #known: Known | undefined;
  /** Families in which nothing of ours was found while nothing was wanted there. */
  readonly #clean = new Set<Family>();
  readonly #checked: Checked = new WeakMap();
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: { run: RunChild; deadlineMs?: number }) {
    this.#run = options.run;
    this.#deadlineMs = options.deadlineMs ?? DEADLINE_MS;
  }

  /** Own objects in the kernel. A family whose tools are missing counts as empty. */
  observe(): Promise<ObservedRules> {
    return this.#alone(() => this.#look(FAMILIES, NOTHING));
  }

  /**
   * Brings rules and sets to the spec. With `observe` it looks first and repairs what others changed; without, it goes by what
   * it last applied, and looks only when that turns out to be wrong. Throws RangeError for a spec that cannot be brought
   * about (nothing is changed then) and RulesError for what the tools say.
   */
  apply(spec: RulesSpec, { observe }: { observe: boolean }): Promise<Applied> {
    return this.#alone(() => this.#apply(spec, observe));
  }

  /** Takes every own chain, jump and set away. Chains that foreign rules lead to are left, empty. */
  removeAll(): Promise<void> {
    return this.#alone(async () => {
      this.#known = undefined;
      this.#clean.clear();
      const state = await this.#look(FAMILIES, NOTHING);
      await this.#execute(planAll(NOTHING, state, undefined));
      for (const name of state.sets.keys()) await this.#destroySet(name);
    });
  }

  /** Programs that the spec needs and that are not installed. */
  async missingTools(spec: Pick<RulesSpec, 'addresses'>): Promise<string[]> {
    const tools = familiesOf(spec).flatMap(family => [TOOLS[family].save, TOOLS[family].restore]);
    const missing = await Promise.all([...tools, 'ipset'].map(async tool => {
      try {
        await this.#run(tool, ['--version'], { deadlineMs: this.#deadlineMs });
        return undefined;
      } catch (error) {
        return isMissing(readFailure(error, tool)) ? tool : undefined;
      }
    }));
    return missing.filter(tool => tool !== undefined);
  }

  async #apply(asked: RulesSpec, observe: boolean): Promise<Applied> {
    const spec = asked === this.#known?.asked ? this.#known.spec : checkedSpec(asked, this.#checked);
    if (!observe && this.#known !== undefined) {
      const before = this.#known;
      try {
        return { changed: await this.#bring(asked, spec, before), repaired: 0 };
      } catch (error) {
        if (!(error instanceof RulesError) || !OUTDATED.has(error.problem)) throw error;
        this.#known = before;
      }
    }
    const known = this.#known;
    const state = await this.#look(this.#familiesToSee(spec), spec);
    const same = known?.spec === spec;
    const drift = known === undefined || same ? 0 : planAll(known.spec, state, known.trees).changed;
    const changed = await this.#bring(asked, spec, { state, trees: known?.trees });
    return { changed, repaired: same ? changed : drift };
  }

  async #bring(asked: RulesSpec, spec: RulesSpec, before: { state: ObservedRules; trees: TreesOf | undefined }): Promise<number> {
    const plan = planAll(spec, before.state, before.trees);
    this.#known = undefined;
    await this.#execute(plan);
    const after = (family: Family): ObservedFamily => afterwards(plan.families[family].desired, before.state[family]);
    const trees = { v4: plan.families.v4.desired.trees, v6: plan.families.v6.desired.trees };
    this.#known = { spec, asked, trees, state: { v4: after('v4'), v6: after('v6'), sets: new Map([...before.state.sets, ...plan.wantedSets]) } };
    for (const family of FAMILIES) {
      if (familiesOf(spec).includes(family)) this.#clean.delete(family);
      else this.#clean.add(family);
    }
    return plan.changed;
  }

  /** New sets come before the rules that ask them; members of sets that are there need no order. */
  async #execute({ families, sets }: Plan): Promise<void> {
    const lines = [...sets.creations, ...sets.changes];
    if (sets.creations.length > 0) await this.#restoreSets(lines);
    const work = FAMILIES.map(family => this.#restoreRules(family, families[family].script));
    if (sets.creations.length === 0) work.push(this.#restoreSets(lines));
    const ends = await Promise.allSettled(work);
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
  }

  async #restoreRules(family: Family, script: string): Promise<void> {
    if (script !== '') await this.#tool(TOOLS[family].restore, ['--noflush', '--wait'], script);
  }

  /** The kernel lets go of a set a moment after the rules that asked it are gone. */
  async #destroySet(name: string): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#restoreSets([`destroy ${name}`]);
        return;
      } catch (error) {
        if (!(error instanceof RulesError) || error.problem !== 'setInUse' || attempt === DESTROY_ATTEMPTS) throw error;
        await pause(DESTROY_PAUSE_MS);
      }
    }
  }

  async #restoreSets(lines: readonly string[]): Promise<void> {
    if (lines.length > 0) await this.#tool('ipset', ['-exist', 'restore'], `${lines.join('\n')}\n`);
  }

  #familiesToSee(spec: RulesSpec): readonly Family[] {
    const wanted = familiesOf(spec);
    return FAMILIES.filter(family => wanted.includes(family) || !this.#clean.has(family));
  }

  async #look(families: readonly Family[], spec: RulesSpec): Promise<ObservedRules> {
    const needed = familiesOf(spec);
    const see = async (family: Family): Promise<ObservedFamily> => {
      if (!families.includes(family)) return emptyFamily();
      try {
        return parseSave(await this.#tool(TOOLS[family].save, []));
      } catch (error) {
        if (isMissing(error) && !needed.includes(family)) return emptyFamily();
        throw error;
      }
    };
    const [v4, v6, ownSets] = await Promise.all([see('v4'), see('v6'), this.#lookAtSets()]);
    return { v4, v6, sets: ownSets };
  }

  async #lookAtSets(): Promise<ObservedSets> {
    const headers = parseHeaders(await this.#tool('ipset', ['list', '-t']));
    const read = headers.filter(hasOwnMembers).map(async ({ name }) => [...parseSets(await this.#tool('ipset', ['save', name]))]);
    const members = (await Promise.all(read)).flat();
    return new Map([...headers.map(header => [header.name, withoutMembers(header)] as const), ...members]);
  }

  async #tool(file: string, argv: readonly string[], stdin = ''): Promise<string> {
    try {
      return (await this.#run(file, argv, { stdin, deadlineMs: this.#deadlineMs })).stdout;
    } catch (error) {
      throw readFailure(error, file);
    }
  }

  /** One at a time, in the order of the calls. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }
}

/** Failures that say that the kernel is not as it was last seen. */
const OUTDATED: ReadonlySet<RulesError['problem']> = new Set(['chainMissing', 'setMissing', 'setOfOtherType', 'rejected'] as const);

function planAll(spec: RulesSpec, state: ObservedRules, trees: TreesOf | undefined): Plan {
  const one = (family: Family): FamilyPlan & { desired: DesiredFamily } => {
    const hook = state[family].docker ? 'DOCKER-USER' : 'FORWARD';
    const desired = renderFamily(spec, { family, hook, before: trees?.[family] });
    return { desired, ...planFamily(desired, state[family]) };
  };
  const families = { v4: one('v4'), v6: one('v6') };
  const wantedSets = renderSets(spec);
  const sets = planSets(wantedSets, state.sets);
  return { families, sets, wantedSets, changed: families.v4.changed + families.v6.changed + sets.changed };
}

function familiesOf({ addresses }: Pick<RulesSpec, 'addresses'>): Family[] {
  return FAMILIES.filter(family => addresses.some(address => familyOf(address) === family));
}

function isMissing(error: unknown): boolean {
  return error instanceof RulesError && error.problem === 'toolMissing';
}

/** Foreign rules that lead to own chains: left alone, worth a word to the operator. */
export function strayJumps(observed: ObservedRules): readonly Jump[] {
  return FAMILIES.flatMap(family => [observed[family].mangle, observed[family].nat, observed[family].filter]).flatMap(({ strays }) => strays);
}
