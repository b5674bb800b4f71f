/** The shortest story that still breaks the rule: actions are left out in ever smaller groups, as long as it still breaks. */
import type { Outcome, SimulationOptions } from './simulation.js';

/** `only`: the actions that are left. */
export type Shrunk = { only: ReadonlySet<number>; outcome: Outcome };

type Simulate = (options: SimulationOptions) => Promise<Outcome>;

/** `failed` is what `options` came to. Gives up after `tries` runs. Delta debugging: Zeller, Hildebrandt 2002. */
export async function shrink(simulate: Simulate, { options, failed, tries }: { options: SimulationOptions; failed: Outcome; tries: number }): Promise<Shrunk> {
  let left = Array.from({ length: failed.actions }, (_, number) => number);
  let best: Shrunk = { only: new Set(left), outcome: failed };
  let runs = 0;
  for (let size = Math.ceil(left.length / 2); size >= 1 && runs < tries;) {
    let hasShrunk = false;
    for (let from = 0; from < left.length && runs < tries; from += size) {
      const kept = [...left.slice(0, from), ...left.slice(from + size)];
      const only = new Set(kept);
      const outcome = await simulate({ ...options, only, steps: 2 * failed.steps });
      runs += 1;
      if (ruleOf(outcome.breach) !== ruleOf(failed.breach)) continue;
      best = { only, outcome };
      left = kept.filter((number) => number < outcome.actions);
      hasShrunk = true;
      from -= size;
    }
    if (!hasShrunk || size === 1) size = size === 1 && hasShrunk ? 1 : Math.floor(size / 2);
  }
  return best;
}

/** "S1" of "S1: port …". */
function ruleOf(breach: string | undefined): string | undefined {
  return breach?.split(':')[0];
}
