/** One Session call on a connection of its own. */
import { connectivityState, type ClientDuplexStream, type ServiceError } from '@grpc/grpc-js';
import type { SessionRequest, SessionResponse } from '../../shared/gen/portlease/v1/agents.js';
import { Connection, type Coordinator } from './channel.js';
import { endOf } from './refusal.js';
import type { StreamEnd } from './words.js';

/** What a stream tells its owner. After `ended`, and after close(), nothing more. */
export type StreamListener = {
  /** The connection stands. */
  opened(): void;
  message(response: SessionResponse): void;
  ended(end: StreamEnd): void;
};

export class SessionStream {
  readonly #listener: StreamListener;
  readonly #connection: Connection;
  readonly #call: ClientDuplexStream<SessionRequest, SessionResponse>;
  #isClosed = false;
  #isFull = false;
  /** Waits for room: the newest only, because each report repeats the one before. */
  #waiting: SessionRequest | undefined;

  constructor(coordinator: Coordinator, listener: StreamListener) {
    this.#listener = listener;
    this.#connection = new Connection(coordinator);
    this.#call = this.#connection.client.session();
    this.#call.on('data', (response: SessionResponse) => { if (!this.#isClosed) listener.message(response); });
    this.#call.on('error', (error: ServiceError) => this.#end(endOf(error)));
    this.#call.on('end', () => this.#end({ message: 'the coordinator ended the stream' }));
    this.#call.on('drain', () => this.#drain());
    this.#watch();
  }

  /** What does not fit into the connection's buffers waits, and a later request takes its place. */
  send(request: SessionRequest): void {
    if (this.#isClosed) return;
    if (this.#isFull) this.#waiting = request;
    else this.#isFull = !this.#call.write(request);
  }

  /** Ends call and connection at once. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#call.cancel();
    this.#connection.close();
  }

  #drain(): void {
    this.#isFull = false;
    const request = this.#waiting;
    this.#waiting = undefined;
    if (request !== undefined) this.send(request);
  }

  #end(end: StreamEnd): void {
    if (this.#isClosed) return;
    this.close();
    this.#listener.ended(end);
  }

  #watch(): void {
    const channel = this.#connection.client.getChannel();
    const look = (): void => {
      if (this.#isClosed) return;
      const state = channel.getConnectivityState(true);
      if (state === connectivityState.READY) return this.#listener.opened();
      channel.watchConnectivityState(state, Infinity, error => { if (!(error instanceof Error)) look(); });
    };
    look();
  }
}
