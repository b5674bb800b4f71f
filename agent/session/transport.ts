/** What the link needs of the wire: streams, and heartbeats beside them. */
import type { HeartbeatRequest, HeartbeatResponse, SessionRequest } from '../../shared/gen/portlease/v1/agents.js';
import type { Coordinator } from './channel.js';
import { HeartbeatCaller } from './heartbeats.js';
import { SessionStream, type StreamListener } from './stream.js';

export type StreamPort = {
  send(request: SessionRequest): void;
  close(): void;
};

export type Transport = {
  /** Throws when no stream can be begun. */
  openStream(listener: StreamListener): StreamPort;
  /** Answers or rejects within `deadlineMs`. */
  heartbeat(request: HeartbeatRequest, deadlineMs: number): Promise<HeartbeatResponse>;
  /** Heartbeats in flight fail; the next one makes a new connection. */
  closeHeartbeats(): void;
};

/** Over gRPC: a connection for each stream, and another one for heartbeats. */
export function grpcTransport(coordinator: Coordinator): Transport {
  const heartbeats = new HeartbeatCaller(coordinator);
  return {
    openStream: listener => new SessionStream(coordinator, listener),
    heartbeat: (request, deadlineMs) => heartbeats.call(request, deadlineMs),
    closeHeartbeats: () => heartbeats.close(),
  };
}
