/** A gateway whose routes nginx serves beside one that routes by rules of the kernel (DNAT): the same mappings, the same client, one after the other. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { ROOT } from '../support/daemons.js';
import { GATEWAY_PUBLIC, vmAddress, vmOf } from '../support/layout.js';
import { argvOf } from '../support/processes.js';
import type { Timeline } from '../support/timeline.js';
import { median, type Row, type Size } from './rows.js';
import { SERVICE_PORT, World } from './world.js';

const KINDS = ['dnat', 'nginx'] as const;
type Kind = (typeof KINDS)[number];
type Taken = { firstByteMs: number; reloads: number; lost: number; rssMiB: number; connects: number };

const PAUSE_MS = 60;
const SECONDS = 1;
const WARM_UP = 3;
/** As in connect.ts. */
const FORGET = 'net.netfilter.nf_conntrack_tcp_timeout_close=1';

/** `ports`: mappings that there are already. */
export async function benchGateway(ports: number, { runs, samples }: Size): Promise<Row[]> {
  const taken: Record<Kind, Taken[]> = { dnat: [], nginx: [] };
  for (let run = 0; run < runs; run += 1) {
    for (const kind of run % 2 === 0 ? KINDS : KINDS.toReversed()) {
      taken[kind].push(await World.with((world) => measure(world, ports, samples), { gateway: { routes: kind === 'nginx' ? 'nginx' : 'kernel', addresses: [GATEWAY_PUBLIC[4]] } }));
    }
  }
  const of = (kind: Kind, pick: (one: Taken) => number): number => median(taken[kind].map(pick));
  const rows = KINDS.flatMap((kind): Row[] => [
    { name: `gateway.n${ports}.${kind}.firstbyte.p50`, value: of(kind, (one) => one.firstByteMs), unit: 'ms' },
    { name: `gateway.n${ports}.${kind}.lost`, value: Math.max(...taken[kind].map((one) => one.lost)), unit: 'connections' },
    { name: `gateway.n${ports}.${kind}.connects`, value: of(kind, (one) => one.connects), unit: '1/s' },
  ]);
  return [
    ...rows,
    { name: `gateway.n${ports}.nginx.reloads`, value: of('nginx', (one) => one.reloads), unit: '' },
    { name: `gateway.n${ports}.nginx.rssmb`, value: of('nginx', (one) => one.rssMiB), unit: 'MiB' },
    { name: `gateway.n${ports}.nginx.connect.ratio`, value: of('nginx', (one) => one.connects) / of('dnat', (one) => one.connects), unit: 'of dnat' },
  ];
}

async function measure(world: World, ports: number, samples: number): Promise<Taken> {
  await world.serve('host-a');
  const server = world.start(vmOf('host-b'), ['python3', join(ROOT, 'test/bench/guests/accept.py'), vmAddress('host-b'), `${SERVICE_PORT}`]);
  await server.next();
  const services = await world.fill('host-a', ports);
  const [accepting] = await world.fill('host-b', 1);
  const probe = await world.bench.probe(...services.map(({ publicPort }) => ({ port: publicPort, transport: 'tcp' as const })));
  const firstByteMs: number[] = [];
  for (let i = 0; i < WARM_UP + samples; i += 1) {
    await pause(Math.random() * PAUSE_MS);
    const { totalMs } = await world.ask({ job: 'firstByte', allocate: world.allocation('host-a'), address: GATEWAY_PUBLIC[4] });
    if (i >= WARM_UP) firstByteMs.push(totalMs);
  }
  const lost = reconnects(probe.timeline);
  await world.bench.topology.run('gateway', ['sysctl', '-qw', FORGET]);
  const client = world.start('client', ['python3', join(ROOT, 'test/bench/guests/connect.py')]);
  const connects = Number(await client.ask(`${SECONDS} ${GATEWAY_PUBLIC[4]} ${accepting?.publicPort ?? 0}`));
  const { routes } = (await world.bench.api.host('gateway')) ?? {};
  return { firstByteMs: median(firstByteMs), reloads: routes?.reloads ?? 0, lost, rssMiB: nginxMiB(world), connects };
}

/** Of the connections that a client keeps. */
function reconnects(timeline: Timeline): number {
  const connections = new Map<number, Set<number>>();
  for (const { port, kind, connection } of timeline) if (kind === 'kept') connections.set(port, (connections.get(port) ?? new Set()).add(connection));
  return [...connections.values()].reduce((sum, numbers) => sum + numbers.size - 1, 0);
}

/** Resident memory of all its processes; pages that they share count for each. */
function nginxMiB(world: World): number {
  const pids = world.bench.agent('gateway').machine.processes().filter((pid) => argvOf(pid)?.[0]?.startsWith('nginx: ') === true);
  const kib = pids.map((pid) => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0));
  return kib.reduce((sum, one) => sum + one, 0) / 1_024;
}
