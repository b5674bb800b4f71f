/** From MoveEnvironment of a silent host's environment until a client is answered by the other host. No wait for Q is part of it. */
import { address, MappingState } from '../support/requests.js';
import { vmAddress, type HostName } from '../support/layout.js';
import type { Mapping } from '../../shared/gen/portlease/v1/ports.js';
import { eventually } from '../support/wait.js';
import { TIMING } from '../support/daemons.js';
import { medianOf, quantile, type Row, type Size } from './rows.js';
import { placeOf, World } from './world.js';

type Moving = { environment: string; mapping: Mapping };

/** Each run silences the host that has the environments, and moves them one by one to the other. */
export async function benchMove({ runs, samples }: Size): Promise<Row[]> {
  return World.with(async (world) => {
    await world.serve('host-a', 'host-b');
    const all: Moving[] = [];
    for (let i = 0; i < samples; i += 1) {
      const { environment, mappings: [mapping] } = await world.bench.api.allocate(world.allocation('host-a'), 30_000);
      if (environment !== undefined && mapping !== undefined) all.push({ environment: environment.environment, mapping });
    }
    const rows: Row[][] = [];
    for (let run = 0; run < runs; run += 1) rows.push(await moveAll(world, all, run % 2 === 0 ? ['host-a', 'host-b'] : ['host-b', 'host-a']));
    return medianOf(rows);
  }, { coordinator: { timing: TIMING } });
}

/** The silent host's agent is stopped: its rules stand, and it would serve on. */
async function moveAll(world: World, all: readonly Moving[], [from, to]: readonly [HostName, HostName]): Promise<Row[]> {
  const { bench } = world;
  const agent = bench.agent(from).process;
  agent.signal('SIGSTOP');
  await bench.untilLost(from);
  const tookMs: number[] = [];
  for (const { environment, mapping } of all) {
    const move = { environment, host: to, targets: [{ name: 'service', target: address(vmAddress(to)) }] };
    tookMs.push((await world.ask({ job: 'move', move, place: placeOf(mapping), who: to })).totalMs);
  }
  agent.signal('SIGCONT');
  await bench.untilAlive(from);
  await eventually(`nothing of ${from} to be pending`, async () => (await bench.api.mappings({ host: to, state: MappingState.MAPPING_STATE_LIVE })).length === all.length, { withinMs: 20_000 });
  return [{ name: 'move.p50', value: quantile(tookMs, 0.5), unit: 'ms' }, { name: 'move.p99', value: quantile(tookMs, 0.99), unit: 'ms' }];
}
