/**
 * The TCP listener of a gRPC server. The one of grpc-js has room for 511 connections that wait, and takes all that wait in one turn of the event
 * loop. When a fleet comes back at once that is too few and too many: the kernel drops what does not fit, so that its sender tries again
 * seconds later, a scheduler as well as an agent, and those who are connected wait meanwhile. Here as many wait as the kernel allows, and
 * some are let in each turn.
 */
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Timers } from '../../shared/timers.js';

/** The kernel cuts this to net.core.somaxconn, 4,096 unless an operator says otherwise. */
const BACKLOG = 65_535;
/** To let one in takes a fraction of a millisecond. */
const LET_IN_A_TURN = 16;

export type ListenerOptions = {
  host: string;
  /** 0: a free one. */
  port: number;
  /** Takes a connection that nothing was read from yet. */
  letIn: (connection: Socket) => void;
  timers: Timers;
};

export class Listener {
  readonly #options: ListenerOptions;
  readonly #servers: Server[] = [];
  readonly #waiting = new Set<Socket>();
  #port: number;
  #isLettingIn = false;

  private constructor(options: ListenerOptions) {
    this.#options = options;
    this.#port = options.port;
  }

  /** Listens on every address of the host that this machine has. Throws what the last one failed with when none can be listened on. */
  static async open(options: ListenerOptions): Promise<Listener> {
    const listener = new Listener(options);
    let failure: unknown;
    for (const { address } of await lookup(options.host, { all: true })) {
      try {
        await listener.#listen(address);
      } catch (error) {
        failure = error;
      }
    }
    if (listener.#servers.length > 0) return listener;
    throw failure;
  }

  get port(): number {
    return this.#port;
  }

  /** Nobody is let in any more; those who are in stay. */
  close(): void {
    for (const server of this.#servers) server.close();
    for (const connection of this.#waiting) connection.destroy();
    this.#waiting.clear();
  }

  async #listen(host: string): Promise<void> {
    const server = createServer({ pauseOnConnect: true }, (connection) => { this.#arrived(connection); });
    server.listen({ host, port: this.#port, backlog: BACKLOG });
    await once(server, 'listening');
    this.#port = (server.address() as AddressInfo).port;
    this.#servers.push(server);
  }

  #arrived(connection: Socket): void {
    connection.on('error', () => undefined);
    connection.once('close', () => { this.#waiting.delete(connection); });
    this.#waiting.add(connection);
    if (!this.#isLettingIn) this.#goOn();
  }

  #goOn(): void {
    this.#isLettingIn = true;
    this.#options.timers.soon(() => { this.#letSomeIn(); });
  }

  #letSomeIn(): void {
    let left = LET_IN_A_TURN;
    for (const connection of this.#waiting) {
      if (left === 0) return this.#goOn();
      left -= 1;
      this.#waiting.delete(connection);
      this.#options.letIn(connection);
      connection.resume();
    }
    this.#isLettingIn = false;
  }
}
