/** From AllocatePorts to the first byte that a client reads through the gateway, with many mappings on the host already. */
import { setTimeout as pause } from 'node:timers/promises';
import { GATEWAY_PUBLIC } from '../support/layout.js';
import type { FirstByte } from './client.js';
import { medianOf, quantile, type Row, type Size } from './rows.js';
import { World } from './world.js';

const HOST = 'host-a';
const WARM_UP = 10;
/** Between two samples: they meet the agent's rounds at any point. */
const PAUSE_MS = 60;

export function benchFirstByte(mappings: number, size: Size): Promise<Row[]> {
  return World.with((world) => measure(world, mappings, size));
}

async function measure(world: World, count: number, { runs, samples }: Size): Promise<Row[]> {
  await world.serve(HOST);
  await world.fill(HOST, count);
  for (let i = 0; i < WARM_UP; i += 1) await sample(world);
  const all: Row[][] = [];
  for (let run = 0; run < runs; run += 1) all.push(await measureRun(world, `firstbyte.m${count}`, samples));
  return medianOf(all);
}

async function measureRun(world: World, name: string, samples: number): Promise<Row[]> {
  const totals: number[] = [];
  const lives: number[] = [];
  const recorded: number[] = [];
  for (let i = 0; i < samples; i += 1) {
    const { totalMs, liveMs } = await sample(world);
    totals.push(totalMs);
    lives.push(liveMs);
    if (i % 5 === 0) recorded.push((await world.ask({ job: 'recorded', allocate: world.allocation(HOST) })).totalMs);
  }
  return [
    { name: `${name}.p50`, value: quantile(totals, 0.5), unit: 'ms' },
    { name: `${name}.p99`, value: quantile(totals, 0.99), unit: 'ms' },
    { name: `${name}.live.p50`, value: quantile(lives, 0.5), unit: 'ms' },
    { name: `${name}.recorded.p50`, value: quantile(recorded, 0.5), unit: 'ms' },
  ];
}

async function sample(world: World): Promise<FirstByte> {
  await pause(Math.random() * PAUSE_MS);
  return world.ask({ job: 'firstByte', allocate: world.allocation(HOST), address: GATEWAY_PUBLIC[4] });
}
