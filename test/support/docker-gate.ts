/** Stands between an agent and the Docker Engine of its machine, and holds a request, or its answer, as a slow engine would. */
import { rmSync } from 'node:fs';
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Machine } from './machine.js';
import { eventually } from './wait.js';

/** `before`: Docker is not asked; `after`: Docker has done it, and the agent is not told. */
export type When = 'before' | 'after';

type Held = { release: () => void; breakOff: () => void };

export const GATE_SOCKET = '/run/gate.sock';

export class DockerGate {
  readonly #engine: string;
  readonly #server: Server;
  readonly #path: string;
  readonly #sockets = new Set<Duplex>();
  #rule: { pattern: RegExp; when: When } | undefined;
  #held: Held[] = [];
  readonly #passing = new Set<{ asked: IncomingMessage; freeze: () => void }>();

  private constructor(machine: Machine) {
    this.#engine = machine.outside('/run/docker.sock');
    this.#path = machine.outside(GATE_SOCKET);
    this.#server = createServer((asked, answer) => { void this.#pass(asked, answer); });
    this.#server.on('upgrade', (asked, socket, head) => { this.#upgrade(asked, socket, head); });
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket)).on('error', () => undefined);
    });
  }

  static async open(machine: Machine): Promise<DockerGate> {
    const gate = new DockerGate(machine);
    rmSync(gate.#path, { force: true });
    await new Promise<void>((resolve, reject) => { gate.#server.once('error', reject).listen(gate.#path, resolve); });
    return gate;
  }

  /** From now on requests are held whose "METHOD /path" fits. */
  hold(pattern: RegExp, when: When): void {
    this.#rule = { pattern, when };
  }

  /** Resolves when one is held. */
  async holds(hint?: () => string): Promise<void> {
    await eventually('a request to Docker to be held', () => this.#held.length > 0, { withinMs: 20_000, everyMs: 5, ...(hint === undefined ? {} : { hint }) });
  }

  /** What is held goes on, as far as somebody still waits for it, and nothing more is held. */
  release(): void {
    this.#rule = undefined;
    for (const { release } of this.#held.splice(0)) release();
  }

  /** What is held breaks off, as when one of the two is gone. */
  forget(): void {
    this.#rule = undefined;
    for (const { breakOff } of this.#held.splice(0)) breakOff();
  }

  /** Told "METHOD /path" of each request from now on. */
  watch(onRequest: (path: string) => void): void {
    this.#server.on('request', (asked: IncomingMessage) => { onRequest(pathOf(asked)); });
  }

  /** From now on nothing comes through of the answers under way whose "METHOD /path" fits, and their connections stay: as when the other end is gone without a word. */
  freeze(pattern: RegExp): void {
    for (const { asked, freeze } of this.#passing) if (pattern.test(pathOf(asked))) freeze();
  }

  async close(): Promise<void> {
    this.forget();
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => { this.#server.close(() => { resolve(); }); });
  }

  async #pass(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    const held = this.#ruleFor(asked);
    if (held === 'before') await this.#wait(answer);
    if (asked.destroyed && held === 'before') return;
    const engine = request({ socketPath: this.#engine, path: asked.url, method: asked.method, headers: asked.headers }, (response) => {
      void (held === 'after' ? this.#wait(answer) : Promise.resolve()).then(() => {
        answer.writeHead(response.statusCode ?? 500, response.headers);
        answer.flushHeaders();
        response.pipe(answer);
        let isFrozen = false;
        const passing = { asked, freeze: () => { isFrozen = true; response.unpipe(answer).resume(); } };
        this.#passing.add(passing);
        // An answer that breaks off breaks off for the agent, too.
        response.on('close', () => {
          this.#passing.delete(passing);
          if (!response.complete && !isFrozen) answer.destroy();
        });
      });
    });
    engine.on('error', () => { answer.destroy(); });
    answer.on('close', () => { if (held !== 'after') engine.destroy(); });
    asked.pipe(engine);
  }

  #ruleFor(asked: IncomingMessage): When | undefined {
    return this.#rule?.pattern.test(pathOf(asked)) === true ? this.#rule.when : undefined;
  }

  #wait(answer: ServerResponse): Promise<void> {
    return new Promise((resolve) => { this.#held.push({ release: resolve, breakOff: () => { answer.destroy(); } }); });
  }

  /** The connection becomes a stream of bytes. */
  #upgrade({ method, url, rawHeaders }: IncomingMessage, client: Duplex, head: Buffer): void {
    const engine = connect(this.#engine);
    const headers = Array.from({ length: rawHeaders.length / 2 }, (_, i) => `${rawHeaders[2 * i] ?? ''}: ${rawHeaders[2 * i + 1] ?? ''}\r\n`).join('');
    engine.write(`${method ?? ''} ${url ?? ''} HTTP/1.1\r\n${headers}\r\n`);
    engine.write(head);
    engine.pipe(client).pipe(engine);
    engine.on('error', () => { client.destroy(); });
    client.on('error', () => { engine.destroy(); });
  }
}

function pathOf({ method = '', url = '' }: IncomingMessage): string {
  return `${method} ${url.split('?')[0] ?? ''}`;
}
