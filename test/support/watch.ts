/** A watch of events as a client has it: keeps what came, and where a later one goes on. */
import { Client, credentials, type ChannelCredentials, type ClientReadableStream, type ServiceError } from '@grpc/grpc-js';
import { refusedOf, type Refused } from '../../cli/errors.js';
import { EventServiceService, WatchEventsRequest, type DeepPartial, type Event, type WatchEventsResponse } from '../../shared/gen/portlease/v1/events.js';
import { CLIENT_OPTIONS } from '../../shared/grpc.js';
import { within } from './wait.js';

const WATCH = EventServiceService.watchEvents;

export class Watch {
  readonly messages: WatchEventsResponse[] = [];
  readonly events: Event[] = [];
  /** Why it ended; undefined: without an error. */
  readonly ended: Promise<Refused | undefined>;
  readonly #client: Client;
  readonly #stream: ClientReadableStream<WatchEventsResponse>;
  #arrived: (() => void)[] = [];

  constructor(address: string, request: DeepPartial<WatchEventsRequest>, tls: ChannelCredentials = credentials.createInsecure()) {
    this.#client = new Client(address, tls, CLIENT_OPTIONS);
    this.#stream = this.#client.makeServerStreamRequest(WATCH.path, WATCH.requestSerialize, WATCH.responseDeserialize, WatchEventsRequest.fromPartial({ gateway: 'gw', ...request }));
    this.#stream.on('data', (message: WatchEventsResponse) => {
      this.messages.push(message);
      for (const event of message.events) this.events.push(event);
      for (const arrived of this.#arrived.splice(0)) arrived();
    });
    this.ended = new Promise((resolve) => {
      this.#stream.on('error', (error: ServiceError) => { resolve(refusedOf(error)); });
      this.#stream.on('end', () => { resolve(undefined); });
    });
  }

  /** Where a later watch goes on. */
  get cursor(): { afterRevision: number; afterPosition: number } | undefined {
    const last = this.messages.at(-1);
    return last === undefined ? undefined : { afterRevision: last.revision, afterPosition: last.position };
  }

  /** Waits until what came fits; an end of the watch is an error. */
  async until(what: string, fits: (watch: this) => boolean, withinMs = 5_000): Promise<this> {
    const ended = this.ended.then((error) => { throw error ?? new Error('the watch ended'); });
    ended.catch(() => undefined);
    const met = async (): Promise<this> => {
      while (!fits(this)) await new Promise<void>((resolve) => { this.#arrived.push(resolve); });
      return this;
    };
    return within(what, Promise.race([met(), ended]), { withinMs, hint: () => `came: ${this.events.map(({ kind }) => kind).join(' ')}` });
  }

  /** Reads nothing until it is called again. */
  pause(): () => void {
    this.#stream.pause();
    return () => { this.#stream.resume(); };
  }

  close(): void {
    this.#stream.cancel();
    this.#client.close();
  }
}

/** "17.1 PortAllocated" */
export function eventLine({ revision, position, kind, environment, host, mappingId }: Pick<Event, 'revision' | 'position' | 'kind' | 'environment' | 'host' | 'mappingId'>): string {
  return [`${revision}.${position}`, kind, environment, host, mappingId].filter((part) => part !== '').join(' ');
}
