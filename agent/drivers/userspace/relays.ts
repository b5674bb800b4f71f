/** All connections that are being forwarded: takes new ones within the limits, and ends them by port. */
import type { Socket } from 'node:net';
import type { Log } from '../../../shared/log.js';
import type { Timers } from '../../../shared/timers.js';
import { isWelcome, type Clients } from '../connections/clients.js';
import type { Cut, Standing } from '../connections/connections.js';
import type { Traffic } from '../traffic/traffic.js';
import { refusalOf, type Limits } from './budget.js';
import { Relay } from './relay.js';
import { peerAddress, resetNow } from './reset.js';
import { keyOf, refusalFor, type Service } from './services.js';

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

  /** A client beyond the limits, or that the mapping is not for, is reset at once. */
  take(client: Socket, service: Service): void {
    const { limits, listeners, connectMs, timers } = this.#options;
    this.#taken.set(service.id, (this.#taken.get(service.id) ?? 0) + 1);
    const ofMapping = this.#ofMapping.get(service.id) ?? 0;
    const from = peerAddress(client);
    if (refusalFor(service, { client: from, ofMapping }) !== undefined) return turnAway(client);
    const refusal = refusalOf(limits, { listeners: listeners(), connections: this.#open.size, ofMapping });
    this.#note(refusal, service);
    if (refusal !== undefined) return turnAway(client);
    const relay = new Relay({ client, from, service, connectMs, timers, onConnected: problem => this.#noteTarget(service, problem) });
    this.#open.add(relay);
    this.#ofMapping.set(service.id, ofMapping + 1);
    void relay.ended.then(() => this.#forget(relay));
  }

  /** Ends what came through the ports of these cuts and does not lead where they stand to lead; resolves when all of it is closed. */
  async cut(cuts: readonly Cut[], standing: Standing): Promise<void> {
    const counts = new Map<Clients, number>();
    const doomed = [...this.#open].filter(relay => cuts.some(cut => isOf(relay.service, cut)) && !stays(relay, standing, counts));
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

function turnAway(client: Socket): void {
  client.on('error', () => undefined);
  resetNow(client);
}

/** As many of a place as there is room for stay: the oldest ones. `counts`: of those that were looked at before. */
function stays({ service: { place, target }, from }: Relay, standing: Standing, counts: Map<Clients, number>): boolean {
  const standsAt = standing.endpoints('tcp', place.port).find(({ address, port }) => address === target.address && (port ?? place.port) === target.port);
  if (standsAt?.clients === undefined) return standsAt !== undefined;
  if (!isWelcome(standsAt.clients, from)) return false;
  const count = (counts.get(standsAt.clients) ?? 0) + 1;
  counts.set(standsAt.clients, count);
  const { maxConnections } = standsAt.clients.limits;
  return maxConnections === 0 || count <= maxConnections;
}
