/** One request for ports, alone or of a batch: parse, ask the keeper, wait as far as the caller wants. */
import type { Deadline } from '@grpc/grpc-js';
import type { AllocatePortsRequest } from '../../shared/gen/portlease/v1/ports.js';
import type { MappingRecord, Refusal, Reply } from '../book/types.js';
import type { Keeper } from '../keeper/keeper.js';
import { Refused } from '../keeper/refused.js';
import { noteRefusal, type Services } from './calls.js';
import { waitOf } from './deadline.js';
import { namingOf, type Naming } from './messages.js';
import { parseAllocate, type Wait } from './parse-ports.js';
import { unknownHost } from './unknown.js';
import { waitFor, type Caller, type Goal, type Outcome } from './waiting.js';

export type Allocated = Extract<Reply, { kind: 'allocated' }>;

/** Of a request, once: what it got, or the error that it comes to. */
export type Answer =
  | { kind: 'allocated'; requestId: string; reply: Allocated; naming: Naming }
  | { kind: 'refused'; refusal: Refusal }
  | { kind: 'failed'; error: unknown };

export type Asking = { call: Caller & { getDeadline(): Deadline }; actor: string };

/** The path that has to be quick: no promise before the answer, unless the caller waits for the host. `done` is called when what it is
 *  told is durable, refusals included. */
export function allocate(services: Services, request: AllocatePortsRequest, { call, actor }: Asking, done: (answer: Answer) => void): void {
  try {
    ask(services, parseAllocate(request, actor), call, done);
  } catch (error) {
    const { environment, requestId } = request;
    void noteRefusal(services, { error, actor, action: 'AllocatePorts', environment, requestId }).then(() => { done({ kind: 'failed', error }); });
  }
}

/** Throws Refused before anything is asked. */
function ask({ gateways }: Services, { command, wait }: ReturnType<typeof parseAllocate>, call: Asking['call'], done: (answer: Answer) => void): void {
  const { host, environment, requestId, dryRun, actor } = command;
  const keeper = gateways.ofHost(host);
  if (keeper === undefined) throw unknownHost(host);
  const claim = gateways.claim(environment, keeper);
  if (typeof claim === 'object') throw elsewhere(environment, claim.elsewhere);
  const fail = (error: unknown): void => { done({ kind: 'failed', error }); };
  const askedAtMs = keeper.clock.nowMs();
  keeper.ask({
    command, waitMs: waitOf(call),
    done: (reply) => {
      claim();
      keeper.meter.answered(command, reply, { askedAtMs, nowMs: keeper.clock.nowMs() });
      if (reply.kind === 'refused') return done({ kind: 'refused', refusal: reply });
      if (reply.kind !== 'allocated') return fail(new Error(`the book answered ${reply.kind}`));
      const isAnswered = wait === 'recorded' || dryRun;
      if (isAnswered && keeper.scope === 'shared') return done({ kind: 'allocated', requestId, reply, naming: namingOf(keeper.undecided) });
      const answer = isAnswered ? keeper.read((book): Answer => ({ kind: 'allocated', requestId, reply, naming: namingOf(book) }))
        : untilLive(keeper, { call, reply, wait, requestId, actor });
      answer.then(done, fail);
    },
  });
}

type Allocation = { call: Asking['call']; reply: Allocated; wait: Wait; requestId: string; actor: string };

async function untilLive(keeper: Keeper, { call, reply, wait, requestId, actor }: Allocation): Promise<Answer> {
  for (let current = reply; ;) {
    const outcome = await waitFor(keeper, { mappingIds: idsOf(current), goal: goalOf(wait), forMs: waitOf(call), caller: call });
    // A port that turned out to be taken may have been exchanged for another one.
    const now = outcome.kind === 'gone' ? await keeper.read((book) => book.requested(requestId)) : undefined;
    if (now === undefined || idsOf(now).join() === idsOf(current).join()) return settled(keeper, { outcome, reply: current, wait, requestId, actor });
    current = { ...current, ...now };
  }
}

function idsOf({ mappings }: Pick<Allocated, 'mappings'>): string[] {
  return mappings.map(({ mappingId }) => mappingId);
}

async function settled(keeper: Keeper, { outcome, reply, wait, requestId, actor }: Omit<Allocation, 'call'> & { outcome: Outcome }): Promise<Answer> {
  if (outcome.kind === 'blocked') {
    await undo(keeper, reply.made, actor);
    return { kind: 'refused', refusal: blocked(outcome.mapping, reply.made.length > 0) };
  }
  const isReached = outcome.kind === 'reached' || (outcome.kind === 'gone' && reply.replayed);
  if (!isReached) return { kind: 'refused', refusal: notReached(outcome, wait) };
  return keeper.read((book) => {
    const mappings = reply.mappings.map((mapping) => book.mapping(mapping.mappingId) ?? { ...mapping, state: 'released' as const });
    const { environment, tenant } = reply.view.environment;
    const now = book.environment(environment);
    const view = now?.environment.tenant === tenant ? now : { ...reply.view, mappings: [] };
    return { kind: 'allocated', requestId, reply: { ...reply, view, mappings }, naming: namingOf(book) };
  });
}

/** Asked for at once, so that they share one transaction. */
async function undo(keeper: Keeper, made: readonly string[], actor: string): Promise<void> {
  await Promise.all(made.map((mappingId) => keeper.submit({ kind: 'release', actor, selector: { kind: 'mapping', mappingId } })));
}

export function goalOf(wait: Wait): Goal {
  return wait === 'verified' ? 'verified' : 'live';
}

export function blocked({ host, pool, port, reason, mappingId }: MappingRecord, undone: boolean): Refusal {
  return {
    kind: 'refused', reason: 'PORT_BLOCKED', message: `host ${host} cannot serve port ${port}: ${reason}`,
    metadata: { host, pool, port: String(port), mapping: mappingId, host_reason: reason, undone: String(undone) },
  };
}

export function notReached(outcome: Exclude<Outcome, { kind: 'reached' | 'blocked' }>, wait: Wait): Refusal {
  const reason = wait === 'verified' ? 'NOT_VERIFIED_IN_TIME' : 'NOT_LIVE_IN_TIME';
  switch (outcome.kind) {
    case 'lost': return outcome.refusal;
    case 'gone': return { kind: 'refused', reason: 'NOT_LIVE_IN_TIME', message: `mapping ${outcome.mappingId} was released before it was live` };
    case 'timeUp': return { kind: 'refused', reason, message: `${outcome.open.length} mappings are not ${goalOf(wait)} yet`, metadata: { mappings: outcome.open.slice(0, 16).join(',') } };
    case 'cancelled': return { kind: 'refused', reason: 'NOT_LIVE_IN_TIME', message: 'the call was cancelled' };
    default: return outcome satisfies never;
  }
}

export function elsewhere(environment: string, { gateway }: Keeper): Refused {
  return new Refused({
    kind: 'refused', reason: 'ENVIRONMENT_ELSEWHERE', message: `environment ${environment} is on a host of gateway ${gateway}`,
    field: 'environment', metadata: { environment, gateway },
  });
}
