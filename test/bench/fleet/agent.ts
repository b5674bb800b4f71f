/** A simulated agent: the real session, with its state in memory, and a kernel that has applied everything at once. */
import type { Clock } from '../../../shared/clock.js';
import type { Confirmation, DesiredObject } from '../../../shared/desired.js';
import type { Log } from '../../../shared/log.js';
import { SessionLink } from '../../../agent/session/link.js';
import type { Transport } from '../../../agent/session/transport.js';
import type { Outcome } from '../../../agent/session/words.js';
import type { AcceptedState } from '../../../agent/state/accepted.js';
import { MemoryStore } from './memory-store.js';
import type { PlannedAgent } from './plan.js';

/** As shipped. */
const SETTINGS = { reconnect: { baseMs: 1_000, maxMs: 30_000 }, refusedRetryMs: 30_000, connectMs: 10_000, repeatReportMs: 30_000 };

export type AgentParts = { planned: PlannedAgent; transport: Transport; clock: Clock; random: () => number; log: Log };

/** Not started. */
export function simulatedAgent({ planned, transport, clock, random, log }: AgentParts): SessionLink {
  const { host, gateway, role, address } = planned;
  const link: SessionLink = new SessionLink({
    identity: { host, gateway, bootId: `boot-of-${host}`, agentVersion: 'bench', roles: [role], addresses: [address] },
    transport, store: new MemoryStore(), settings: SETTINGS, clock, random, log,
    onAccepted: (state) => {
      const outcome = outcomeOf(state);
      if (outcome !== undefined) link.roundOutcome(outcome);
    },
  });
  return link;
}

function outcomeOf({ version, objects }: AcceptedState): Outcome | undefined {
  if (version === undefined) return undefined;
  const confirmations: Confirmation[] = [];
  for (const object of objects.values()) {
    const confirmation = confirmationOf(object);
    if (confirmation !== undefined) confirmations.push(confirmation);
  }
  return { applied: version, problems: [], confirmations, verified: [], driftRepairs: 0, occupied: [] };
}

function confirmationOf(object: DesiredObject): Confirmation | undefined {
  const { key } = object;
  switch (object.kind) {
    case 'release': return { key, generation: object.generation, ports: { first: object.port, last: object.port }, protocol: object.protocol };
    case 'withdrawal': return { key, generation: object.generation, ports: object.ports, protocol: object.protocol };
    case 'route': return object.fence ? { key, generation: object.generation, ports: object.ports, protocol: object.protocol } : undefined;
    case 'lease':
    case 'environment':
    case 'removal':
    case 'tunnel':
    case 'mapping': return undefined;
    default: return object satisfies never;
  }
}
