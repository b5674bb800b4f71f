/** Why a call to the coordinator ended, read from its status and the details that come with it (google.rpc.Status). */
import type { ServiceError } from '@grpc/grpc-js';
import { ErrorInfo, RetryInfo } from '../../shared/gen/google/rpc/error_details.js';
import { Status } from '../../shared/gen/google/rpc/status.js';
import { REASONS, type Reason } from '../../shared/reasons.js';
import { durationToMs } from '../../shared/wire.js';
import type { Refusal, StreamEnd } from './words.js';

type CallError = Error & Partial<Pick<ServiceError, 'metadata'>>;

const DOMAIN = 'portlease';

/** What only people can change; any other refusal passes by itself. */
const PERMANENT: ReadonlySet<string> = new Set<Reason>([
  'SECOND_MACHINE', 'NOT_ADMITTED', 'IDENTITY_MISMATCH', 'DATABASE_IS_OLDER', 'GATEWAY_UNKNOWN', 'GATEWAY_HAS_AGENT', 'INVALID_FIELD', 'DRIVER_NOT_ADMITTED',
]);

/** Of any error: what does not come from the server has no details. */
export function endOf(error: CallError): StreamEnd {
  const { refusal, retryAfterMs } = detailsOf(error);
  return {
    message: error.message,
    ...(refusal === undefined ? {} : { refusal }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}

function detailsOf({ metadata }: CallError): { refusal?: Refusal; retryAfterMs?: number } {
  const [bytes] = metadata?.get('grpc-status-details-bin') ?? [];
  if (!Buffer.isBuffer(bytes)) return {};
  try {
    return Object.assign({}, ...Status.decode(bytes).details.map(({ typeUrl, value }) => detailOf(typeUrl, value))) as ReturnType<typeof detailsOf>;
  } catch {
    // Details that cannot be read: status and message have to do.
    return {};
  }
}

function detailOf(typeUrl: string, value: Uint8Array): { refusal?: Refusal; retryAfterMs?: number } {
  switch (typeUrl.split('/').at(-1)) {
    case 'google.rpc.ErrorInfo': return refusalOf(ErrorInfo.decode(value));
    case 'google.rpc.RetryInfo': {
      const { retryDelay } = RetryInfo.decode(value);
      return retryDelay === undefined ? {} : { retryAfterMs: durationToMs(retryDelay) };
    }
    default: return {};
  }
}

function refusalOf({ domain, reason }: ErrorInfo): { refusal?: Refusal } {
  if (domain !== DOMAIN) return {};
  const remedy = reason in REASONS ? REASONS[reason as Reason].remedy : 'See the log of the coordinator.';
  return { refusal: { reason, remedy, isPermanent: PERMANENT.has(reason) } };
}
