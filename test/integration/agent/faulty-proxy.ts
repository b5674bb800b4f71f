/** A TCP proxy that can go bad: it accepts and says nothing, or goes on holding connections that carry nothing any more. */
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { once } from 'node:events';

type Pair = { near: Socket; far: Socket | undefined };

export class FaultyProxy {
  /** 'hang': a new connection is accepted, and nothing ever comes over it. */
  mode: 'forward' | 'hang' = 'forward';
  /** The client ended a connection. */
  onClose: () => void = () => undefined;
  readonly #pairs: Pair[] = [];
  readonly #target: () => string;
  readonly #server = createServer(near => this.#accept(near));

  constructor(target: () => string) {
    this.#target = target;
  }

  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Connections so far. */
  get accepted(): number {
    return this.#pairs.length;
  }

  /** Those that the client has not ended. */
  get open(): number {
    return this.#pairs.filter(({ near }) => !near.destroyed).length;
  }

  /** From now on nothing passes through connection `index`, either way, and neither side is told. */
  freeze(index: number): void {
    const pair = this.#pairs[index];
    pair?.near.unpipe();
    pair?.far?.unpipe();
    pair?.near.resume();
    pair?.far?.resume();
  }

  freezeAll(): void {
    for (const index of this.#pairs.keys()) this.freeze(index);
  }

  async close(): Promise<void> {
    for (const { near, far } of this.#pairs) {
      near.destroy();
      far?.destroy();
    }
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(near: Socket): void {
    near.on('error', () => undefined);
    near.on('close', () => this.onClose());
    if (this.mode === 'hang') {
      this.#pairs.push({ near, far: undefined });
      near.resume();
      return;
    }
    const [host = '', port = ''] = this.#target().split(':');
    const far = connect(Number(port), host);
    far.on('error', () => near.destroy());
    this.#pairs.push({ near, far });
    near.pipe(far).pipe(near);
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
  }
}
