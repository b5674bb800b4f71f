/** Heartbeat calls, on a connection that carries nothing else: a large snapshot never delays one. */
import type { HeartbeatRequest, HeartbeatResponse } from '../../shared/gen/portlease/v1/agents.js';
import { Connection, type Coordinator } from './channel.js';

export class HeartbeatCaller {
  readonly #coordinator: Coordinator;
  #connection: Connection | undefined;

  constructor(coordinator: Coordinator) {
    this.#coordinator = coordinator;
  }

  /** Answers or rejects within `deadlineMs`. The deadline is a timer of this process: grpc-js counts its own by the wall clock,
   *  and that may be set in between. */
  call(request: HeartbeatRequest, deadlineMs: number): Promise<HeartbeatResponse> {
    return new Promise((resolve, reject) => {
      this.#connection ??= new Connection(this.#coordinator);
      const timer = setTimeout(() => {
        reject(new Error(`no answer within ${deadlineMs} ms`));
        call.cancel();
      }, deadlineMs);
      const call = this.#connection.client.heartbeat(request, (error, response) => {
        clearTimeout(timer);
        if (error === null) resolve(response);
        else reject(error);
      });
    });
  }

  /** The next call makes a new connection; calls in flight fail. */
  close(): void {
    this.#connection?.close();
    this.#connection = undefined;
  }
}
