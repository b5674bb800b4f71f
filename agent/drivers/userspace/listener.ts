/** One place that is listened on. Where it leads can be changed while it listens. */
import { createServer, type Server, type Socket } from 'node:net';
import { KEEP_ALIVE_MS } from './relay.js';
import type { Place, Service } from './services.js';

const BACKLOG = 511;

export class Listener {
  service: Service;
  readonly #server: Server;
  #isListening = false;

  private constructor(service: Service, onClient: (client: Socket, service: Service) => void) {
    this.service = service;
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS },
      client => onClient(client, this.service));
  }

  /** Rejects with the kernel's error when it cannot be listened on. `onClient` is given paused sockets. */
  static open(service: Service, onClient: (client: Socket, service: Service) => void): Promise<Listener> {
    const listener = new Listener(service, onClient);
    const { address, port } = service.place;
    const server = listener.#server;
    return new Promise((resolve, reject) => {
      // Later errors come from accept(): the next look finds that it does not listen any more.
      server.on('error', error => {
        listener.#isListening = false;
        server.close();
        reject(error);
      });
      server.listen({ host: address, port, backlog: BACKLOG, exclusive: true, ipv6Only: true }, () => {
        listener.#isListening = true;
        resolve(listener);
      });
    });
  }

  get place(): Place {
    return this.service.place;
  }

  /** False after an error. The kernel may have closed it without one. */
  get isListening(): boolean {
    return this.#isListening;
  }

  /** From now on nobody is accepted; what was accepted goes on. */
  close(): void {
    this.#isListening = false;
    this.#server.close();
  }
}
