/**
 * A client of the control socket of an ssh connection (OpenSSH's PROTOCOL.mux, version 4). The connection to it stays open: it ends when ssh
 * does, which is how its end is noticed at once. Forwards can be added and cancelled without connecting to the server anew.
 */
import { connect, type Socket } from 'node:net';
import type { HeldForward } from './words.js';

const HELLO = 0x00000001;
const ALIVE_CHECK = 0x10000004;
const OPEN_FORWARD = 0x10000006;
const CLOSE_FORWARD = 0x10000007;
const OK = 0x80000001;
const PERMISSION_DENIED = 0x80000002;
const FAILURE = 0x80000003;
const ALIVE = 0x80000005;
const REMOTE_PORT = 0x80000007;
const VERSION = 4;
/** Of an endpoint that is a unix socket, in the place of its port: -2. */
const SOCKET_PORT = 0xfffffffe;
const MAX_PACKET = 64 * 1024;
const ANSWER_MS = 5_000;

type Pending = { resolve: (body: Answer) => void; reject: (error: Error) => void; timer: NodeJS.Timeout };
type Answer = { type: number; rest: Buffer };

export class ControlLink {
  /** Resolves when ssh, or this side, has closed it. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #pending = new Map<number, Pending>();
  #buffered = Buffer.alloc(0);
  #lastId = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.closed = new Promise(resolve => {
      socket.once('close', () => {
        this.#fail(new Error('the connection to the control socket has ended'));
        resolve();
      });
    });
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.write(packet(HELLO, uint32(VERSION)));
  }

  /** Rejects when nobody listens at `path`, or not within `deadlineMs`. */
  static open(path: string, deadlineMs = ANSWER_MS): Promise<ControlLink> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      const timer = setTimeout(() => socket.destroy(new Error('the control socket does not answer')), deadlineMs);
      socket.once('error', error => {
        clearTimeout(timer);
        reject(error);
      });
      socket.once('connect', () => {
        clearTimeout(timer);
        socket.removeAllListeners('error');
        resolve(new ControlLink(socket));
      });
    });
  }

  get isClosed(): boolean {
    return this.#socket.destroyed;
  }

  /** Id of the ssh process. */
  async pid(): Promise<number> {
    const { type, rest } = await this.#ask(ALIVE_CHECK, Buffer.alloc(0));
    if (type !== ALIVE || rest.length < 4) throw new Error('the control socket gave an answer that is not understood');
    return rest.readUInt32BE(0);
  }

  /** Rejects with what ssh says when it is refused. Adding one that is there is fine. */
  async addForward(forward: HeldForward): Promise<void> {
    const { type, rest } = await this.#ask(OPEN_FORWARD, forwardBody(forward));
    if (type !== OK && type !== REMOTE_PORT) throw refusal(type, rest);
  }

  async cancelForward(forward: HeldForward): Promise<void> {
    const { type, rest } = await this.#ask(CLOSE_FORWARD, forwardBody(forward));
    if (type !== OK) throw refusal(type, rest);
  }

  close(): void {
    this.#socket.destroy();
  }

  #ask(type: number, body: Buffer): Promise<Answer> {
    if (this.#socket.destroyed) return Promise.reject(new Error('the connection to the control socket has ended'));
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new Error(`ssh did not answer within ${ANSWER_MS} ms`));
      }, ANSWER_MS);
      this.#pending.set(id, { resolve, reject, timer });
      this.#socket.write(packet(type, Buffer.concat([uint32(id), body])));
    });
  }

  #take(chunk: Buffer): void {
    this.#buffered = Buffer.concat([this.#buffered, chunk]);
    while (this.#buffered.length >= 4) {
      const length = this.#buffered.readUInt32BE(0);
      if (length < 4 || length > MAX_PACKET) return this.close();
      if (this.#buffered.length < 4 + length) return;
      const body = this.#buffered.subarray(4, 4 + length);
      this.#buffered = this.#buffered.subarray(4 + length);
      if (body.readUInt32BE(0) !== HELLO && body.length >= 8) this.#settle(body.readUInt32BE(4), { type: body.readUInt32BE(0), rest: body.subarray(8) });
    }
  }

  #settle(id: number, answer: Answer): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    clearTimeout(pending?.timer);
    pending?.resolve(answer);
  }

  #fail(error: Error): void {
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#pending.clear();
  }
}

function refusal(type: number, rest: Buffer): Error {
  const said = rest.length >= 4 ? rest.subarray(4, 4 + rest.readUInt32BE(0)).toString('utf8') : '';
  if (type === PERMISSION_DENIED || type === FAILURE) return new Error(said === '' ? 'ssh refuses it' : said);
  return new Error('the control socket gave an answer that is not understood');
}

function forwardBody({ direction, listen, to }: HeldForward): Buffer {
  const [host, port] = 'socket' in listen ? [listen.socket, SOCKET_PORT] : [listen.host, listen.port];
  return Buffer.concat([uint32(direction === 'local' ? 1 : 2), text(host), uint32(port), text(to.host), uint32(to.port)]);
}

function packet(type: number, body: Buffer): Buffer {
  return Buffer.concat([uint32(4 + body.length), uint32(type), body]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([uint32(bytes.length), bytes]);
}
