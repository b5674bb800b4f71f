/** A coordinator for tests of the link: a real server of AgentService whose answers the test decides. */
import { EventEmitter, once } from 'node:events';
import { Metadata, Server, ServerCredentials, status, type ServerDuplexStream, type ServerErrorResponse } from '@grpc/grpc-js';
import {
  AgentServiceService, type HeartbeatRequest, type HeartbeatResponse, type Hello, type Report, type SessionRequest, type SessionResponse,
} from '../../../shared/gen/portlease/v1/agents.js';
import { ErrorInfo, RetryInfo } from '../../../shared/gen/google/rpc/error_details.js';
import { Status } from '../../../shared/gen/google/rpc/status.js';
import { SERVER_OPTIONS } from '../../../shared/grpc.js';
import type { Delta } from '../../../shared/desired.js';
import { deltaToWire, msToDuration } from '../../../shared/wire.js';

export type Call = ServerDuplexStream<SessionRequest, SessionResponse>;

const INTERVAL_MS = 60;

/** Waits for an event with a deadline instead of sleeping. */
class Seen extends EventEmitter {
  async until(what: string | (() => string), condition: () => boolean, deadlineMs = 8_000): Promise<void> {
    const signal = AbortSignal.timeout(deadlineMs);
    while (!condition()) {
      await once(this, 'change', { signal }).catch(() => { throw new Error(`not within ${deadlineMs} ms: ${typeof what === 'string' ? what : what()}`); });
    }
  }

  changed(): void {
    this.emit('change');
  }
}

export class TestCoordinator {
  readonly seen = new Seen();
  readonly hellos: Hello[] = [];
  readonly reports: Report[] = [];
  readonly heartbeats: HeartbeatRequest[] = [];
  readonly calls: Call[] = [];
  epoch = 1;
  session = 0;
  /** Of heartbeats; long, because many tests share this machine. */
  deadlineMs = 2_000;
  /** Decides on a hello; welcomes unless the test says otherwise. */
  onHello: (call: Call, hello: Hello) => void = call => this.welcome(call);
  onHeartbeat: (request: HeartbeatRequest) => HeartbeatResponse | 'silence' = () => ({ staleSession: false, rebuild: false, resolveLeaks: [] });
  #server = new Server(SERVER_OPTIONS);
  address = '';

  async listen(address = '127.0.0.1:0', credentials = ServerCredentials.createInsecure()): Promise<void> {
    this.#server.addService(AgentServiceService, {
      session: (call: Call) => this.#serve(call),
      heartbeat: (call: { request: HeartbeatRequest }, callback: (error: null, response: HeartbeatResponse) => void) => {
        this.heartbeats.push(call.request);
        const answer = this.onHeartbeat(call.request);
        if (answer !== 'silence') callback(null, answer);
        this.seen.changed();
      },
    });
    const port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync(address, credentials, (error, bound) => error === null ? resolve(bound) : reject(error));
    });
    this.address = address.startsWith('unix:') ? address : `127.0.0.1:${port}`;
  }

  /** As if the process died; listen() again on the same address brings it back. */
  stop(): void {
    this.#server.forceShutdown();
    this.#server = new Server(SERVER_OPTIONS);
  }

  welcome(call: Call, session = ++this.session): void {
    const heartbeatInterval = msToDuration(INTERVAL_MS);
    const heartbeatDeadline = msToDuration(this.deadlineMs);
    call.write({ message: { $case: 'welcome', value: { session, epoch: this.epoch, heartbeatInterval, heartbeatDeadline } } });
  }

  desire(call: Call, delta: Delta): void {
    call.write({ message: { $case: 'desiredState', value: deltaToWire(delta) } });
  }

  get lastCall(): Call {
    const call = this.calls.at(-1);
    if (call === undefined) throw new Error('no session was opened');
    return call;
  }

  #serve(call: Call): void {
    this.calls.push(call);
    call.on('error', () => undefined);
    call.on('data', ({ message }: SessionRequest) => {
      if (message?.$case === 'hello') {
        this.hellos.push(message.value);
        this.onHello(call, message.value);
      }
      if (message?.$case === 'report') this.reports.push(message.value);
      this.seen.changed();
    });
    this.seen.changed();
  }
}

/** Ends a call as the coordinator refuses: a status with google.rpc details. */
export function refuse(call: Call, { reason, code = status.FAILED_PRECONDITION, retryMs }: { reason: string; code?: status; retryMs?: number }): void {
  const details = [{ typeUrl: 'type.googleapis.com/google.rpc.ErrorInfo', value: Buffer.from(ErrorInfo.encode({ reason, domain: 'portlease', metadata: {} }).finish()) }];
  if (retryMs !== undefined) {
    details.push({ typeUrl: 'type.googleapis.com/google.rpc.RetryInfo', value: Buffer.from(RetryInfo.encode({ retryDelay: msToDuration(retryMs) }).finish()) });
  }
  const metadata = new Metadata();
  metadata.set('grpc-status-details-bin', Buffer.from(Status.encode({ code, message: reason, details }).finish()));
  call.emit('error', { code, details: reason, metadata } satisfies Partial<ServerErrorResponse>);
}
