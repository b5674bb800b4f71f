/** One connection for the calls of many simulated agents. */
import type { ClientDuplexStream, ServiceError } from '@grpc/grpc-js';
import { AgentServiceClient, type HeartbeatRequest, type HeartbeatResponse, type SessionRequest, type SessionResponse } from '../../../shared/gen/portlease/v1/agents.js';
import { CLIENT_OPTIONS } from '../../../shared/grpc.js';
import type { Coordinator } from '../../../agent/session/channel.js';
import { endOf } from '../../../agent/session/refusal.js';
import type { StreamListener } from '../../../agent/session/stream.js';
import type { StreamPort } from '../../../agent/session/transport.js';

/** When it is lost it is looked for again about as soon as a real agent would make a new one. */
const OPTIONS = { ...CLIENT_OPTIONS, 'grpc.initial_reconnect_backoff_ms': 500, 'grpc.min_reconnect_backoff_ms': 500, 'grpc.max_reconnect_backoff_ms': 1_000 };

export class SharedConnection {
  readonly #client: AgentServiceClient;

  constructor({ address, credentials }: Coordinator) {
    this.#client = new AgentServiceClient(address, credentials(), OPTIONS);
  }

  session(): ClientDuplexStream<SessionRequest, SessionResponse> {
    return this.#client.session();
  }

  /** Answers or rejects within `deadlineMs`. */
  heartbeat(request: HeartbeatRequest, deadlineMs: number): Promise<HeartbeatResponse> {
    return new Promise((resolve, reject) => {
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
}

/** A Session call beside others. */
export class SharedStream implements StreamPort {
  readonly #call: ClientDuplexStream<SessionRequest, SessionResponse>;
  #isClosed = false;

  constructor(connection: SharedConnection, listener: StreamListener) {
    this.#call = connection.session();
    this.#call.on('data', (response: SessionResponse) => { if (!this.#isClosed) listener.message(response); });
    this.#call.on('error', (error: ServiceError) => { this.#end(() => { listener.ended(endOf(error)); }); });
    this.#call.on('end', () => { this.#end(() => { listener.ended({ message: 'the coordinator ended the stream' }); }); });
    // Whether the connection stands shows when the hello is answered.
    queueMicrotask(() => { if (!this.#isClosed) listener.opened(); });
  }

  send(request: SessionRequest): void {
    if (!this.#isClosed) this.#call.write(request);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#call.cancel();
  }

  #end(tell: () => void): void {
    if (this.#isClosed) return;
    this.close();
    tell();
  }
}
