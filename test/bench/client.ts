/**
 * A client that lives as long as the bench, in the client's namespace: schedules over gRPC and connects through the gateway, so that no
 * start of a process is part of a figure. Started as: node client.js COORDINATOR. Reads jobs, a JSON object a line, and answers each
 * with { result } or { error }, in their order.
 */
import { execFile } from 'node:child_process';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { AllocatePortsRequest, DeepPartial, MoveEnvironmentRequest } from '../../shared/gen/portlease/v1/ports.js';
import { Wait } from '../../shared/gen/portlease/v1/common.js';
import { Api } from '../support/api.js';

export type Place = { address: string; port: number };

export type Job =
  /** An allocation of one port, waited for until it is live; then the first byte through `address`; then, not timed, its release. */
  | { job: 'firstByte'; allocate: DeepPartial<AllocatePortsRequest>; address: string }
  /** The same allocation answered as soon as it is recorded. */
  | { job: 'recorded'; allocate: DeepPartial<AllocatePortsRequest> }
  /** A move, and the first answer of `who`. */
  | { job: 'move'; move: DeepPartial<MoveEnvironmentRequest>; place: Place; who: string }
  /** A command that breaks something, and the first answer to somebody who came after it. */
  | { job: 'heal'; argv: string[]; place: Place; who: string };

export type FirstByte = { totalMs: number; liveMs: number };
export type Took = { totalMs: number };

const DEADLINE_MS = 30_000;
const ATTEMPT_EVERY_MS = 4;
const ATTEMPT_MS = 1_000;

async function firstByte(api: Api, { allocate, address }: Extract<Job, { job: 'firstByte' }>): Promise<FirstByte> {
  const startMs = performance.now();
  const { environment, mappings } = await api.allocate({ ...allocate, wait: Wait.WAIT_LIVE });
  const liveMs = performance.now() - startMs;
  await firstLine({ address, port: mappings[0]?.publicPort ?? 0 });
  const totalMs = performance.now() - startMs;
  await release(api, environment?.environment);
  return { totalMs, liveMs };
}

async function recorded(api: Api, { allocate }: Extract<Job, { job: 'recorded' }>): Promise<Took> {
  const startMs = performance.now();
  const { environment } = await api.allocate({ ...allocate, wait: Wait.WAIT_RECORDED });
  const totalMs = performance.now() - startMs;
  await release(api, environment?.environment);
  return { totalMs };
}

/** Until it is confirmed. */
async function release(api: Api, environment = ''): Promise<void> {
  await api.release({ selector: { $case: 'environment', value: environment }, wait: Wait.WAIT_LIVE });
}

async function move(api: Api, { move: request, place, who }: Extract<Job, { job: 'move' }>): Promise<Took> {
  const startMs = performance.now();
  const [answeredMs] = await Promise.all([answeredBy(who, place), api.move({ ...request, wait: Wait.WAIT_LIVE })]);
  return { totalMs: answeredMs - startMs };
}

async function heal({ argv, place, who }: Extract<Job, { job: 'heal' }>): Promise<Took> {
  const [file, ...args] = argv;
  await promisify(execFile)(file ?? '', args);
  const startMs = performance.now();
  return { totalMs: (await answeredBy(who, place)) - startMs };
}

/** When `who` first answered, on new connections that are begun every few milliseconds, whatever became of those before. */
async function answeredBy(who: string, place: Place): Promise<number> {
  const open = new Set<Socket>();
  let atMs: number | undefined;
  const untilMs = performance.now() + DEADLINE_MS;
  while (atMs === undefined && performance.now() < untilMs) {
    firstLine(place, open).then((line) => { if (line.includes(`who=${who} `)) atMs ??= performance.now(); }, () => undefined);
    await pause(ATTEMPT_EVERY_MS);
  }
  for (const socket of open) socket.destroy();
  if (atMs === undefined) throw new Error(`${who} did not answer at ${place.address}:${place.port} within ${DEADLINE_MS} ms`);
  return atMs;
}

function firstLine({ address, port }: Place, open = new Set<Socket>()): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port, noDelay: true });
    open.add(socket);
    const end = (error: Error): void => {
      socket.destroy();
      open.delete(socket);
      reject(error);
    };
    socket.setTimeout(ATTEMPT_MS, () => { end(new Error(`nothing came from ${address}:${port} within ${ATTEMPT_MS} ms`)); });
    socket.on('error', end);
    socket.on('close', () => { end(new Error(`${address}:${port} closed without a word`)); });
    socket.once('data', (bytes) => {
      resolve(bytes.toString());
      end(new Error('is answered'));
    });
  });
}

function run(api: Api, job: Job): Promise<FirstByte | Took> {
  switch (job.job) {
    case 'firstByte': return firstByte(api, job);
    case 'recorded': return recorded(api, job);
    case 'move': return move(api, job);
    case 'heal': return heal(job);
    default: return job satisfies never;
  }
}

const api = new Api(process.argv[2] ?? '', DEADLINE_MS);
process.stdout.write('"ready"\n');
for await (const line of createInterface({ input: process.stdin })) {
  const answer = await run(api, JSON.parse(line) as Job).then((result) => ({ result }), (error: unknown) => ({ error: String(error) }));
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
api.close();
