/** What the services share: who calls, how errors leave, and the audit record of what was refused before it reached the book. */
import type { handleUnaryCall, sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js';
import type { Log } from '../../shared/log.js';
import { isDnsLabel, isRequestId } from '../../shared/names.js';
import type { Reason } from '../../shared/reasons.js';
import { InvalidField } from '../../shared/invalid.js';
import type { Refusal, Reply } from '../book/types.js';
import type { Gateways } from '../keeper/gateways.js';
import type { Keeper } from '../keeper/keeper.js';
import { notMade, Refused } from '../keeper/refused.js';
import { readable } from './definitions.js';
import { InvalidRequest, statusOf } from './errors.js';
import { require, type Caller, type Identify, type Right } from './identity.js';
import { unknownHost } from './unknown.js';

export type Services = { gateways: Gateways; identify: Identify; log: Log };

export type Call<Request> = ServerUnaryCall<Request, unknown>;

/** A read: no audit record. */
export function reading<Request, Response>({ identify, log }: Services, right: Right, answer: (request: Request, caller: Caller) => Promise<Response>): handleUnaryCall<Request, Response> {
  return (call, callback) => {
    run(async () => {
      const caller = identify(call);
      require(caller, right);
      return answer(readable(call.request), caller);
    }, callback, log);
  };
}

/** What an audit record says of a request that was refused. */
export type Attempt = { action: string; environment?: string; requestId?: string };

/** The right that operators need, and what is noted of their refused calls. */
export const OPERATE = 'operate';
export const attempt = (action: string) => (): Attempt => ({ action });

/**
 * A mutation. What `answer` throws before the book has decided leaves an audit record of the refusal, and the caller is answered when that
 * is durable; refusals of the book have theirs already and are thrown by `orRefuse`.
 */
export function mutating<Request, Response>(
  services: Services,
  { right, attempt }: { right: Right; attempt: (request: Request) => Attempt },
  answer: (call: Call<Request>, caller: Caller) => Promise<Response>,
): handleUnaryCall<Request, Response> {
  return (call, callback) => {
    let actor = 'unknown';
    run(async () => {
      try {
        const caller = services.identify(call);
        actor = caller.actor;
        require(caller, right);
        readable(call.request);
        return await answer(call, caller);
      } catch (error) {
        await noteRefusal(services, { error, actor, ...attempt(call.request) });
        throw error;
      }
    }, callback, services.log);
  };
}

function run<Response>(answer: () => Promise<Response>, callback: sendUnaryData<Response>, log: Log): void {
  answer().then((response) => { callback(null, response); }, (error: unknown) => { callback(statusOf(error, log)); });
}

/** A refusal that the book made, and noted in the same transaction. */
export class RefusedByBook extends Refused {}

/** The reply, if it is of the kind that was hoped for. Throws RefusedByBook. */
export function orRefuse<Kind extends Reply['kind']>(reply: Reply, kind: Kind): Extract<Reply, { kind: Kind }> {
  if (reply.kind === kind) return reply as Extract<Reply, { kind: Kind }>;
  throw new RefusedByBook(reply.kind === 'refused' ? reply : notMade(`the book answered ${reply.kind}`));
}

/** Throws Refused when no gateway has the host, as far as that can be told here. */
export async function keeperOfHost(gateways: Gateways, host: string, field = 'host'): Promise<Keeper> {
  const keeper = gateways.ofHost(host);
  if (keeper !== undefined) return keeper;
  await gateways.settled();
  throw unknownHost(host, field);
}

/** Leaves the audit record of a refusal that never reached a book; unknown errors are no refusals. Never throws. */
export async function noteRefusal({ gateways, log }: Services, refused: Attempt & { error: unknown; actor: string }): Promise<void> {
  const { error, actor, action, environment = '', requestId = '' } = refused;
  const known = reasonOf(error);
  const keeper = gateways.ofEnvironment(environment) ?? gateways.all()[0];
  if (known === undefined || error instanceof RefusedByBook) return;
  if (keeper === undefined) { log.warn({ actor, action, reason: known.reason }, 'refused; there is no gateway whose audit could tell'); return; }
  await keeper.submit({
    kind: 'noteRefusal', actor, action, reason: known.reason, detail: JSON.stringify({ fields: known.fields }),
    environment: isDnsLabel(environment) ? environment : '',
    requestId: isRequestId(requestId) ? requestId : '',
  });
}

const MAX_NOTED_FIELDS = 16;

function reasonOf(error: unknown): { reason: Reason; fields: string[] } | undefined {
  if (error instanceof InvalidRequest) return { reason: 'INVALID_FIELD', fields: error.violations.slice(0, MAX_NOTED_FIELDS).map(({ field }) => field) };
  if (error instanceof InvalidField) return { reason: 'INVALID_FIELD', fields: [error.field] };
  if (error instanceof Refused) return { reason: error.refusal.reason, fields: fieldsOf(error.refusal) };
  return undefined;
}

function fieldsOf({ field }: Refusal): string[] {
  return field === undefined ? [] : [field];
}
