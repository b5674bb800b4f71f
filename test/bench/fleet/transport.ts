/**
 * Connections of simulated agents. A real agent has two: 10,000 of them would need 20,000 descriptors in the coordinator. So heartbeats of many
 * agents may go through one connection, and, in larger fleets, their streams too.
 */
import { credentials } from '@grpc/grpc-js';
import type { HeartbeatRequest, HeartbeatResponse } from '../../../shared/gen/portlease/v1/agents.js';
import type { Coordinator } from '../../../agent/session/channel.js';
import { HeartbeatCaller } from '../../../agent/session/heartbeats.js';
import { SessionStream } from '../../../agent/session/stream.js';
import type { Transport } from '../../../agent/session/transport.js';
import { SharedConnection, SharedStream } from './shared-connection.js';

/** Agents on one connection, for each purpose; 1: each has its own, as real ones do. */
export type Sharing = { heartbeats: number; streams: number };

type Heartbeats = { call(request: HeartbeatRequest, deadlineMs: number): Promise<HeartbeatResponse>; close(): void };

export class Connections {
  readonly #coordinator: Coordinator;
  readonly #sharing: Sharing;
  readonly #forHeartbeats: SharedConnection[] = [];
  readonly #forStreams: SharedConnection[] = [];

  constructor(address: string, sharing: Sharing) {
    this.#coordinator = { address, credentials: () => credentials.createInsecure() };
    this.#sharing = sharing;
  }

  /** Of the agent with this number among those of the process. */
  transportOf(index: number): Transport {
    const heartbeats = this.#heartbeatsOf(index);
    const coordinator = this.#coordinator;
    return {
      openStream: (listener) => {
        if (this.#sharing.streams === 1) return new SessionStream(coordinator, listener);
        return new SharedStream(this.#shared(this.#forStreams, Math.floor(index / this.#sharing.streams)), listener);
      },
      heartbeat: (request, deadlineMs) => heartbeats.call(request, deadlineMs),
      closeHeartbeats: () => { heartbeats.close(); },
    };
  }

  /** A shared connection is everybody's: it is not closed for one, and comes back by itself when the coordinator does. */
  #heartbeatsOf(index: number): Heartbeats {
    if (this.#sharing.heartbeats === 1) return new HeartbeatCaller(this.#coordinator);
    const connection = this.#shared(this.#forHeartbeats, Math.floor(index / this.#sharing.heartbeats));
    return { call: (request, deadlineMs) => connection.heartbeat(request, deadlineMs), close: () => undefined };
  }

  #shared(connections: SharedConnection[], at: number): SharedConnection {
    return (connections[at] ??= new SharedConnection(this.#coordinator));
  }
}
