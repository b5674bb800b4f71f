/** What is said when a command fails, for people and for scripts, and the exit code that goes with it. */
import { status } from '@grpc/grpc-js';
import { DeadlinePassed, Interrupted, Unreachable } from './coordinator.js';
import { REMEDY_KEY, Refused } from './errors.js';
import { EXIT, type ExitCode } from './exit.js';
import { printable, UsageError } from './usage.js';
import { msText } from './words.js';

export type Failure = {
  exitCode: ExitCode;
  /** What failed and why, one sentence. */
  message: string;
  /** Name of the gRPC code; undefined when nothing was asked. */
  code?: string;
  /** As in docs/reasons.md. */
  reason?: string;
  metadata?: Record<string, string>;
  fields?: { field: string; description: string }[];
  retryAfterMs?: number;
  /** What to do now; at least one. */
  next: string[];
};

/** `what` was tried; `resume` says how to go on waiting for what the coordinator may carry on by itself. */
export type Attempt = { what: string; resume: string | undefined };

export function failureOf(error: unknown, { what, resume }: Attempt): Failure {
  const goOn = resume === undefined ? [] : [`what was recorded goes on; ${resume}`];
  if (error instanceof UsageError) return { exitCode: EXIT.usage, message: error.message, next: [error.remedy] };
  if (error instanceof Refused) return refusal(error, { what, resume });
  if (error instanceof Interrupted) {
    return { exitCode: EXIT.interrupted, message: `${what}: interrupted`, next: goOn.length > 0 ? goOn : ['nothing was changed'] };
  }
  if (error instanceof DeadlinePassed) {
    return { exitCode: EXIT.deadline, message: `${what}: ${error.message}`, code: 'DEADLINE_EXCEEDED', next: [...goOn, 'give it longer with --timeout, or look at `portlease status`'] };
  }
  if (error instanceof Unreachable) {
    const look = 'see that the coordinator runs (systemctl status portlease-coordinator) that --server names it, and that --tls-cert, --tls-key and --tls-ca are given if it has tls';
    return { exitCode: EXIT.unreachable, message: `${what}: ${error.message}`, code: 'UNAVAILABLE', next: [look, ...goOn] };
  }
  return { exitCode: EXIT.internal, message: `${what}: ${error instanceof Error ? error.message : String(error)}`, next: ['this is a defect of portlease: report it with the command line'] };
}

function refusal(error: Refused, { what, resume }: Attempt): Failure {
  const { reason, metadata, fields, retryAfterMs } = error.details;
  const waits = error.code === status.DEADLINE_EXCEEDED || error.code === status.UNAVAILABLE;
  const next = [
    error.remedy ?? remedyOfCode(error.code),
    ...(retryAfterMs === undefined ? [] : [`a retry may succeed after ${msText(retryAfterMs)}`]),
    ...(waits && resume !== undefined ? [resume] : []),
  ];
  return {
    exitCode: exitCodeOf(error),
    message: `${what}: ${error.message}`,
    code: status[error.code],
    ...(reason === undefined ? {} : { reason }),
    metadata,
    fields,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    next,
  };
}

function exitCodeOf(error: Refused): ExitCode {
  switch (error.code) {
    case status.DEADLINE_EXCEEDED: return EXIT.deadline;
    case status.INTERNAL: case status.UNKNOWN: case status.DATA_LOSS: case status.UNIMPLEMENTED: return EXIT.internal;
    default: return EXIT.refused;
  }
}

/** For an answer without a reason of portlease, or with one that this version does not know. */
function remedyOfCode(code: status): string {
  switch (code) {
    case status.UNIMPLEMENTED: return 'the coordinator is of another version: use the command line that came with it';
    case status.UNAUTHENTICATED: case status.PERMISSION_DENIED: return 'use a certificate of an operator (--tls-cert, --tls-key), or the unix socket on the coordinator';
    case status.INTERNAL: case status.UNKNOWN: case status.DATA_LOSS: return 'look at the log of the coordinator: journalctl -u portlease-coordinator';
    case status.UNAVAILABLE: case status.RESOURCE_EXHAUSTED: case status.ABORTED: return 'try again';
    default: return 'docs/reasons.md lists every reason with its remedy';
  }
}

/** Lines for people. */
export function failureText(failure: Failure): string {
  const metadata = Object.entries(failure.metadata ?? {}).filter(([key]) => key !== REMEDY_KEY).map(([key, value]) => `${key}=${value}`).join(', ');
  const reason = failure.reason === undefined ? [] : [`reason: ${failure.reason}${metadata === '' ? '' : ` (${metadata})`}`];
  const lines = [
    `portlease: ${failure.message}`,
    ...reason,
    ...(failure.fields ?? []).map(({ field, description }) => `field:  ${field}: ${description}`),
    ...failure.next.map((hint) => `next:   ${hint}`),
  ];
  return lines.map((line) => `${printable(line)}\n`).join('');
}

/** One document for scripts: `{ "error": … }`. */
export function failureJson({ exitCode, ...failure }: Failure): unknown {
  return { error: { ...failure, exitCode } };
}
