/** From what went wrong to a gRPC status with google.rpc details. Unknown errors become INTERNAL: logged, not shown. */
import { Metadata, status, type ServerErrorResponse } from '@grpc/grpc-js';
import type { Any } from '../../shared/gen/google/protobuf/any.js';
import { BadRequest, ErrorInfo, RetryInfo } from '../../shared/gen/google/rpc/error_details.js';
import { Status } from '../../shared/gen/google/rpc/status.js';
import { InvalidField } from '../../shared/invalid.js';
import type { Log } from '../../shared/log.js';
import { REASONS } from '../../shared/reasons.js';
import { msToDuration } from '../../shared/wire.js';
import type { Refusal } from '../book/types.js';
import { journalUnavailable, Refused } from '../keeper/refused.js';

/** All that is wrong with a request. */
export class InvalidRequest extends Error {
  readonly violations: readonly InvalidField[];

  constructor(violations: readonly InvalidField[]) {
    super(violations.map((violation) => violation.message).join('; '));
    this.name = 'InvalidRequest';
    this.violations = violations;
  }
}

/** By name: services do not know the journal. */
const OF_JOURNAL = new Set(['SqliteError', 'JournalClosed', 'OutcomeUnknown']);

const DOMAIN = 'portlease';
/** Trailers share 8 KiB in many clients, and details are there in base64. */
const MAX_DETAIL_BYTES = 4096;
const MAX_MESSAGE = 1024;

/** google.rpc.Status. */
type Description = Status & { code: status };

/** The error that a caller gets. Its message is logged by nobody: what has to be logged is logged here. */
export function describe(error: unknown, log: Log): Description {
  if (error instanceof Refused) return refusalDescription(error.refusal);
  if (error instanceof InvalidRequest) return invalid(error.violations);
  if (error instanceof InvalidField) return invalid([error]);
  log.error({ err: error }, 'a call failed');
  return { code: status.INTERNAL, message: 'internal error: the log of the coordinator tells more', details: [] };
}

export function statusOf(error: unknown, log: Log): ServerErrorResponse {
  return inTrailers(describe(error, log));
}

/** What the journal throws, as the refusal that callers are told; other errors as they are. */
export function refusalOfJournal(error: unknown): unknown {
  if (!(error instanceof Error) || !OF_JOURNAL.has(error.name)) return error;
  return new Refused(journalUnavailable(`the database cannot be used: ${error.message}`));
}

export function refusalStatus(refusal: Refusal): ServerErrorResponse {
  return inTrailers(refusalDescription(refusal));
}

export function refusalDescription(refusal: Refusal): Description {
  const { code, remedy } = REASONS[refusal.reason];
  const details = [errorInfo(refusal.reason, { ...refusal.metadata, remedy })];
  if (refusal.field !== undefined) details.push(badRequest([{ field: refusal.field, description: refusal.message }]));
  if (refusal.retryAfterMs !== undefined) details.push(retryInfo(refusal.retryAfterMs));
  return { code, message: shortened(refusal.message), details };
}

function invalid(violations: readonly InvalidField[]): Description {
  const shown = violations.map(({ field, description }) => ({ field, description }));
  let details = [errorInfo('INVALID_FIELD', {}), badRequest(shown)];
  for (let kept = shown.length; kept > 1 && sizeOf(details) > MAX_DETAIL_BYTES;) {
    kept = Math.floor(kept / 2);
    details = [errorInfo('INVALID_FIELD', { not_shown: String(shown.length - kept) }), badRequest(shown.slice(0, kept))];
  }
  return { code: status.INVALID_ARGUMENT, message: shortened(violations.map((violation) => violation.message).join('; ')), details };
}

function shortened(text: string): string {
  return text.length > MAX_MESSAGE ? `${text.slice(0, MAX_MESSAGE)}…` : text;
}

function inTrailers(description: Description): ServerErrorResponse {
  const { code, message } = description;
  const metadata = new Metadata();
  metadata.set('grpc-status-details-bin', Buffer.from(Status.encode(description).finish()));
  return Object.assign(new Error(message), { code, details: message, metadata });
}

function errorInfo(reason: string, metadata: Record<string, string>): Any {
  return any('google.rpc.ErrorInfo', ErrorInfo.encode({ reason, domain: DOMAIN, metadata }).finish());
}

function badRequest(fieldViolations: { field: string; description: string }[]): Any {
  return any('google.rpc.BadRequest', BadRequest.encode({ fieldViolations }).finish());
}

function retryInfo(afterMs: number): Any {
  return any('google.rpc.RetryInfo', RetryInfo.encode({ retryDelay: msToDuration(afterMs) }).finish());
}

function any(type: string, value: Uint8Array): Any {
  return { typeUrl: `type.googleapis.com/${type}`, value: Buffer.from(value) };
}

function sizeOf(details: readonly Any[]): number {
  return details.reduce((sum, { value }) => sum + value.length, 0);
}
