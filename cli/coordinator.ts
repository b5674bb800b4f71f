/** Calls to the coordinator: each under the deadline of the command line, ended when the caller gives up. */
import { Client, connectivityState, Metadata, status, type ChannelCredentials, type ClientReadableStream, type ClientUnaryCall, type ServiceError } from '@grpc/grpc-js';
import { CLIENT_OPTIONS } from '../shared/grpc.js';
import { refusedOf } from './errors.js';

/** A method as the generated code describes it. */
type Method<Request, Response> = {
  path: string;
  requestSerialize: (request: Request) => Buffer;
  responseDeserialize: (bytes: Buffer) => Response;
};

export type Coordinator = {
  /** Throws Refused, Unreachable, DeadlinePassed or Interrupted. */
  call: <Request, Response>(method: Method<Request, Response>, request: Request) => Promise<Response>;
  /** Hands on what the coordinator sends, without a deadline. Resolves when the coordinator ends it, throws as call(). */
  follow: <Request, Response>(method: Method<Request, Response>, request: Request, each: (response: Response) => void) => Promise<void>;
  close: () => void;
};

/** No coordinator answers at this address. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable';
}

/** The coordinator is there, but did not answer in time. */
export class DeadlinePassed extends Error {
  override readonly name = 'DeadlinePassed';
}

/** The caller gave up. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

export type Link = {
  /** As grpc-js takes it: "host:port" or "unix:/path". */
  address: string;
  credentials: ChannelCredentials;
  /** Of the whole command, however many calls it makes. */
  deadlineMs: number;
  /** A connection that takes longer than this will not come. */
  connectMs: number;
  signal: AbortSignal;
};

/** Whoever follows comes back soon after the coordinator does. */
const OPTIONS = { ...CLIENT_OPTIONS, 'grpc.initial_reconnect_backoff_ms': 200, 'grpc.max_reconnect_backoff_ms': 2_000 };

export function connect(link: Link): Coordinator {
  const client = new Client(link.address, link.credentials, OPTIONS);
  return {
    call: (method, request) => unary(client, link, method, request),
    follow: (method, request, each) => stream(client, { link, method, request, each }),
    close: () => client.close(),
  };
}

function unary<Request, Response>(client: Client, link: Link, method: Method<Request, Response>, request: Request): Promise<Response> {
  return new Promise((resolve, reject) => {
    if (link.signal.aborted) return reject(new Interrupted('interrupted before anything was sent'));
    const call: ClientUnaryCall = client.makeUnaryRequest(
      method.path, method.requestSerialize, method.responseDeserialize, request, new Metadata(), { deadline: link.deadlineMs },
      (error, response) => {
        clearTimeout(connecting);
        link.signal.removeEventListener('abort', interrupt);
        if (error !== null) reject(failureOf(error, link, isConnected(client)));
        else if (response !== undefined) resolve(response);
        else reject(new Error(`${method.path} was answered without a message`));
      },
    );
    const interrupt = () => call.cancel();
    link.signal.addEventListener('abort', interrupt, { once: true });
    const connecting = setTimeout(() => { if (!isConnected(client)) call.cancel(); }, link.connectMs);
  });
}

type Following<Request, Response> = { link: Link; method: Method<Request, Response>; request: Request; each: (response: Response) => void };

function stream<Request, Response>(client: Client, { link, method, request, each }: Following<Request, Response>): Promise<void> {
  return new Promise((resolve, reject) => {
    if (link.signal.aborted) return reject(new Interrupted('interrupted before anything was sent'));
    const call: ClientReadableStream<Response> = client.makeServerStreamRequest(method.path, method.requestSerialize, method.responseDeserialize, request);
    const interrupt = () => call.cancel();
    link.signal.addEventListener('abort', interrupt, { once: true });
    const connecting = setTimeout(() => { if (!isConnected(client)) call.cancel(); }, link.connectMs);
    const end = (settle: () => void): void => {
      clearTimeout(connecting);
      link.signal.removeEventListener('abort', interrupt);
      settle();
    };
    call.on('data', each);
    call.on('end', () => { end(resolve); });
    call.on('error', (error: ServiceError) => { end(() => { reject(failureOf(error, link, isConnected(client))); }); });
  });
}

function isConnected(client: Client): boolean {
  return client.getChannel().getConnectivityState(false) === connectivityState.READY;
}

function failureOf(error: ServiceError, link: Link, connected: boolean): Error {
  const refused = refusedOf(error);
  if (link.signal.aborted) return new Interrupted('interrupted');
  if (refused.details.reason !== undefined) return refused;
  if (!connected || error.code === status.UNAVAILABLE) return new Unreachable(`no answer from ${link.address}: ${causeOf(error)}`);
  if (error.code === status.DEADLINE_EXCEEDED) return new DeadlinePassed('no answer before the deadline');
  return refused;
}

/** grpc-js packs the cause of a failed connection into a longer text; the cause is what matters to people. */
function causeOf(error: ServiceError): string {
  if (error.code === status.CANCELLED || error.code === status.DEADLINE_EXCEEDED) return 'the connection was not made in time';
  const [cause] = /(?:connect|read|write) E[A-Z]+(?: [^ ]+)?/.exec(error.details) ?? [error.details];
  return cause.replace(/[.,;]$/, '');
}
