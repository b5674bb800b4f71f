/** What the coordinator said when it failed: google.rpc.Status out of the trailer `grpc-status-details-bin`. */
import { status, type ServiceError } from '@grpc/grpc-js';
import { BadRequest, ErrorInfo, RetryInfo } from '../shared/gen/google/rpc/error_details.js';
import { Status } from '../shared/gen/google/rpc/status.js';
import { REASONS } from '../shared/reasons.js';
import { durationToMs } from '../shared/wire.js';

/** Of ErrorInfo.metadata. */
export const REMEDY_KEY = 'remedy';
const DETAILS_KEY = 'grpc-status-details-bin';
const DOMAIN = 'portlease';
const TYPE_PREFIX = 'type.googleapis.com/google.rpc.';

export type ErrorDetails = {
  /** A reason of docs/reasons.md, or one that a newer coordinator knows; undefined when portlease did not refuse. */
  reason: string | undefined;
  metadata: Record<string, string>;
  fields: { field: string; description: string }[];
  /** A retry may succeed after this. */
  retryAfterMs: number | undefined;
};

/** A call that the coordinator answered with an error. */
export class Refused extends Error {
  constructor(readonly code: status, message: string, readonly details: ErrorDetails) {
    super(message);
    this.name = 'Refused';
  }

  /** What to do: as the coordinator says, else as the table of reasons does; undefined when neither knows. */
  get remedy(): string | undefined {
    const { reason, metadata } = this.details;
    if (metadata[REMEDY_KEY] !== undefined) return metadata[REMEDY_KEY];
    return reason !== undefined && Object.hasOwn(REASONS, reason) ? REASONS[reason as keyof typeof REASONS].remedy : undefined;
  }
}

export function refusedOf(error: ServiceError): Refused {
  return new Refused(error.code, error.details || error.message, detailsOf(error));
}

/** What the coordinator said of one request of a batch. */
export function refusedOfStatus({ code, message, details }: Status): Refused {
  return new Refused(codeOf(code), message, readDetails(details));
}

function codeOf(code: number): status {
  return status[(status[code] ?? 'UNKNOWN') as keyof typeof status];
}

function detailsOf(error: ServiceError): ErrorDetails {
  const [bytes] = error.metadata.get(DETAILS_KEY);
  return readDetails(Buffer.isBuffer(bytes) ? bytes : []);
}

/** Details that are missing, or not to be read, leave the fields empty: the code and the message still say something. */
function readDetails(given: Buffer | Status['details']): ErrorDetails {
  const details: ErrorDetails = { reason: undefined, metadata: {}, fields: [], retryAfterMs: undefined };
  try {
    for (const { typeUrl, value } of Buffer.isBuffer(given) ? Status.decode(given).details : given) addDetail(details, typeUrl, value);
  } catch {
    return details;
  }
  return details;
}

function addDetail(details: ErrorDetails, typeUrl: string, value: Uint8Array): void {
  switch (typeUrl) {
    case `${TYPE_PREFIX}ErrorInfo`: {
      const info = ErrorInfo.decode(value);
      if (info.domain !== DOMAIN) return;
      details.reason = info.reason;
      details.metadata = info.metadata;
      return;
    }
    case `${TYPE_PREFIX}BadRequest`:
      details.fields.push(...BadRequest.decode(value).fieldViolations.map(({ field, description }) => ({ field, description })));
      return;
    case `${TYPE_PREFIX}RetryInfo`: {
      const { retryDelay } = RetryInfo.decode(value);
      if (retryDelay !== undefined) details.retryAfterMs = durationToMs(retryDelay);
      return;
    }
    default: // a detail of a newer coordinator
  }
}
