/** The forwarder in this process, on loopback, with a real service behind it. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Cut, Endpoint } from '../../../agent/drivers/connections/connections.js';
import type { Applied } from '../../../agent/drivers/rules/driver.js';
import type { Forward } from '../../../agent/drivers/rules/spec.js';
import type { Limits } from '../../../agent/drivers/userspace/budget.js';
import { UserspaceDriver, type Sighting, type UserspaceOptions } from '../../../agent/drivers/userspace/driver.js';
import { wasReset } from '../../../agent/drivers/userspace/reset.js';
import { createLogger } from '../../../shared/log.js';

export const LEASE = '127.71.0.1';
export const LEASE_V6 = '::1';
const TARGET = '127.72.0.1';
const LIMITS: Limits = { maxConnections: 1_000, maxPerMapping: 1_000, files: 20_000 };

export class Rig {
  readonly driver: UserspaceDriver;
  readonly log: { msg: string; problem?: string; listeners?: string[] }[] = [];
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  #forwards: Forward[] = [];

  constructor(options: Partial<Omit<UserspaceOptions, 'limits'>> & { limits?: Partial<Limits> } = {}) {
    const log = createLogger({ name: 'test', level: 'info', destination: { write: (line: string) => { this.log.push(JSON.parse(line) as never); } } });
    this.driver = new UserspaceDriver({ connectMs: 1_000, log, ...options, limits: { ...LIMITS, ...options.limits } });
  }

  /** A service; its port. `address` is of this machine. */
  async serve(onSocket: (socket: Socket) => void, { address = TARGET, port = 0 } = {}): Promise<number> {
    const server = createServer({ allowHalfOpen: true }, socket => {
      this.#keep(socket);
      onSocket(socket);
    });
    this.#servers.push(server);
    server.listen({ host: address, port, ipv6Only: true });
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  /** Serves these mappings and no others. */
  map(...forwards: Forward[]): Promise<Applied> {
    this.#forwards = forwards;
    return this.apply(false);
  }

  apply(observe: boolean | Sighting): Promise<Applied> {
    return this.driver.apply({ addresses: [LEASE, LEASE_V6], leased: [], forwards: [...this.#forwards], snat: false }, { observe });
  }

  /** A connection of a client, once it is accepted. */
  async client(port: number, address = LEASE, from?: string): Promise<Socket> {
    const socket = connect({ host: address, port, allowHalfOpen: true, ...from === undefined ? {} : { localAddress: from } });
    this.#keep(socket);
    await once(socket, 'connect');
    return socket;
  }

  async close(): Promise<void> {
    await this.driver.close();
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(this.#servers.map(server => new Promise(resolve => server.close(resolve))));
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => this.#sockets.delete(socket));
  }
}

export function forward(id: string, port: number, toPort: number, over: Partial<Forward> = {}): Forward {
  return { id, generation: 1, transport: 'tcp', ports: { first: port, last: port }, to: TARGET, toPort, hairpin: true, ...over };
}

export function cutOf(port: number): Cut {
  return { transport: 'tcp', ports: { first: port, last: port }, from: [], dropMs: 0 };
}

/** What stands: each port leads to these places, to nowhere without any. */
export function standing(...places: Endpoint[]) {
  return { endpoints: () => places, isTarget: () => false };
}

/** A port that nobody listens on at the moment. */
export async function freePort(address: string): Promise<number> {
  const server = createServer();
  server.listen({ host: address, port: 0 });
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise(resolve => server.close(resolve));
  return port;
}

/** All that comes until the other side ends its direction. */
export async function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** How the connection ends: the code of its error, or "closed". */
export async function endOf(socket: Socket): Promise<string> {
  if (socket.closed) return socket.errored === null ? 'closed' : codeOf(socket.errored);
  socket.resume();
  return new Promise(resolve => {
    socket.once('error', error => resolve(codeOf(error)));
    socket.once('end', () => { if (wasReset(socket)) resolve('ECONNRESET'); });
    socket.once('close', () => resolve('closed'));
  });
}

function codeOf(error: Error): string {
  return (error as NodeJS.ErrnoException).code ?? error.message;
}

export function noise(bytes: number): Buffer {
  return randomBytes(bytes);
}

export function hashOf(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
