/** All connections that are being forwarded: takes new ones within the limits, and ends them by port. */
import type { Socket } from 'node:net';
import type { Log } from '../../../shared/log.js';
import type { Timers } from '../../../shared/timers.js';
import type { Cut, Standing } from '../connections/connections.js';
import type { Traffic } from '../traffic/traffic.js';
import { refusalOf, type Limits } from './budget.js';
import { Relay } from './relay.js';
import { resetNow } from './reset.js';
import { keyOf, type Service } from './services.js';

type RelaysOptions = { limits: Limits; connectMs: number; listeners: () => number; timers: Timers; log: Log };

export class Relays {
  readonly #options: RelaysOptions;
  readonly #open = new Set<Relay>();
  /** Open ones of each mapping. */
  readonly #ofMapping = new Map<string, number>();
  /** Taken of each mapping so far. */
  readonly #taken = new Map<string, number>();
  /** Why the last client was turned away, until one is taken again. */
  #refusal: string | undefined;
  /** Targets that did not accept the last connection. */
  readonly #unreachable = new Set<string>();

  constructor(options: RelaysOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#open.size;
  }

  trafficOf(mappingId: string): Traffic {
    return { begun: { tcp: this.#taken.get(mappingId) ?? 0 }, isTracked: this.#ofMapping.has(mappingId) };
  }

  /** A client beyond the limits is reset at once. */
  take(client: Socket, service: Service): void {
    const { limits, listeners, connectMs, timers } = this.#options;
    this.#taken.set(service.id, (this.#taken.get(service.id) ?? 0) + 1);
    const ofMapping = this.#ofMapping.get(service.id) ?? 0;
    const refusal = refusalOf(limits, { listeners: listeners(), connections: this.#open.size, ofMapping });
    this.#note(refusal, service);
    if (refusal !== undefined) {
      client.on('error', () => undefined);
      resetNow(client);
      return;
    }
    const relay = new Relay({ client, service, connectMs, timers, onConnected: problem => this.#noteTarget(service, problem) });
    this.#open.add(relay);
    this.#ofMapping.set(service.id, ofMapping + 1);
    void relay.ended.then(() => this.#forget(relay));
  }

  /** Ends what came through the ports of these cuts and does not lead where they stand to lead; resolves when all of it is closed. */
  async cut(cuts: readonly Cut[], standing: Standing): Promise<void> {
    const doomed = [...this.#open].filter(({ service }) => cuts.some(cut => isOf(service, cut)) && !stays(service, standing));
    await Promise.all(doomed.map(relay => relay.abort()));
  }

  async close(): Promise<void> {
    await Promise.all(Array.from(this.#open, relay => relay.abort()));
  }

  #forget(relay: Relay): void {
    this.#open.delete(relay);
    const { id } = relay.service;
    const left = (this.#ofMapping.get(id) ?? 1) - 1;
    if (left === 0) this.#ofMapping.delete(id);
    else this.#ofMapping.set(id, left);
  }

  #note(refusal: string | undefined, { id, place }: Service): void {
    if (refusal === this.#refusal) return;
    const { log } = this.#options;
    this.#refusal = refusal;
    if (refusal === undefined) log.info({ connections: this.#open.size }, 'there is room for connections again');
    else log.warn({ problem: refusal, mappingId: id, port: place.port }, 'connections are refused');
  }

  #noteTarget({ id, target }: Service, problem: string | undefined): void {
    const key = `${id} ${keyOf(target)}`;
    if (this.#unreachable.has(key) === (problem !== undefined)) return;
    const { log } = this.#options;
    if (problem === undefined) {
      this.#unreachable.delete(key);
      log.info({ mappingId: id, target }, 'the target answers again');
    } else {
      this.#unreachable.add(key);
      log.warn({ mappingId: id, target, problem }, 'the target does not answer: its clients are reset');
    }
  }

  /** What is known of mappings that are gone is forgotten. */
  keepOnly(ids: ReadonlySet<string>): void {
    for (const id of this.#taken.keys()) if (!ids.has(id)) this.#taken.delete(id);
    for (const key of this.#unreachable) if (!ids.has(key.split(' ')[0] ?? '')) this.#unreachable.delete(key);
  }
}

function isOf({ place: { port } }: Service, { transport, ports: { first, last } }: Cut): boolean {
  return transport === 'tcp' && first <= port && port <= last;
}

function stays({ place, target }: Service, standing: Standing): boolean {
  return standing.endpoints('tcp', place.port).some(({ address, port }) => address === target.address && (port ?? place.port) === target.port);
}
