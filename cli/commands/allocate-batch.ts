/** `portlease allocate --batch FILE`. */
import { status } from '@grpc/grpc-js';
import {
  BatchAllocation, PortServiceService, type AllocatePortsRequest, type BatchAllocateResult, type BatchPort,
} from '../../shared/gen/portlease/v1/ports.js';
import { Wait } from '../../shared/gen/portlease/v1/common.js';
import { readBatch } from '../batch-file.js';
import type { Coordinator } from '../coordinator.js';
import type { Refused} from '../errors.js';
import { refusedOfStatus } from '../errors.js';
import { EXIT, type ExitCode } from '../exit.js';
import { choice, dnsLabel, labels, requestId } from '../fields.js';
import { isSet, optional, texts } from '../flags.js';
import type { Flags, Job, Result } from '../job.js';
import { jsonOf } from '../json.js';
import { table, type Column } from '../table.js';
import { UsageError } from '../usage.js';
import { endpoint, mappingStateWord, protocolWord, WAITS } from '../words.js';

/** Of one call; as the coordinator allows. */
const MAX_REQUESTS = 256;
const MAX_PORTS = 4_096;

export function prepareBatch(path: string, [name]: readonly string[], flags: Flags, newId: () => string): Job {
  if (name !== undefined) throw new UsageError('ENV and --batch exclude each other', 'Each entry of the file names its own environment: "env: NAME".');
  if (texts(flags, 'want').length > 0) throw new UsageError('--want and --batch exclude each other', 'Each entry of the file has its own wants: "want: […]".');
  const idPrefix = optional(flags, 'requestId', (flag, value) => requestId(flag, value)) ?? `cli-${newId()}`;
  const requests = readBatch(path, {
    host: optional(flags, 'host', dnsLabel), tenant: optional(flags, 'tenant', dnsLabel), idPrefix, labels: labels('--label', texts(flags, 'label')),
    wait: optional(flags, 'wait', (flag, value) => choice(flag, value, WAITS)) ?? Wait.WAIT_UNSPECIFIED, dryRun: isSet(flags, 'dryRun'),
  });
  return {
    what: `allocate ports for ${requests.length} requests`,
    run: async (coordinator) => resultOf(requests, await allocateAll(coordinator, requests)),
    resume: `wait on with the same command and --request-id ${idPrefix}`,
  };
}

/** In as many calls as it takes, one after the other. */
async function allocateAll(coordinator: Coordinator, requests: readonly AllocatePortsRequest[]): Promise<BatchAllocateResult[]> {
  const results: BatchAllocateResult[] = [];
  for (const part of inCalls(requests)) {
    const answer = await coordinator.call(PortServiceService.batchAllocatePorts, { requests: part });
    results.push(...answer.results);
  }
  return results;
}

export function inCalls(requests: readonly AllocatePortsRequest[]): AllocatePortsRequest[][] {
  const calls: AllocatePortsRequest[][] = [];
  let ports = Infinity;
  for (const request of requests) {
    const wanted = request.wants.reduce((sum, { count }) => sum + Math.max(1, count), 0);
    if (ports + wanted > MAX_PORTS || (calls.at(-1)?.length ?? MAX_REQUESTS) >= MAX_REQUESTS) {
      calls.push([]);
      ports = 0;
    }
    calls.at(-1)?.push(request);
    ports += wanted;
  }
  return calls;
}

/** A refusal as scripts get it on standard error for a single request. */
function jsonOfResult({ outcome }: BatchAllocateResult): unknown {
  if (outcome?.$case === 'allocated') return { allocated: jsonOf(BatchAllocation, outcome.value) };
  if (outcome === undefined) return {};
  const { code, message, details } = refusedOfStatus(outcome.value);
  return { refused: { code: status[code], message, ...details } };
}

type Row = { position: number; environment: string; outcome: string; port?: BatchPort; publicHost?: string; remark: string };

const COLUMNS: readonly Column<Row>[] = [
  { header: 'ENTRY', align: 'right', cell: (row) => row.position },
  { header: 'ENVIRONMENT', cell: (row) => row.environment },
  { header: 'RESULT', cell: (row) => row.outcome },
  { header: 'NAME', cell: ({ port }) => (port === undefined ? '' : port.index === 0 ? port.name : `${port.name}[${port.index}]`) },
  { header: 'PUBLIC', cell: ({ port, publicHost }) => (port === undefined ? '' : endpoint(publicHost ?? '', port.publicPort)) },
  { header: 'PROTOCOL', cell: ({ port }) => (port === undefined ? '' : protocolWord(port.protocol)) },
  { header: 'STATE', cell: ({ port }) => (port === undefined ? '' : mappingStateWord(port.state)) },
  { header: 'REMARK', cell: (row) => row.remark },
];

function resultOf(requests: readonly AllocatePortsRequest[], results: BatchAllocateResult[]): Result {
  const rows = results.flatMap((result, position) => rowsOf(result, position, requests[position]));
  const refused = results.flatMap(({ outcome }) => (outcome?.$case === 'allocated' || outcome === undefined ? [] : [refusedOfStatus(outcome.value)]));
  return {
    json: { results: results.map(jsonOfResult) },
    text: `${table(COLUMNS, rows)}${results.length - refused.length} of ${results.length} requests were granted\n`,
    next: [...new Set(refused.flatMap(({ remedy }) => (remedy === undefined ? [] : [remedy])))],
    exitCode: exitCodeOf(refused),
  };
}

function rowsOf({ outcome }: BatchAllocateResult, position: number, request: AllocatePortsRequest | undefined): Row[] {
  switch (outcome?.$case) {
    case 'allocated': {
      const { environment, publicHost, ports, replayed } = outcome.value;
      const result = request?.dryRun === true ? 'dry run' : replayed ? 'answered before' : 'allocated';
      return ports.map((port) => ({ position, environment, outcome: result, port, publicHost, remark: port.reason }));
    }
    case 'refused': {
      const { details, message } = refusedOfStatus(outcome.value);
      return [{ position, environment: request?.environment ?? '', outcome: details.reason ?? 'refused', remark: message }];
    }
    case undefined: return [{ position, environment: request?.environment ?? '', outcome: 'unknown', remark: 'answered by a newer coordinator' }];
    default: return outcome satisfies never;
  }
}

function exitCodeOf(refused: readonly Refused[]): ExitCode {
  if (refused.length === 0) return EXIT.ok;
  if (refused.some(({ code }) => code === status.INTERNAL)) return EXIT.internal;
  return refused.every(({ code }) => code === status.DEADLINE_EXCEEDED) ? EXIT.deadline : EXIT.refused;
}
