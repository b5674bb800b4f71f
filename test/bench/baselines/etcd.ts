/** etcd as it is shipped, asked over its own gRPC port: what it takes of leases and of keys, each by itself. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire';
import { Client, credentials } from '@grpc/grpc-js';
import { eventually } from '../../support/wait.js';
import { h2load, type LoadResult } from '../h2load.js';
import { loadFor } from './load.js';
import { startServer } from './place.js';

const SIZE = { connections: 4, streams: 64 };
const LENGTH = { warmCalls: 2_000, mostCalls: 200_000 };
const LEASE_SECONDS = 3_600;

/** Field numbers of etcdserverpb: LeaseGrantRequest.TTL; PutRequest.key and value; RangeRequest.key. */
const GRANT = new BinaryWriter().uint32(8).int64(LEASE_SECONDS).finish();
const PUT = new BinaryWriter().uint32(10).string('ports/edge/tcp/30001').uint32(18).string('environment-1 host-1 10.1.0.1:22').finish();
const RANGE = new BinaryWriter().uint32(10).string('ports').finish();

export type EtcdResults = { grant: LoadResult; put: LoadResult };

export async function measureEtcd(directory: string, seconds: number): Promise<EtcdResults> {
  return withEtcd(directory, async (port, client) => {
    const put = await loadFor({ ...LENGTH, seconds }, (calls) => h2load({ port, path: '/etcdserverpb.KV/Put', message: PUT, calls, ...SIZE }));
    check('keys put', put.sent, (await revision(client)) - 1);
    const grant = await loadFor({ ...LENGTH, seconds }, (calls) => h2load({ port, path: '/etcdserverpb.Lease/LeaseGrant', message: GRANT, calls, ...SIZE }));
    check('leases granted', grant.sent, await leases(client));
    return { put: put.result, grant: grant.result };
  });
}

function check(what: string, sent: number, found: number): void {
  if (sent !== found) throw new Error(`${sent} calls were sent to etcd, and it has ${found} ${what}`);
}

async function withEtcd<T>(directory: string, use: (port: number, client: Client) => Promise<T>): Promise<T> {
  const home = mkdtempSync(join(directory, 'etcd-'));
  const [port, peer] = await freePorts();
  const [clientUrl, peerUrl] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${peer}`];
  const server = startServer(['etcd', '--data-dir', join(home, 'data'), '--listen-client-urls', clientUrl, '--advertise-client-urls', clientUrl,
    '--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl, '--initial-cluster', `default=${peerUrl}`, '--logger', 'zap'], { logFile: join(home, 'etcd.log') });
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), { 'grpc.max_receive_message_length': -1, 'grpc.initial_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': 200 });
  try {
    await eventually('etcd to answer', () => revision(client), { withinMs: 15_000, hint: () => server.tail() });
    return await use(port, client);
  } finally {
    client.close();
    await server.stop('SIGINT');
    rmSync(home, { recursive: true });
  }
}

/** Two that nobody listens on at this moment. */
async function freePorts(): Promise<[number, number]> {
  const servers = [createServer(), createServer()] as const;
  const ports = servers.map(async (server) => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  });
  const [first = 0, second = 0] = await Promise.all(ports);
  for (const server of servers) server.close();
  return [first, second];
}

/** An empty store has revision 1; each put adds one. */
async function revision(client: Client): Promise<number> {
  const response = await ask(client, '/etcdserverpb.KV/Range', RANGE);
  const header = fieldsOf(response, 1)[0] ?? new Uint8Array();
  const reader = new BinaryReader(header);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 3) return Number(reader.int64());
    reader.skip(wireType);
  }
  throw new Error('etcd named no revision');
}

async function leases(client: Client): Promise<number> {
  const statuses = fieldsOf(await ask(client, '/etcdserverpb.Lease/LeaseLeases', new Uint8Array()), 2);
  return new Set(statuses.map((status) => Buffer.from(status).toString('hex'))).size;
}

/** The contents of a message's fields with that number, which must be messages. */
function fieldsOf(message: Uint8Array, number: number): Uint8Array[] {
  const reader = new BinaryReader(message);
  const found: Uint8Array[] = [];
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === number) found.push(reader.bytes());
    else reader.skip(wireType);
  }
  return found;
}

function ask(client: Client, path: string, message: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest<Uint8Array, Uint8Array>(path, (bytes) => Buffer.from(bytes), (bytes) => bytes, message, (error, response) => {
      if (error === null && response !== undefined) resolve(response);
      else reject(error ?? new Error('no response'));
    });
  });
}
