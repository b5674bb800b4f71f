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
const WARM_UP_SECONDS = 0.1;
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
    for (const mapping of [...many, ...one]) await rate(client, mapping, WARM_UP_SECONDS);
    const rates: { many: number; one: number }[] = [];
    for (let run = 0; run < runs; run += 1) rates.push(await bothWays(client, { many: spread(many, run / runs), one: spread(one, 0) }, run % 2 === 0));
    return [
      { name: `connect.m1`, value: Math.round(median(rates.map((pair) => pair.one))), unit: '1/s' },
      { name: `connect.m${MANY}`, value: Math.round(median(rates.map((pair) => pair.many))), unit: '1/s' },
      { name: `connect.m${MANY}.ratio`, value: median(rates.map((pair) => pair.many / pair.one)), unit: 'of one mapping' },
    ];
  });
}

/** The mapping at this share of all. */
function spread(mappings: readonly Mapping[], share: number): Mapping {
  const mapping = mappings[Math.floor(mappings.length * share)];
  if (mapping === undefined) throw new Error('nothing leads to the service');
  return mapping;
}

async function bothWays(client: LineProcess, mappings: { many: Mapping; one: Mapping }, manyFirst: boolean): Promise<{ many: number; one: number }> {
  if (manyFirst) return { many: await rate(client, mappings.many), one: await rate(client, mappings.one) };
  const one = await rate(client, mappings.one);
  return { many: await rate(client, mappings.many), one };
}

async function accept(world: World, host: HostName): Promise<void> {
  const server = world.start(vmOf(host), ['python3', join(GUESTS, 'accept.py'), vmAddress(host), `${SERVICE_PORT}`]);
  await server.next();
}

async function rate(client: LineProcess, { publicPort }: Mapping, seconds = SECONDS): Promise<number> {
  return Number(await client.ask(`${seconds} ${GATEWAY_PUBLIC[4]} ${publicPort}`));
}
