/**
 * The network between agents and the coordinator: connections that keep their order but not each other's, deliver late, break at one
 * end before the other, and directions that are cut without a word.
 */
import { EventEmitter } from 'node:events';
import type { StreamListener } from '../../agent/session/stream.js';
import type { StreamPort, Transport } from '../../agent/session/transport.js';
import { endOf } from '../../agent/session/refusal.js';
import type { HeartbeatRequest, HeartbeatResponse, SessionRequest, SessionResponse } from '../../shared/gen/portlease/v1/agents.js';
import type { Chance } from './random.js';
import type { Life, Time } from './time.js';

/** What of the path between one machine and the coordinator works. */
export type Path = { up: boolean; down: boolean; slowMs: number };

/** What a coordinator process serves. */
export type Server = {
  life: Life;
  session(stream: ServerStream): void;
  heartbeat(request: HeartbeatRequest, answer: (error: Error | null, response?: HeartbeatResponse) => void): void;
};

/** The coordinator's end of a stream: as much of a gRPC stream as is used of one. */
export class ServerStream extends EventEmitter {
  readonly #send: (response: SessionResponse) => void;
  readonly #finish: (error: Error | undefined) => void;

  constructor(send: (response: SessionResponse) => void, finish: (error: Error | undefined) => void) {
    super();
    this.#send = send;
    this.#finish = finish;
    this.on('error', (error: Error) => { this.#finish(error); });
  }

  write({ message }: SessionResponse, written: () => void): boolean {
    this.#send({ message });
    queueMicrotask(written);
    return true;
  }

  end(): void { this.#finish(undefined); }
  pause(): this { return this; }
  resume(): this { return this; }
}

/** `lossOneIn`: how rare it is that a connection loses or repeats a message. */
export type Route = { time: Time; chance: Chance; path: Path; lossOneIn: number; server: () => Server | undefined };

/** One direction of a connection: in order, held while the path is cut. */
class Pipe {
  #clearMs = 0;
  #held: (() => void)[] = [];
  isBroken = false;

  constructor(private readonly route: Route, private readonly direction: 'up' | 'down', private readonly receiver: Life) {}

  /** Once in a while a message gets lost, or comes again later: no connection should do that, and nothing may break when one does. */
  deliver(act: () => void): void {
    const { chance, lossOneIn } = this.route;
    if (chance.oneIn(lossOneIn)) return;
    this.#carry(act);
    if (chance.oneIn(lossOneIn)) this.route.time.plan(chance.between(1, 500), this.receiver, () => { this.#carry(act); });
  }

  /** Always arrives, unless the connection breaks. */
  deliverEnd(act: () => void): void {
    this.#carry(act);
  }

  #carry(act: () => void): void {
    if (this.isBroken) return;
    const { time, chance, path } = this.route;
    const atMs = Math.max(this.#clearMs, time.nowMs + chance.between(1, 10) + path.slowMs);
    this.#clearMs = atMs;
    time.plan(atMs - time.nowMs, this.receiver, () => {
      if (this.isBroken) return;
      if (!path[this.direction] || this.#held.length > 0) this.#hold(act);
      else act();
    });
  }

  /** The sender repeats it until the path works. */
  #hold(act: () => void): void {
    this.#held.push(act);
    if (this.#held.length === 1) this.#retry();
  }

  #retry(): void {
    const { time, chance, path } = this.route;
    time.plan(chance.between(50, 300), this.receiver, () => {
      if (this.isBroken) return;
      if (!path[this.direction]) return this.#retry();
      for (const act of this.#held.splice(0)) act();
    });
  }
}

/** The transport of one agent process. */
export class SimulatedTransport implements Transport {
  #beats = new Set<(error: Error) => void>();
  readonly #streams = new Set<() => void>();

  constructor(private readonly route: Route, private readonly agent: Life) {}

  openStream(listener: StreamListener): StreamPort {
    const { time, chance, path } = this.route;
    const connection = new Connection(this.route, this.agent, listener);
    time.plan(chance.between(1, 20) + path.slowMs, this.agent, () => { connection.open(); });
    this.#streams.add(connection.breakDown);
    return connection;
  }

  heartbeat(request: HeartbeatRequest, deadlineMs: number): Promise<HeartbeatResponse> {
    const { time, chance, path, server } = this.route;
    return new Promise((resolve, reject) => {
      const fail = (error: Error): void => { this.#beats.delete(fail); reject(error); };
      this.#beats.add(fail);
      time.plan(deadlineMs, this.agent, () => { fail(new Error(`no answer within ${deadlineMs} ms`)); });
      const to = server();
      if (to === undefined) return void time.plan(1, this.agent, () => { fail(new Error('connection refused')); });
      const arrive = (): void => {
        if (!path.up) return;
        to.heartbeat(request, (error, response) => {
          time.plan(chance.between(1, 10) + path.slowMs, this.agent, () => {
            if (!path.down) return;
            if (error === null && response !== undefined) { this.#beats.delete(fail); resolve(response); }
            else fail(error ?? new Error('no response'));
          });
        });
      };
      time.plan(chance.between(1, 10) + path.slowMs, to.life, arrive);
      // A call that was repeated on the way arrives twice.
      if (chance.oneIn(50)) time.plan(chance.between(1, 1_000) + path.slowMs, to.life, arrive);
    });
  }

  closeHeartbeats(): void {
    for (const fail of [...this.#beats]) fail(new Error('the connection was closed'));
  }

  /** The agent process died: its kernel says so to the coordinator. */
  die(): void {
    for (const breakDown of this.#streams) breakDown();
  }
}

class Connection implements StreamPort {
  #server: { stream: ServerStream; life: Life } | undefined;
  #toServer: Pipe | undefined;
  #isClosed = false;

  constructor(private readonly route: Route, private readonly agent: Life, private readonly listener: StreamListener) {}

  open(): void {
    const { path, server, time } = this.route;
    if (this.#isClosed || !path.up || !path.down) return;
    const to = server();
    if (to === undefined) return this.#end(new Error('connection refused'));
    const toServer = new Pipe(this.route, 'up', to.life);
    const toAgent = new Pipe(this.route, 'down', this.agent);
    const stream = new ServerStream(
      (response) => { toAgent.deliver(() => { if (!this.#isClosed) this.listener.message(response); }); },
      (error) => { toAgent.deliverEnd(() => { this.#end(error ?? new Error('the coordinator ended the stream')); }); },
    );
    this.#toServer = toServer;
    this.#server = { stream, life: to.life };
    this.#watch(to.life);
    time.plan(0, to.life, () => { to.session(stream); });
    this.listener.opened();
  }

  send(request: SessionRequest): void {
    const server = this.#server;
    if (this.#isClosed || server === undefined) return;
    this.#toServer?.deliver(() => { server.stream.emit('data', request); });
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.breakDown();
  }

  /** The other end learns of it when the path works, or by a keepalive of its own much later. */
  readonly breakDown = (): void => {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined || this.#toServer === undefined) return;
    this.#toServer.deliverEnd(() => { server.stream.emit('cancelled'); });
  };

  /** A coordinator that is gone shows itself when the path works. */
  #watch(life: Life): void {
    const { time, chance, path } = this.route;
    time.plan(chance.between(20, 200), this.agent, () => {
      if (this.#isClosed) return;
      if (life.isOver && path.up && path.down) this.#end(new Error('connection reset'));
      else this.#watch(life);
    });
  }

  #end(error: Error): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#toServer !== undefined) this.#toServer.isBroken = true;
    this.#server = undefined;
    this.listener.ended(endOf(error));
  }
}
