/** Durable AllocatePorts a second over gRPC, beside an empty unary call, each server on one core. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import sqlite3 from 'sqlite3';
import { credentials } from '@grpc/grpc-js';
import { AgentServiceClient, Role, SessionRequest, type SessionResponse } from '../../shared/gen/portlease/v1/agents.js';
import { Wait } from '../../shared/gen/portlease/v1/common.js';
import { AllocatePortsRequest, BatchAllocatePortsRequest } from '../../shared/gen/portlease/v1/ports.js';
import { Api } from '../support/api.js';
import { ROOT } from '../support/daemons.js';
import { eventually } from '../support/wait.js';
import { h2load, SERVER_CORE, type Load, type LoadResult } from './h2load.js';
import { median, type Row, type Size } from './rows.js';

const HOST = 'host-1';
const MANY = { connections: 4, streams: 64, calls: 40_000 };
const ONE = { connections: 1, streams: 1, calls: 4_000 };
/** 16 batches at a time, 57,600 ports in all. */
const BATCHES = { connections: 4, streams: 4, calls: 900, batch: 64 };
/** As the unit starts the coordinator. */
export const UNIT_FLAGS = ['--max-semi-space-size=16', '--min-semi-space-size=16'];
const PATH = '/portlease.v1.PortService';
/** First and last numbers of a pool of 60,000 ports; the coordinator listens between the two ranges. */
export const POOL_RANGES = [[1_025, 19_999], [24_511, 65_535]] as const;
const OWN_PORTS = { first: 20_000, count: 4_000 };

/** `batch`: requests a call; undefined: AllocatePorts. */
export type LoadSize = { connections: number; streams: number; calls: number; batch?: number };
/** Sends allocations of one port each, all from the same pool. The result counts calls, not ports. */
export type Allocate = (size: LoadSize) => Promise<LoadResult>;

export async function benchRpc({ runs }: Size): Promise<Row[]> {
  const raw: LoadResult[] = [];
  const many: LoadResult[] = [];
  const one: LoadResult[] = [];
  const batches: LoadResult[] = [];
  for (let run = 0; run < runs; run += 1) {
    raw.push(await withRaw((port) => h2load({ port, path: '/bench.Raw/Call', message: new Uint8Array(), ...MANY })));
    const results = await withCoordinator(async (allocate) => [await allocate(ONE), await allocate(MANY)] as const);
    one.push(results[0]);
    many.push(results[1]);
    batches.push(inPorts(await withCoordinator((allocate) => allocate(BATCHES)), BATCHES.batch));
  }
  const rows = [...rowsOf('rpc.raw.c4m64', raw), ...rowsOf('rpc.allocate.c4m64', many), ...rowsOf('rpc.allocate.c1m1', one), ...rowsOf('rpc.allocate.batch64', batches)];
  const ratios = many.map((result, run) => result.callsPerSecond / (raw[run]?.callsPerSecond ?? Number.NaN));
  return [...rows, { name: 'rpc.allocate.c4m64.ratio', value: median(ratios), unit: 'of raw' }];
}

/** Ports a second; the times stay those of a call. */
export function inPorts(result: LoadResult, batch: number): LoadResult {
  return { ...result, callsPerSecond: result.callsPerSecond * batch };
}

function rowsOf(name: string, results: readonly LoadResult[]): Row[] {
  return [
    { name, value: Math.round(median(results.map(({ callsPerSecond }) => callsPerSecond))), unit: '1/s' },
    { name: `${name}.p50`, value: median(results.map(({ p50Ms }) => p50Ms)), unit: 'ms' },
    { name: `${name}.p99`, value: median(results.map(({ p99Ms }) => p99Ms)), unit: 'ms' },
  ];
}

/** One port for an environment that the coordinator names. */
const ONE_PORT = AllocatePortsRequest.fromPartial({
  tenant: 'bench', host: HOST, wait: Wait.WAIT_RECORDED,
  wants: [{ name: 'ssh', source: { $case: 'pool', value: 'all' }, target: { kind: { $case: 'address', value: '10.1.0.1' } }, internalPort: 22 }],
});

function allocation(port: number, { batch, ...size }: LoadSize): Load {
  if (batch === undefined) return { port, path: `${PATH}/AllocatePorts`, message: AllocatePortsRequest.encode(ONE_PORT).finish(), ...size };
  const requests = Array.from({ length: batch }, () => ONE_PORT);
  return { port, path: `${PATH}/BatchAllocatePorts`, message: BatchAllocatePortsRequest.encode({ requests }).finish(), ...size };
}

async function withRaw<T>(use: (port: number) => Promise<T>): Promise<T> {
  const server = pinned([join(ROOT, 'dist/test/bench/raw-server.mjs')]);
  try {
    return await use(await portOf(server));
  } finally {
    await end(server);
  }
}

async function portOf(server: ChildProcess): Promise<number> {
  for await (const line of createInterface({ input: server.stdout as NodeJS.ReadableStream })) return Number(line);
  throw new Error('the raw server ended before it said its port');
}

/** A coordinator with an agent that applies nothing; afterwards every OK answer must be a port of its own in the database. */
export async function withCoordinator<T>(use: (allocate: Allocate) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), 'portlease-bench-'));
  const port = OWN_PORTS.first + (process.pid % OWN_PORTS.count);
  const server = pinned([...UNIT_FLAGS, join(ROOT, 'dist/coordinator/main.js'), '--config', configIn(directory, port)]);
  let agent: { close(): void } | undefined;
  try {
    const api = new Api(`127.0.0.1:${port}`);
    await eventually('the coordinator to serve', () => api.isServing(), { withinMs: 15_000 });
    agent = await fakeAgent(port);
    await eventually('the host to be ready', () => api.allocate({ environment: 'first', tenant: 'bench', host: HOST, wait: Wait.WAIT_RECORDED, wants: [{ name: 'a', source: { $case: 'pool', value: 'all' }, target: { kind: { $case: 'address', value: '10.1.0.1' } }, internalPort: 22 }] }).then(() => true, () => false), { withinMs: 10_000 });
    api.close();
    let sent = 1;
    const result = await use(async (size) => {
      sent += size.calls * (size.batch ?? 1);
      return h2load(allocation(port, size));
    });
    await checkPorts(join(directory, 'book.db'), sent);
    return result;
  } finally {
    agent?.close();
    await end(server);
    rmSync(directory, { recursive: true });
  }
}

function configIn(directory: string, port: number): string {
  const file = join(directory, 'coordinator.yaml');
  writeFileSync(file, JSON.stringify({
    listen: { grpc: `127.0.0.1:${port}`, unix: join(directory, 'api.sock') }, database: { path: join(directory, 'book.db') }, admit: 'any',
    timing: { heartbeat: '1s', deadline: '1s', suspect: '60s', lost: '120s' }, log: { level: 'warn' },
    gateways: [{ gateway: 'edge', scope: 'shared', publicHost: '203.0.113.1', pools: [{ pool: 'all', ranges: POOL_RANGES.map((range) => range.join('-')), protocol: 'tcp' }] }],
  }));
  return file;
}

async function checkPorts(path: string, answered: number): Promise<void> {
  const db = new sqlite3.Database(path, sqlite3.OPEN_READONLY);
  const row = await new Promise<{ ports: number }>((resolve, reject) => {
    db.get('SELECT count(DISTINCT port) AS ports FROM mapping', (error: Error | null, found: { ports: number }) => { if (error === null) resolve(found); else reject(error); });
  });
  await new Promise<void>((resolve) => { db.close(() => { resolve(); }); });
  if (row.ports !== answered) throw new Error(`${answered} ports were asked for, and ${row.ports} distinct ports are durable`);
}

/** Says hello and that it applied what it was told, then only heartbeats. */
async function fakeAgent(port: number): Promise<{ close(): void }> {
  const client = new AgentServiceClient(`127.0.0.1:${port}`, credentials.createInsecure());
  const stream = client.session();
  stream.on('error', () => undefined);
  stream.write(SessionRequest.fromPartial({ message: { $case: 'hello', value: { host: HOST, gateway: 'edge', bootId: 'b', version: '1', roles: [Role.ROLE_HOST], addresses: ['10.77.0.11'] } } }));
  const [welcome] = (await once(stream, 'data')) as [SessionResponse];
  const session = welcome.message?.$case === 'welcome' ? welcome.message.value.session : 0;
  const [state] = (await once(stream, 'data')) as [SessionResponse];
  const applied = state.message?.$case === 'desiredState' ? state.message.value.version : undefined;
  stream.write(SessionRequest.fromPartial({ message: { $case: 'report', value: { session, ...(applied === undefined ? {} : { applied }) } } }));
  stream.on('data', () => undefined);
  return { close: () => { stream.cancel(); client.close(); } };
}

function pinned(argv: readonly string[]): ChildProcess {
  const child = spawn('taskset', ['-c', SERVER_CORE, process.execPath, ...argv], { stdio: ['ignore', 'pipe', 'inherit'], cwd: ROOT });
  const kill = (): void => { child.kill('SIGKILL'); };
  process.once('exit', kill);
  child.once('exit', () => process.off('exit', kill));
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}
