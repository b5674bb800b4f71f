/** Tells the story, stops at the first claim that does not hold, and cleans up in every case. */
import { commandsToPlayWith } from './play.js';
import { createScreen } from './screen.js';
import { STORY, type Told } from './story.js';
import { World } from './world.js';

type End = { kind: 'told'; told: Told } | { kind: 'failed'; error: unknown } | { kind: 'interrupted'; signal: NodeJS.Signals };

const EXIT_INTERRUPTED = 130;
const isKept = process.argv.includes('--keep');
const screen = createScreen(process.stdout, process.env);
const interruption = new Promise<NodeJS.Signals>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, resolve);
});

const status = await main();
// What an interrupted step still waits for is not waited for.
process.exit(status);

async function main(): Promise<number> {
  screen.title('portlease: an environment loses its host and keeps its ports');
  const startMs = performance.now();
  const opening = World.up();
  const end = await Promise.race([
    tell(opening).then((told): End => ({ kind: 'told', told }), (error: unknown): End => ({ kind: 'failed', error })),
    interruption.then((signal): End => ({ kind: 'interrupted', signal })),
  ]);
  const world = await opening.catch(() => undefined);
  if (end.kind === 'failed') screen.failed(end.error instanceof Error ? end.error.message : String(end.error));
  if (end.kind === 'told') {
    const leftOut = STORY.filter(({ lacks }) => lacks?.() !== undefined).length;
    screen.plain(`\n${leftOut === 0 ? `All ${STORY.length} steps were` : `${STORY.length - leftOut} of ${STORY.length} steps were told, and each of them was`} proven, in ${((performance.now() - startMs) / 1000).toFixed(0)} s.`);
    if (isKept && world) await keep(world, end.told);
  }
  await world?.close(end.kind === 'failed');
  screen.plain(end.kind === 'interrupted' ? `\n${end.signal}: everything was removed again.` : 'Everything was removed again.');
  return { told: 0, failed: 1, interrupted: EXIT_INTERRUPTED }[end.kind];
}

async function tell(opening: Promise<World>): Promise<Told> {
  let startMs = performance.now();
  const told: Told = { world: await opening, ports: { ssh: 0, web: 0 }, mappingIds: [], movedAtMs: 0 };
  for (const [i, step] of STORY.entries()) {
    screen.step(i + 1, step.text);
    const lacks = step.lacks?.();
    if (lacks !== undefined) {
      screen.plain(`    left out: ${lacks}`);
      continue;
    }
    await step.run(told, (text) => { screen.proven(text); });
    screen.took(performance.now() - startMs);
    startMs = performance.now();
  }
  return told;
}

async function keep(world: World, told: Told): Promise<void> {
  screen.plain(commandsToPlayWith(world, told.ports));
  await interruption;
}
