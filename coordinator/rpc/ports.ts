/** PortService: what schedulers call. */
import type { sendUnaryData } from '@grpc/grpc-js';
import type {
  AllocatePortsRequest, AllocatePortsResponse, Mapping, MoveEnvironmentRequest, MoveEnvironmentResponse, PortServiceServer, ReleasePortsRequest,
  ReleasePortsResponse, UpdateMappingResponse,
} from '../../shared/gen/portlease/v1/ports.js';
import { msToDuration } from '../../shared/wire.js';
import type { Book } from '../book/book.js';
import type { Reply } from '../book/types.js';
import type { Keeper } from '../keeper/keeper.js';
import { Refused } from '../keeper/refused.js';
import { allocate, blocked, goalOf, notReached, type Allocated } from './allocation.js';
import { allocateBatch } from './batch.js';
import { mutating, noteRefusal, orRefuse, reading, type Call, type Services } from './calls.js';
import { waitOf } from './deadline.js';
import { readable } from './definitions.js';
import { refusalStatus, statusOf } from './errors.js';
import { explainPort } from './explain.js';
import { mayOperate, require } from './identity.js';
import { listEnvironments, listMappings } from './lists.js';
import { environmentToWire, mappingToWire, namingOf, type Naming } from './messages.js';
import { parseEnvironmentName, parseMove, parseRelease, parseUpdate } from './parse-ports.js';
import { unknownEnvironment, unknownMapping } from './unknown.js';
import { waitFor } from './waiting.js';

type Moved = Extract<Reply, { kind: 'moved' }>;
type Released = Extract<Reply, { kind: 'released' }>;

export function portService(services: Services): PortServiceServer {
  const { gateways } = services;
  const environmentOf = ({ environment }: { environment: string }) => ({ environment });
  return {
    allocatePorts: (call, callback) => { allocateOne(services, call, callback); },
    batchAllocatePorts: mutating(services, { right: 'schedule', attempt: () => ({ action: 'BatchAllocatePorts' }) },
      (call, { actor }) => allocateBatch(services, call.request, { call, actor })),
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
    updateMapping: mutating(services, { right: 'schedule', attempt: () => ({ action: 'UpdateMapping' }) },
      async (call, { actor }) => updateMapping(services, call, parseUpdate(call.request, actor))),
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
    explainPort: reading(services, 'read', (request, caller) => explainPort(gateways, request, mayOperate(caller))),
  };
}

function allocateOne(services: Services, call: Call<AllocatePortsRequest>, callback: sendUnaryData<AllocatePortsResponse>): void {
  let actor = 'unknown';
  try {
    const caller = services.identify(call);
    actor = caller.actor;
    require(caller, 'schedule');
    readable(call.request);
  } catch (error) {
    const { environment, requestId } = call.request;
    void noteRefusal(services, { error, actor, action: 'AllocatePorts', environment, requestId }).then(() => { callback(statusOf(error, services.log)); });
    return;
  }
  allocate(services, call.request, { call, actor }, (answer) => {
    switch (answer.kind) {
      case 'allocated': return callback(null, allocated(answer.requestId, answer.reply, answer.naming));
      case 'refused': return callback(refusalStatus(answer.refusal));
      case 'failed': return callback(statusOf(answer.error, services.log));
      default: return answer satisfies never;
    }
  });
}

function allocated(requestId: string, { view, mappings, replayed }: Allocated, naming: Naming): AllocatePortsResponse {
  return {
    requestId,
    environment: environmentToWire(view, naming),
    mappings: mappings.map((mapping) => mappingToWire(mapping, naming)),
    replayed,
  };
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

async function updateMapping({ gateways }: Services, call: Call<unknown>, { command, wait }: ReturnType<typeof parseUpdate>): Promise<UpdateMappingResponse> {
  const keeper = gateways.ofMapping(command.mappingId);
  if (keeper === undefined) {
    await gateways.settled();
    throw unknownMapping(command.mappingId);
  }
  const { mapping } = orRefuse(await keeper.submit(command), 'updated');
  if (wait !== 'recorded') {
    const outcome = await waitFor(keeper, { mappingIds: [mapping.mappingId], goal: 'live', forMs: waitOf(call), caller: call });
    if (outcome.kind === 'blocked') throw new Refused(blocked(outcome.mapping, false));
    if (outcome.kind !== 'reached') throw new Refused(notReached(outcome, wait));
  }
  return { mapping: await keeper.read((book) => mappingToWire(book.mapping(mapping.mappingId) ?? { ...mapping, state: 'released' }, namingOf(book))) };
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

function environmentNow(book: Book, name: string) {
  const view = book.environment(name);
  return view && environmentToWire(view, namingOf(book));
}

function environmentOfSelector({ selector }: ReleasePortsRequest): { environment?: string } {
  return selector?.$case === 'environment' ? { environment: selector.value } : {};
}

function otherGateway(host: string, home: Keeper, keeper: Keeper): Refused {
  return new Refused({
    kind: 'refused', reason: 'OTHER_GATEWAY', message: `host ${host} belongs to gateway ${home.gateway}, not to ${keeper.gateway}`,
    field: 'host', metadata: { host, gateway: home.gateway },
  });
}
