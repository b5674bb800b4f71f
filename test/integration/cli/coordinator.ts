/** A real gRPC server with the services of the coordinator and the answers that a test gives it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Metadata, Server, ServerCredentials, status, type ServiceError, type UntypedHandleCall } from '@grpc/grpc-js';
import type { Any } from '../../../shared/gen/google/protobuf/any.js';
import { BadRequest, ErrorInfo, RetryInfo } from '../../../shared/gen/google/rpc/error_details.js';
import { Status } from '../../../shared/gen/google/rpc/status.js';
import { EnvironmentServiceService } from '../../../shared/gen/portlease/v1/environments.js';
import { OperationsServiceService } from '../../../shared/gen/portlease/v1/operations.js';
import { TunnelServiceService } from '../../../shared/gen/portlease/v1/tunnels.js';
import { PortServiceService } from '../../../shared/gen/portlease/v1/ports.js';

/** By method name, as in the generated service: what it answers, or the error that it throws. A promise is waited for. */
export type Answers = Record<string, (request: never) => object | Promise<object>>;

export type FakeCoordinator = {
  /** "unix:/…". */
  address: string;
  /** All requests so far, in order. */
  requests: { method: string; request: object }[];
  answers: Answers;
  close: () => void;
};

export async function startCoordinator(answers: Answers, options: { bind?: string; credentials?: ServerCredentials } = {}): Promise<FakeCoordinator> {
  const directory = mkdtempSync(join(tmpdir(), 'portlease-cli-'));
  const server = new Server();
  const fake: FakeCoordinator = {
    address: options.bind ?? `unix:${directory}/coordinator.sock`,
    requests: [],
    answers,
    close: () => { server.forceShutdown(); rmSync(directory, { recursive: true, force: true }); },
  };
  for (const service of [OperationsServiceService, PortServiceService, EnvironmentServiceService, TunnelServiceService]) {
    server.addService(service, Object.fromEntries(Object.keys(service).map((method) => [method, handler(fake, method)])));
  }
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(fake.address, options.credentials ?? ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  if (options.bind !== undefined) fake.address = options.bind.replace(/:0$/, `:${port}`);
  return fake;
}

function handler(fake: FakeCoordinator, method: string): UntypedHandleCall {
  return (call: { request: object }, callback: (error: Partial<ServiceError> | null, answer?: object) => void) => {
    fake.requests.push({ method, request: call.request });
    const answer = fake.answers[method];
    if (answer === undefined) return callback({ code: status.UNIMPLEMENTED, details: `no ${method} here` });
    Promise.resolve().then(() => answer(call.request as never)).then((value) => callback(null, value), (error: unknown) => callback(error as ServiceError));
  };
}

export type Details = {
  reason?: string;
  domain?: string;
  metadata?: Record<string, string>;
  fields?: { field: string; description: string }[];
  retryAfterMs?: number;
};

/** An error as the coordinator sends it: google.rpc.Status in the trailer. */
export function refusal(code: status, message: string, { reason, domain = 'portlease', metadata = {}, fields, retryAfterMs }: Details): ServiceError {
  const details = [
    ...(reason === undefined ? [] : [any('ErrorInfo', ErrorInfo.encode({ reason, domain, metadata }).finish())]),
    ...(fields === undefined ? [] : [any('BadRequest', BadRequest.encode(BadRequest.fromPartial({ fieldViolations: fields })).finish())]),
    ...(retryAfterMs === undefined ? [] : [any('RetryInfo', RetryInfo.encode({ retryDelay: { seconds: Math.floor(retryAfterMs / 1_000), nanos: (retryAfterMs % 1_000) * 1e6 } }).finish())]),
  ];
  const trailer = new Metadata();
  trailer.set('grpc-status-details-bin', Buffer.from(Status.encode({ code, message, details }).finish()));
  return bare(code, message, trailer);
}

/** An error of gRPC itself, without details unless `metadata` has some. */
export function bare(code: status, details: string, metadata = new Metadata()): ServiceError {
  return Object.assign(new Error(details), { code, details, metadata });
}

function any(name: string, value: Uint8Array): Any {
  return { typeUrl: `type.googleapis.com/google.rpc.${name}`, value: Buffer.from(value) };
}

/** A call that is never answered. */
export const silence = () => new Promise<object>(() => undefined);
