/**
 * Mappings whose connections cannot be counted, because kernel or tools lack connlimit, are not served: without their limit they must not be,
 * and in a transaction with others they would take those along. Whether it works is tried before the first of them, by a transaction that
 * changes nothing; after a failure again with each full round.
 */
import type { CheckedSpec } from './checked.js';
import { RulesError } from './errors.js';
import { probeChain } from './layout.js';
import { countRule } from './limited.js';
import { FAMILIES, TRANSPORTS, type Family, type Forward } from './spec.js';

export type Unserved = { readonly id: string; readonly reason: string; readonly message: string };

/** What of a spec can be served, and what cannot. */
export type Servable = { readonly spec: CheckedSpec; readonly unserved: readonly Unserved[] };

const PROBE = `*nat\n:${probeChain} - [0:0]\n-A ${probeChain} ${countRule(1)}\n-F ${probeChain}\n-X ${probeChain}\nCOMMIT\n`;
/** Others say nothing about connlimit. */
const SAYS_NO: ReadonlySet<RulesError['problem']> = new Set(['moduleMissing', 'chainMissing', 'rejected'] as const);

export class Counting {
  /** By family, once it was tried; undefined: it works. */
  private readonly problems = new Map<Family, string | undefined>();
  private last: { of: CheckedSpec; without: string; servable: Servable } | undefined;

  /** `restore`: performs a script; throws RulesError. */
  constructor(private readonly restore: (family: Family, script: string) => Promise<void>) {}

  /** The same spec again gives the same object, as long as nothing has changed. */
  async servable(spec: CheckedSpec, isFull: boolean): Promise<Servable> {
    const counted = FAMILIES.filter(family => spec.forwards.of(family).counted.size > 0);
    for (const family of counted) {
      const isKnown = this.problems.has(family) && (!isFull || this.problems.get(family) === undefined);
      if (!isKnown) this.problems.set(family, await this.probe(family));
    }
    const without = counted.filter(family => this.problems.get(family) !== undefined);
    if (without.length === 0) return { spec, unserved: [] };
    if (this.last?.of !== spec || this.last.without !== without.join()) this.last = { of: spec, without: without.join(), servable: this.strip(spec, without) };
    return this.last.servable;
  }

  private async probe(family: Family): Promise<string | undefined> {
    try {
      await this.restore(family, PROBE);
      return undefined;
    } catch (error) {
      if (error instanceof RulesError && SAYS_NO.has(error.problem)) return error.message;
      throw error;
    }
  }

  private strip(spec: CheckedSpec, families: readonly Family[]): Servable {
    const gone = families.flatMap(family => countedForwards(spec, family).map(forward => ({ forward, problem: this.problems.get(family) })));
    const unserved = new Map(gone.map(({ forward: { id }, problem }) => [id, {
      id, reason: 'LIMIT_NOT_SERVED', message: `connections cannot be counted here, so a mapping with max_connections is not served: ${problem ?? ''}`,
    }]));
    return { spec: { ...spec, forwards: spec.forwards.amended(gone.map(({ forward }) => forward), []) }, unserved: [...unserved.values()] };
  }
}

function countedForwards({ forwards }: CheckedSpec, family: Family): Forward[] {
  const { counted, ports } = forwards.of(family);
  return [...counted].flatMap(([id, port]) => TRANSPORTS.flatMap(transport => ports[transport].get(port) ?? []).filter(forward => forward.id === id));
}
