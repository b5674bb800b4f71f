/** From `iptables -t nat -F` on a host until a client that comes after it is served again. */
import { setTimeout as pause } from 'node:timers/promises';
import { inNamespace } from '../support/netns.js';
import { medianOf, quantile, type Row, type Size } from './rows.js';
import { placeOf, World } from './world.js';

const HOST = 'host-a';
const MAPPINGS = 1_000;
/** At most that long after the last healing: the flush comes at any point of the agent's rounds. */
const PAUSE_MS = 2_000;

export async function benchHeal({ runs, samples }: Size): Promise<Row[]> {
  return World.with(async (world) => {
    await world.serve(HOST);
    const [mapping] = await world.fill(HOST, MAPPINGS);
    const argv = inNamespace(world.bench.topology.namespace(HOST), ['iptables', '-t', 'nat', '-F']);
    const rows: Row[][] = [];
    for (let run = 0; run < runs; run += 1) {
      const tookMs: number[] = [];
      for (let i = 0; i < samples; i += 1) {
        await pause(Math.random() * PAUSE_MS);
        tookMs.push((await world.ask({ job: 'heal', argv, place: placeOf(mapping), who: HOST })).totalMs);
      }
      rows.push([{ name: 'heal.p50', value: quantile(tookMs, 0.5), unit: 'ms' }, { name: 'heal.p99', value: quantile(tookMs, 0.99), unit: 'ms' }]);
    }
    return medianOf(rows);
  });
}
