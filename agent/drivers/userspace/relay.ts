/**
 * One client connection and the one to its target. Promises:
 * - bytes go both ways in order, at the pace of the slower side;
 * - the end of one direction is passed on and leaves the other open;
 * - a reset or error of one side resets the other, and so does a target that cannot be reached in time;
 * - an idle connection has no time limit; that its other end vanished is noticed by keep-alive.
 */
import { connect, type Socket } from 'node:net';
import type { Timers } from '../../../shared/timers.js';
import { resetNow, wasReset } from './reset.js';
import type { Service } from './services.js';

/** Before the kernel asks an idle side whether it is there. Without an answer it gives up after some 10 s: hence not more often. */
export const KEEP_ALIVE_MS = 600_000;

type RelayOptions = {
  /** Just accepted: paused, with allowHalfOpen. */
  client: Socket;
  /** Address of the client. */
  from: string;
  service: Service;
  connectMs: number;
  timers: Timers;
  /** The target accepted, or why it did not. Not called when the relay is aborted before that. */
  onConnected: (problem: string | undefined) => void;
};

export class Relay {
  /** Where it leads; the listener may lead elsewhere by now. */
  readonly service: Service;
  /** Address of the client. */
  readonly from: string;
  /** Resolves when both sockets are closed. */
  readonly ended: Promise<unknown>;
  readonly #client: Socket;
  readonly #target: Socket;
  readonly #cancelDeadline: () => void;

  constructor({ client, from, service, connectMs, timers, onConnected }: RelayOptions) {
    const { address, port } = service.target;
    const target = connect({ host: address, port, allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS });
    this.service = service;
    this.from = from;
    this.#client = client;
    this.#target = target;
    this.ended = Promise.all([closed(client), closed(target)]);
    const fail = (problem: string): void => {
      onConnected(problem);
      void this.abort();
    };
    this.#cancelDeadline = timers.after(connectMs, () => fail(`it did not answer within ${connectMs} ms`));
    let isConnected = false;
    target.once('connect', () => {
      isConnected = true;
      this.#join();
      onConnected(undefined);
    });
    target.on('error', error => (isConnected ? void this.abort() : fail(error.message)));
    client.on('error', () => void this.abort());
  }

  /** Ends both sides at once: what was not passed on yet is lost, and both learn it by a reset. */
  async abort(): Promise<void> {
    this.#cancelDeadline();
    resetNow(this.#client);
    resetNow(this.#target);
    await this.ended;
  }

  #join(): void {
    this.#cancelDeadline();
    for (const side of [this.#client, this.#target]) side.once('end', () => { if (wasReset(side)) void this.abort(); });
    this.#client.pipe(this.#target);
    this.#target.pipe(this.#client);
  }
}

function closed(socket: Socket): Promise<unknown> {
  return socket.closed ? Promise.resolve() : new Promise(resolve => socket.once('close', resolve));
}
