/** PortService: what schedulers call. */
import type { sendUnaryData } from '@grpc/grpc-js';
import type {
  AllocatePortsRequest, AllocatePortsResponse, Mapping, MoveEnvironmentRequest, MoveEnvironmentResponse, PortServiceServer, ReleasePortsRequest,
  ReleasePortsResponse,
} from '../../shared/gen/portlease/v1/ports.js';
import { msToDuration } from '../../shared/wire.js';
import type { Book } from '../book/book.js';
import type { MappingRecord, Refusal, Reply } from '../book/types.js';
import type { Keeper } from '../keeper/keeper.js';
import { Refused } from '../keeper/refused.js';
import { mutating, noteRefusal, orRefuse, reading, type Call, type Services } from './calls.js';
import { waitOf } from './deadline.js';
import { readable } from './definitions.js';
import { refusalStatus, statusOf } from './errors.js';
import { require } from './identity.js';
import { listEnvironments, listMappings } from './lists.js';
import { environmentToWire, mappingToWire, namingOf, type Naming } from './messages.js';
import { parseAllocate, parseEnvironmentName, parseMove, parseRelease, type Wait } from './parse-ports.js';
import { unknownEnvironment, unknownHost } from './unknown.js';
import { waitFor, type Goal, type Outcome } from './waiting.js';

type Allocated = Extract<Reply, { kind: 'allocated' }>;
type Moved = Extract<Reply, { kind: 'moved' }>;
type Released = Extract<Reply, { kind: 'released' }>;

export function portService(services: Services): PortServiceServer {
  const { gateways } = services;
  const environmentOf = ({ environment }: { environment: string }) => ({ environment });
  return {
    allocatePorts: (call, callback) => { allocate(services, call, callback); },
    releasePorts: mutating(services, { right: 'schedule', attempt: (request: ReleasePortsRequest) => ({ action: 'ReleasePorts', ...environmentOfSelector(request) }) },
      async (call, { actor }) => {
        const { command, wait } = parseRelease(call.request, actor);
        return release(services, call, { command, wait });
      }),
    moveEnvironment: mutating(services, { right: 'schedule', attempt: (request: MoveEnvironmentRequest) => ({ action: 'MoveEnvironment', ...environmentOf(request) }) },
      async (call, { actor }) => {
        const { command, wait } = parseMove(call.request, actor);
        return move(services, call, { command, wait });
      }),
    getEnvironment: reading(services, 'read', async (request) => {
      const environment = parseEnvironmentName(request);
      const keeper = gateways.ofEnvironment(environment);
      await (keeper === undefined ? gateways.settled() : undefined);
      const found = await keeper?.read((book) => environmentNow(book, environment));
      if (found === undefined) throw unknownEnvironment(environment);
      return { environment: found };
    }),
    listEnvironments: reading(services, 'read', (request) => listEnvironments(gateways, request)),
    listMappings: reading(services, 'read', (request) => listMappings(gateways, request)),
  };
}

/** The path that has to be quick: no promise before the answer, unless the caller waits for the host. */
function allocate(services: Services, call: Call<AllocatePortsRequest>, callback: sendUnaryData<AllocatePortsResponse>): void {
  let actor = 'unknown';
  try {
    const caller = services.identify(call);
    actor = caller.actor;
    require(caller, 'schedule');
    const { command, wait } = parseAllocate(readable(call.request), actor);
    const { host, environment, requestId, dryRun } = command;
    const keeper = services.gateways.ofHost(host);
    if (keeper === undefined) throw unknownHost(host);
    const claim = services.gateways.claim(environment, keeper);
    if (typeof claim === 'object') throw elsewhere(environment, claim.elsewhere);
    const waitMs = waitOf(call);
    keeper.ask({
      command, waitMs,
      done: (reply) => {
        claim();
        if (reply.kind === 'refused') return callback(refusalStatus(reply));
        if (reply.kind !== 'allocated') return callback(statusOf(new Error(`the book answered ${reply.kind}`), services.log));
        const isAnswered = wait === 'recorded' || dryRun;
        if (isAnswered && keeper.scope === 'shared') return callback(null, allocated(requestId, reply, namingOf(keeper.undecided)));
        const answer = isAnswered ? keeper.read((book) => allocated(requestId, reply, namingOf(book))) : untilLive(keeper, { call, reply, wait, requestId, actor });
        answer.then((response) => { callback(null, response); }, (error: unknown) => { callback(statusOf(error, services.log)); });
      },
    });
  } catch (error) {
    const { environment, requestId } = call.request;
    void noteRefusal(services, { error, actor, action: 'AllocatePorts', environment, requestId }).then(() => { callback(statusOf(error, services.log)); });
  }
}

function allocated(requestId: string, { view, mappings, replayed }: Allocated, naming: Naming): AllocatePortsResponse {
  return {
    requestId,
    environment: environmentToWire(view, naming),
    mappings: mappings.map((mapping) => mappingToWire(mapping, naming)),
    replayed,
  };
}

type Allocation = { call: Call<unknown>; reply: Allocated; wait: Wait; requestId: string; actor: string };

async function untilLive(keeper: Keeper, { call, reply, wait, requestId, actor }: Allocation): Promise<AllocatePortsResponse> {
  const mappingIds = reply.mappings.map(({ mappingId }) => mappingId);
  const outcome = await waitFor(keeper, { mappingIds, goal: goalOf(wait), forMs: waitOf(call), caller: call });
  const isReached = outcome.kind === 'reached' || (outcome.kind === 'gone' && reply.replayed);
  if (outcome.kind === 'blocked') {
    await undo(keeper, reply.made, actor);
    throw new Refused(blocked(outcome.mapping, reply.made.length > 0));
  }
  if (!isReached) throw new Refused(notReached(outcome, wait));
  return keeper.read((book) => {
    const mappings = reply.mappings.map((mapping) => book.mapping(mapping.mappingId) ?? { ...mapping, state: 'released' as const });
    const { environment, tenant } = reply.view.environment;
    const now = book.environment(environment);
    const view = now?.environment.tenant === tenant ? now : { ...reply.view, mappings: [] };
    return allocated(requestId, { ...reply, view, mappings }, namingOf(book));
  });
}

/** Asked for at once, so that they share one transaction. */
async function undo(keeper: Keeper, made: readonly string[], actor: string): Promise<void> {
  await Promise.all(made.map((mappingId) => keeper.submit({ kind: 'release', actor, selector: { kind: 'mapping', mappingId } })));
}

async function move({ gateways }: Services, call: Call<unknown>, { command, wait }: ReturnType<typeof parseMove>): Promise<MoveEnvironmentResponse> {
  const keeper = gateways.ofEnvironment(command.environment);
  if (keeper === undefined) {
    await gateways.settled();
    throw unknownEnvironment(command.environment);
  }
  const home = gateways.ofHost(command.host);
  if (home !== undefined && home !== keeper) throw otherGateway(command.host, home, keeper);
  const reply: Moved = orRefuse(await keeper.submit(command, waitOf(call)), 'moved');
  if (wait !== 'recorded') {
    const mappingIds = reply.view.mappings.filter(({ state }) => state !== 'quarantined' && state !== 'releasing').map(({ mappingId }) => mappingId);
    const outcome = await waitFor(keeper, { mappingIds, goal: goalOf(wait), forMs: waitOf(call), caller: call });
    if (outcome.kind === 'blocked') throw new Refused(blocked(outcome.mapping, false));
    if (outcome.kind !== 'reached') throw new Refused(notReached(outcome, wait));
  }
  return { environment: await keeper.read((book) => environmentNow(book, command.environment) ?? environmentToWire(reply.view, namingOf(book))) };
}

async function release({ gateways }: Services, call: Call<unknown>, { command, wait }: ReturnType<typeof parseRelease>): Promise<ReleasePortsResponse> {
  const { selector } = command;
  const keeper = selector.kind === 'environment' ? gateways.ofEnvironment(selector.environment)
    : selector.kind === 'mapping' ? gateways.ofMapping(selector.mappingId) : gateways.ofSpace(selector.space);
  if (keeper === undefined) {
    await gateways.settled();
    return { mappings: [], bound: undefined };
  }
  const reply: Released = orRefuse(await keeper.submit(command), 'released');
  const releasing = reply.mappings.filter(({ state }) => state === 'releasing').map(({ mappingId }) => mappingId);
  if (wait !== 'recorded' && releasing.length > 0 && reply.boundMs !== undefined) {
    const outcome = await waitFor(keeper, { mappingIds: releasing, goal: 'released', forMs: waitOf(call), caller: call });
    if (outcome.kind === 'lost') throw new Refused(outcome.refusal);
  }
  return keeper.read((book) => {
    const naming = namingOf(book);
    const mappings = reply.mappings.map((mapping): Mapping => mappingToWire(book.mapping(mapping.mappingId) ?? { ...mapping, state: 'released' }, naming));
    const isOpen = reply.mappings.some(({ mappingId }) => book.mapping(mappingId)?.state === 'releasing');
    return { mappings, bound: isOpen && reply.boundMs !== undefined ? msToDuration(reply.boundMs) : undefined };
  });
}

function goalOf(wait: Wait): Goal {
  return wait === 'verified' ? 'verified' : 'live';
}

function environmentNow(book: Book, name: string) {
  const view = book.environment(name);
  return view && environmentToWire(view, namingOf(book));
}

function environmentOfSelector({ selector }: ReleasePortsRequest): { environment?: string } {
  return selector?.$case === 'environment' ? { environment: selector.value } : {};
}

function blocked({ host, pool, port, reason, mappingId }: MappingRecord, undone: boolean): Refusal {
  return {
    kind: 'refused', reason: 'PORT_BLOCKED', message: `host ${host} cannot serve port ${port}: ${reason}`,
    metadata: { host, pool, port: String(port), mapping: mappingId, host_reason: reason, undone: String(undone) },
  };
}

function notReached(outcome: Exclude<Outcome, { kind: 'reached' | 'blocked' }>, wait: Wait): Refusal {
  const reason = wait === 'verified' ? 'NOT_VERIFIED_IN_TIME' : 'NOT_LIVE_IN_TIME';
  switch (outcome.kind) {
    case 'lost': return outcome.refusal;
    case 'gone': return { kind: 'refused', reason: 'NOT_LIVE_IN_TIME', message: `mapping ${outcome.mappingId} was released before it was live` };
    case 'timeUp': return { kind: 'refused', reason, message: `${outcome.open.length} mappings are not ${goalOf(wait)} yet`, metadata: { mappings: outcome.open.slice(0, 16).join(',') } };
    case 'cancelled': return { kind: 'refused', reason: 'NOT_LIVE_IN_TIME', message: 'the call was cancelled' };
    default: return outcome satisfies never;
  }
}

function elsewhere(environment: string, { gateway }: Keeper): Refused {
  return new Refused({
    kind: 'refused', reason: 'ENVIRONMENT_ELSEWHERE', message: `environment ${environment} is on a host of gateway ${gateway}`,
    field: 'environment', metadata: { environment, gateway },
  });
}

function otherGateway(host: string, home: Keeper, keeper: Keeper): Refused {
  return new Refused({
    kind: 'refused', reason: 'OTHER_GATEWAY', message: `host ${host} belongs to gateway ${home.gateway}, not to ${keeper.gateway}`,
    field: 'host', metadata: { host, gateway: home.gateway },
  });
}
