/** AgentService: sessions and heartbeats. */
import type { Clock } from '../../shared/clock.js';
import type { Timers } from '../../shared/timers.js';
import type { AgentServiceServer } from '../../shared/gen/portlease/v1/agents.js';
import { heartbeatFromWire } from '../../shared/wire.js';
import type { Timing } from '../book/types.js';
import type { Admission } from './admission.js';
import type { Services } from './calls.js';
import { readable } from './definitions.js';
import { refusalStatus, statusOf } from './errors.js';
import { requireHost } from './identity.js';
import { serveSession } from './session.js';
import { unknownHost } from './unknown.js';

export type AgentsOptions = Services & {
  timing: Timing;
  clock: Clock;
  admission: Admission;
  /** Hosts that nobody created are created by their first hello. */
  admitsUnknown: boolean;
  /** Of this process, unless others are given. */
  timers?: Timers;
};

export function agentService(options: AgentsOptions): AgentServiceServer {
  const { gateways, identify, log } = options;
  return {
    session: (call) => { serveSession(options, call); },
    heartbeat: (call, callback) => {
      try {
        const { host, session, acceptedRevision, digest } = heartbeatFromWire(readable(call.request));
        requireHost(identify(call), host);
        const keeper = gateways.ofHost(host);
        if (keeper === undefined) throw unknownHost(host);
        keeper.ask({
          command: { kind: 'heartbeat', host, session, acceptedRevision, digest },
          done: (reply) => {
            if (reply.kind === 'heartbeat') callback(null, { staleSession: reply.staleSession, rebuild: reply.rebuild, resolveLeaks: [...reply.resolveLeaks] });
            else callback(reply.kind === 'refused' ? refusalStatus(reply) : statusOf(new Error(`the book answered ${reply.kind}`), log));
          },
        });
      } catch (error) {
        callback(statusOf(error, log));
      }
    },
  };
}
