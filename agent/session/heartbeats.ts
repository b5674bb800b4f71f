/** Heartbeat calls, on a connection that carries nothing else: a large snapshot never delays one. */
import type { AgentServiceClient, HeartbeatRequest, HeartbeatResponse } from '../../shared/gen/portlease/v1/agents.js';
import { connect, type Coordinator } from './channel.js';

export class HeartbeatCaller {
  readonly #coordinator: Coordinator;
  #client: AgentServiceClient | undefined;

  constructor(coordinator: Coordinator) {
    this.#coordinator = coordinator;
  }

  /** Answers or rejects within `deadlineMs`. The deadline is a timer of this process: grpc-js counts its own by the wall clock,
   *  and that may be set in between. */
  call(request: HeartbeatRequest, deadlineMs: number): Promise<HeartbeatResponse> {
    return new Promise((resolve, reject) => {
      this.#client ??= connect(this.#coordinator);
      const timer = setTimeout(() => {
        reject(new Error(`no answer within ${deadlineMs} ms`));
        call.cancel();
      }, deadlineMs);
      const call = this.#client.heartbeat(request, (error, response) => {
        clearTimeout(timer);
        if (error === null) resolve(response);
        else reject(error);
      });
    });
  }

  /** The next call makes a new connection; calls in flight fail. */
  close(): void {
    this.#client?.close();
    this.#client = undefined;
  }
}
