/** BatchAllocatePorts: requests that are decided in one turn, so that they share a commit, and answered together. */
import type { BatchAllocatePortsRequest, BatchAllocatePortsResponse, BatchAllocateResult, BatchAllocation } from '../../shared/gen/portlease/v1/ports.js';
import type { Log } from '../../shared/log.js';
import { protocolToWire } from '../../shared/wire.js';
import { allocate, type Answer, type Asking } from './allocation.js';
import type { Services } from './calls.js';
import { Checks } from './checks.js';
import { describe, refusalDescription } from './errors.js';
import { mappingStateToWire } from './messages.js';
import { MAX_COUNT } from './parse-ports.js';

const MAX_REQUESTS = 256;
/** A batch holds up everybody else for as long as it is decided and encoded. */
const MAX_PORTS = 4_096;

/** Throws InvalidRequest when the batch as a whole cannot be asked for; what is wrong with one of its requests is that one's result. */
export function allocateBatch(services: Services, batch: BatchAllocatePortsRequest, asking: Asking): Promise<BatchAllocatePortsResponse> {
  checkSize(batch);
  const { requests } = batch;
  const results: BatchAllocateResult[] = new Array<BatchAllocateResult>(requests.length);
  let open = requests.length;
  const together = { ...asking, call: oneCaller(asking.call) };
  return new Promise((resolve) => {
    for (const [position, request] of requests.entries()) {
      allocate(services, request, together, (answer) => {
        results[position] = { outcome: outcomeOf(answer, services.log) };
        open -= 1;
        if (open === 0) resolve({ results });
      });
    }
  });
}

function checkSize({ requests }: BatchAllocatePortsRequest): void {
  const checks = new Checks();
  if (requests.length === 0) checks.add('requests', 'is empty: make at least one request');
  if (requests.length > MAX_REQUESTS) checks.add('requests', `has ${requests.length} elements; at most ${MAX_REQUESTS} are allowed`);
  let ports = 0;
  for (const { wants } of requests) for (const { count } of wants) ports += Math.min(Math.max(1, count), MAX_COUNT);
  if (ports > MAX_PORTS) checks.add('requests', `ask for ${ports} ports; at most ${MAX_PORTS} are allowed`);
  checks.done();
}

/** One listener on the call, however many requests wait. */
function oneCaller(call: Asking['call']): Asking['call'] {
  const listeners: (() => void)[] = [];
  call.once('cancelled', () => { for (const listener of listeners) listener(); });
  return {
    get cancelled() { return call.cancelled; },
    once: (_, listener) => listeners.push(listener),
    getDeadline: () => call.getDeadline(),
  };
}

function outcomeOf(answer: Answer, log: Log): BatchAllocateResult['outcome'] {
  switch (answer.kind) {
    case 'allocated': return { $case: 'allocated', value: allocationOf(answer) };
    case 'refused': return { $case: 'refused', value: refusalDescription(answer.refusal) };
    case 'failed': return { $case: 'refused', value: describe(answer.error, log) };
    default: return answer satisfies never;
  }
}

function allocationOf({ requestId, reply, naming }: Extract<Answer, { kind: 'allocated' }>): BatchAllocation {
  const { environment, host, revision } = reply.view.environment;
  return {
    requestId, environment, revision,
    space: reply.mappings[0]?.space ?? '',
    publicHost: naming.publicHostOf(host),
    ports: reply.mappings.map((mapping) => ({
      mappingId: mapping.mappingId, name: mapping.name, index: mapping.index, pool: mapping.pool, protocol: protocolToWire(mapping.protocol),
      publicPort: mapping.port, internalPort: mapping.internalPort, state: mappingStateToWire(mapping.state), reason: mapping.reason,
      generation: mapping.generation,
    })),
    replayed: reply.replayed,
  };
}
