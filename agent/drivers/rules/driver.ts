/** Rules and sets of this machine: looks at what the kernel has, and brings it to what is wanted. */
import { setTimeout as pause } from 'node:timers/promises';
import type { RunChild } from '../child.js';
import { readFailure, RulesError } from './errors.js';
import { emptyFamily, parseSave, type ObservedFamily } from './parse.js';
import { afterwards, planFamily, type FamilyPlan } from './plan.js';
import { checkedSpec, type CheckedSpec } from './checked.js';
import { Counting, type Unserved } from './counting.js';
import { renderFamily, type DesiredFamily, type Jump } from './render.js';
import { hasOwnMembers, parseHeaders, parseSets, planSets, renderSets, withoutMembers, type ObservedSets, type SetPlan, type WantedSets } from './sets.js';
import { targetOf } from './layout.js';
import { familyOf, FAMILIES, TRANSPORTS, type Family, type RulesSpec } from './spec.js';
import { Uncounted, type CountConnections } from './uncounted.js';

export type ObservedRules = Readonly<Record<Family, ObservedFamily>> & { readonly sets: ObservedSets };

/** Rules, chains, jumps and set members that were added or removed; `repaired` of them because somebody else had changed them. */
export type Applied = {
  readonly changed: number;
  readonly repaired: number;
  /** Forwards, by their id, that are not in force, or not everywhere; left out: all are. */
  readonly unserved?: readonly Unserved[];
};

/** What the kernel held, and how often this driver had written until then. */
export type Sighting = { readonly state: ObservedRules; readonly writes: number; readonly families: readonly Family[] };

/** A spec in the words of the tools. */
type Rendered = { readonly spec: CheckedSpec; readonly families: Readonly<Record<Family, DesiredFamily>>; readonly sets: WantedSets };

type Plan = { rendered: Rendered; scripts: Record<Family, string>; sets: SetPlan; changed: number; written: readonly string[] };

/** `checked`: what was asked for; `rendered`: without what cannot be served, and with what is not counted taken off. */
type Known = { rendered: Rendered; asked: RulesSpec; checked: CheckedSpec; state: ObservedRules };

const TOOLS: Record<Family, { save: string; restore: string }> = {
  v4: { save: 'iptables-save', restore: 'iptables-restore' },
  v6: { save: 'ip6tables-save', restore: 'ip6tables-restore' },
};
const NOTHING = checkedSpec({ addresses: [], leased: [], forwards: [], snat: false });
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
  #last: Promise<unknown> = Promise.resolve();
  /** Times that something was to be written, whatever came of it. */
  #writes = 0;
  readonly #uncounted: Uncounted;
  readonly #counting = new Counting((family, script) => this.#restoreRules(family, script));

  /** `count`: left out, nothing is connected when a limit is written. */
  constructor(options: { run: RunChild; deadlineMs?: number; count?: CountConnections }) {
    this.#run = options.run;
    this.#uncounted = new Uncounted(options.count ?? (() => Promise.resolve(new Map())));
    this.#deadlineMs = options.deadlineMs ?? DEADLINE_MS;
  }

  /** Own objects in the kernel. A family whose tools are missing counts as empty. */
  observe(): Promise<ObservedRules> {
    return this.#alone(() => this.#look(FAMILIES, NOTHING));
  }

  /**
   * Looks at what apply() would have to look at for these lease addresses. Only reads: apply() without `observe` may be called meanwhile,
   * and makes a sighting that began before outdated if it writes.
   */
  async look(spec: Pick<RulesSpec, 'addresses'>): Promise<Sighting> {
    await this.#last;
    const writes = this.#writes;
    const families = this.#familiesToSee(spec);
    return { state: await this.#look(families, spec), writes, families };
  }

  /** False: this driver has written since. */
  isCurrent({ writes }: Sighting): boolean {
    return writes === this.#writes;
  }

  /**
   * Brings rules and sets to the spec. With `observe` it looks first and repairs what others changed, or goes by what a sighting says, if
   * that is current; without, it goes by what it last applied, and looks only when that turns out to be wrong. Throws RangeError for a spec
   * that cannot be brought about (nothing is changed then) and RulesError for what the tools say.
   */
  apply(spec: RulesSpec, { observe }: { observe: boolean | Sighting }): Promise<Applied> {
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

  async #apply(asked: RulesSpec, observe: boolean | Sighting): Promise<Applied> {
    const before = this.#known;
    const checked = asked === before?.asked ? before.checked : checkedSpec(asked);
    const { spec, unserved } = await this.#counting.servable(checked, observe !== false);
    const wanted = { asked, checked, spec };
    const told = unserved.length === 0 ? {} : { unserved };
    if (observe === false && before !== undefined) {
      try {
        return { changed: await this.#bring(wanted, before), repaired: 0, ...told };
      } catch (error) {
        if (!(error instanceof RulesError) || !OUTDATED.has(error.problem)) throw error;
        this.#known = before;
      }
    }
    await this.#uncounted.refresh(spec);
    const state = await this.#seen(spec, observe);
    const same = before?.rendered.spec === this.#uncounted.applyTo(spec);
    const drift = before === undefined || same ? 0 : planAll(before.rendered.spec, state, before.rendered).changed;
    const changed = await this.#bring(wanted, { state, rendered: before?.rendered });
    return { changed, repaired: same ? changed : drift, ...told };
  }

  /** What a sighting says that is current and knows enough, else what a look tells. */
  #seen(spec: CheckedSpec, observe: boolean | Sighting): Promise<ObservedRules> {
    const families = this.#familiesToSee(spec);
    const suits = typeof observe === 'object' && this.isCurrent(observe) && families.every(family => observe.families.includes(family));
    return suits ? Promise.resolve(observe.state) : this.#look(families, spec);
  }

  async #bring(wanted: Pick<Known, 'asked' | 'checked'> & Pick<Rendered, 'spec'>, before: { state: ObservedRules; rendered: Rendered | undefined }): Promise<number> {
    const { asked, checked } = wanted;
    const plan = await this.#plan(wanted.spec, before);
    this.#known = undefined;
    await this.#execute(plan);
    const { rendered } = plan;
    const { spec } = rendered;
    const after = (family: Family): ObservedFamily => afterwards(rendered.families[family], before.state[family]);
    this.#known = { rendered, asked, checked, state: { v4: after('v4'), v6: after('v6'), sets: new Map([...before.state.sets, ...rendered.sets]) } };
    for (const family of FAMILIES) {
      if (familiesOf(spec).includes(family)) this.#clean.delete(family);
      else this.#clean.add(family);
    }
    return plan.changed;
  }

  /** Rules that count connections and are written anew are told what they will not have counted. */
  async #plan(wanted: CheckedSpec, { state, rendered }: { state: ObservedRules; rendered: Rendered | undefined }): Promise<Plan> {
    const plan = planAll(this.#uncounted.applyTo(wanted), state, rendered);
    const begun = plan.written.flatMap(chain => targetOf(chain) ?? []).filter(id => isCountedBefore(wanted, rendered?.spec, id));
    if (begun.length === 0) return plan;
    await this.#uncounted.note(wanted, begun);
    return planAll(this.#uncounted.applyTo(wanted), state, rendered);
  }

  /** New sets come before the rules that ask them; members of sets that are there need no order. */
  async #execute({ scripts, sets }: Plan): Promise<void> {
    const lines = [...sets.creations, ...sets.changes];
    if (lines.length > 0 || scripts.v4 !== '' || scripts.v6 !== '') this.#writes++;
    if (sets.creations.length > 0) await this.#restoreSets(lines);
    const work = FAMILIES.map(family => this.#restoreRules(family, scripts[family]));
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

  #familiesToSee(spec: Pick<RulesSpec, 'addresses'>): readonly Family[] {
    const wanted = familiesOf(spec);
    return FAMILIES.filter(family => wanted.includes(family) || !this.#clean.has(family));
  }

  async #look(families: readonly Family[], spec: Pick<RulesSpec, 'addresses'>): Promise<ObservedRules> {
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

function planAll(spec: CheckedSpec, state: ObservedRules, before: Rendered | undefined): Plan {
  const one = (family: Family): FamilyPlan & { desired: DesiredFamily } => {
    const hook = state[family].docker ? 'DOCKER-USER' : 'FORWARD';
    const desired = renderFamily(spec, { family, hook, before: before?.families[family] });
    return { desired, ...planFamily(desired, state[family]) };
  };
  const [v4, v6] = [one('v4'), one('v6')];
  const rendered = { spec, families: { v4: v4.desired, v6: v6.desired }, sets: renderSets(spec, before) };
  const sets = planSets(rendered.sets, state.sets);
  return { rendered, scripts: { v4: v4.script, v6: v6.script }, sets, changed: v4.changed + v6.changed + sets.changed, written: [...v4.written, ...v6.written] };
}

/** A mapping with a limit that may have connections: one that was not served before has none. */
function isCountedBefore(spec: CheckedSpec, before: CheckedSpec | undefined, id: string): boolean {
  return FAMILIES.some(family => {
    const port = spec.forwards.of(family).counted.get(id);
    if (port === undefined) return false;
    return before === undefined || TRANSPORTS.some(transport => before.forwards.of(family).ports[transport].get(port)?.id === id);
  });
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
