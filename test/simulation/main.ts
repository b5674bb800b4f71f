/** npm run sim -- --seed N --steps M --hosts K: runs the simulation until a rule breaks or the steps are used up. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { shrink } from './shrink.js';
import { simulate, type SimulationOptions } from './simulation.js';

type Options = { seed: number; steps: number; run: number; hosts: number; scope: 'shared' | 'host' | 'both'; verbose?: true; tail: number; shrink: boolean; outcomes?: true };

/** Runs of the search for a shorter story. */
const TRIES = 400;

const program = new Command('npm run sim --')
  .description('Simulates a coordinator, agents and a gateway: network, disks, clocks and kernels are simulated, everything else is the real thing.')
  .option('--seed <n>', 'seed of the first run; the next one has the next seed', whole, 1)
  .option('--steps <n>', 'steps of all runs together', whole, 1_000_000)
  .option('--run <n>', 'steps of one run', whole, 20_000)
  .option('--hosts <n>', 'hosts beside the gateway', whole, 3)
  .addOption(new Option('--scope <scope>', 'of the gateway; both: every fourth run is in scope host').choices(['shared', 'host', 'both']).default('both'))
  .option('--verbose', 'the trace tells of commits and accepted states, too')
  .option('--tail <n>', 'how much of the trace is shown', whole, 60)
  .option('--no-shrink', 'show a failure as it was found')
  .option('--outcomes', 'count what callers were told')
  .parse();
process.exitCode = await main(program.opts<Options>());

/** 0: no rule broke. 1: one did. */
async function main({ seed: first, steps: wanted, run, hosts, scope, verbose, tail, shrink: isShrinking, outcomes: showsOutcomes }: Options): Promise<number> {
  const begin = performance.now();
  const told = new Map<string, number>();
  let done = 0;
  let seed = first;
  for (; done < wanted; seed += 1) {
    const options: SimulationOptions = { seed, steps: Math.min(run, wanted - done), hosts, scope: scope === 'both' ? (seed % 4 === 0 ? 'host' : 'shared') : scope };
    const outcome = await simulate(options);
    done += outcome.steps;
    for (const [name, count] of outcome.outcomes) told.set(name, (told.get(name) ?? 0) + count);
    if (outcome.breach === undefined) continue;
    const shown = { ...options, isVerbose: verbose === true };
    const shrunk = isShrinking ? await shrink(simulate, { options, failed: outcome, tries: TRIES }) : { only: undefined, outcome };
    const story = await simulate({ ...shown, ...(shrunk.only === undefined ? {} : { only: shrunk.only }), steps: shrunk.outcome.steps });
    const { trace, state, steps, breach } = story;
    if (trace.length > tail) console.log(`… ${trace.length - tail} lines before (--tail)`);
    console.log(trace.slice(-tail).join('\n'));
    console.log(state.join('\n'));
    console.log(`seed ${seed} (${options.scope}), step ${outcome.steps}: ${outcome.breach}`);
    if (shrunk.only !== undefined) console.log(`the story above is the shortest one found: ${shrunk.only.size} of ${outcome.actions} actions, ${steps} steps: ${breach}`);
    return 1;
  }
  if (showsOutcomes === true) console.log([...told].sort((a, b) => b[1] - a[1]).map(([name, count]) => `${count} ${name}`).join('\n'));
  console.log(`no rule broke: ${done} steps, seeds ${first}-${seed - 1}, ${Math.round(done / ((performance.now() - begin) / 1_000))} steps/s`);
  return 0;
}

function whole(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('it is not a whole number above 0');
  return value;
}
