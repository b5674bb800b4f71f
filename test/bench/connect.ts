/** New connections a second through a host with 10,000 mappings, over those through a host with one; the gateway is the same. */
import { join } from 'node:path';
import { ROOT } from '../support/daemons.js';
import { GATEWAY_PUBLIC, vmAddress, vmOf, type HostName } from '../support/layout.js';
import type { Mapping } from '../../shared/gen/portlease/v1/ports.js';
import type { LineProcess } from './lines.js';
import { median, type Row, type Size } from './rows.js';
import { SERVICE_PORT, World } from './world.js';

const MANY = 10_000;
const SECONDS = 1;
/** A connection that was reset is forgotten after this: the table of connections stays small. */
const FORGET = 'net.netfilter.nf_conntrack_tcp_timeout_close=1';
const GUESTS = join(ROOT, 'test/bench/guests');

export async function benchConnect({ runs }: Size): Promise<Row[]> {
  return World.with(async (world) => {
    for (const host of ['host-a', 'host-b'] as const) await accept(world, host);
    for (const node of ['gateway', 'host-a', 'host-b'] as const) await world.bench.topology.run(node, ['sysctl', '-qw', FORGET]);
    const many = await world.fill('host-a', MANY);
    const one = await world.fill('host-b', 1);
    const client = world.start('client', ['python3', join(GUESTS, 'connect.py')]);
    await rate(client, many);
    await rate(client, one);
    const rates: { many: number; one: number }[] = [];
    for (let run = 0; run < runs; run += 1) rates.push(await bothWays(client, { many, one }, run % 2 === 0));
    return [
      { name: `connect.m1`, value: Math.round(median(rates.map((pair) => pair.one))), unit: '1/s' },
      { name: `connect.m${MANY}`, value: Math.round(median(rates.map((pair) => pair.many))), unit: '1/s' },
      { name: `connect.m${MANY}.ratio`, value: median(rates.map((pair) => pair.many / pair.one)), unit: 'of one mapping' },
    ];
  });
}

async function bothWays(client: LineProcess, mappings: { many: Mapping[]; one: Mapping[] }, manyFirst: boolean): Promise<{ many: number; one: number }> {
  if (manyFirst) return { many: await rate(client, mappings.many), one: await rate(client, mappings.one) };
  const one = await rate(client, mappings.one);
  return { many: await rate(client, mappings.many), one };
}

async function accept(world: World, host: HostName): Promise<void> {
  const server = world.start(vmOf(host), ['python3', join(GUESTS, 'accept.py'), vmAddress(host), `${SERVICE_PORT}`]);
  await server.next();
}

async function rate(client: LineProcess, mappings: readonly Mapping[]): Promise<number> {
  return Number(await client.ask([SECONDS, GATEWAY_PUBLIC[4], ...mappings.map(({ publicPort }) => publicPort)].join(' ')));
}
