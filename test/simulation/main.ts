/** npm run sim -- --seed N --steps M --hosts K */
import { Command } from 'commander';
import { simulate } from './simulation.js';

const program = new Command('sim')
  .option('--seed <n>', 'first seed', Number, 1)
  .option('--steps <n>', 'steps of all runs together', Number, 1_000_000)
  .option('--run <n>', 'steps of one run: the next one has the next seed', Number, 20_000)
  .option('--hosts <n>', 'hosts beside the gateway', Number, 3)
  .option('--no-shrink', 'show the failure as it was found')
  .option('--verbose', 'the trace tells of commits and accepted states, too')
  .option('--tail <n>', 'how much of the trace is shown', Number, 40)
  .option('--scope <scope>', 'shared, host or both in turns', 'both')
  .parse();
const { seed: first, steps: wanted, run, hosts, scope, verbose, tail } = program.opts<{ verbose?: true; tail: number; seed: number; steps: number; run: number; hosts: number; scope: string }>();

let done = 0;
const begin = performance.now();
const totals = new Map<string, number>();
for (let seed = first; done < wanted; seed += 1) {
  const chosen = scope === 'both' ? (seed % 4 === 0 ? 'host' : 'shared') : (scope as 'shared' | 'host');
  const { breach, steps, trace, state, outcomes } = await simulate({ seed, steps: Math.min(run, wanted - done), hosts, scope: chosen, isVerbose: verbose === true });
  done += steps;
  for (const [name, count] of outcomes) totals.set(name, (totals.get(name) ?? 0) + count);
  if (breach === undefined) continue;
  console.log(trace.slice(-tail).join('\n'));
  console.log(state.join('\n'));
  console.log(`seed ${seed} (${chosen}), step ${steps}: ${breach}`);
  process.exitCode = 1;
  break;
}
console.log([...totals].sort((a, b) => b[1] - a[1]).map(([name, count]) => `${count} ${name}`).join('\n'));
console.log(`${done} steps, ${Math.round(done / ((performance.now() - begin) / 1_000))}/s`);
process.exit();
