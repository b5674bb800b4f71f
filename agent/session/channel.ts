/**
 * Connections to the coordinator: each client has one of its own, and closing the client ends it, whatever state it is in.
 * grpc-js alone forgets a connection that hangs before HTTP/2 stands, or that carries nothing any more, and leaves it open: the
 * sockets are noted on their way through the credentials, and destroyed with the client.
 */
import type { Socket } from 'node:net';
import { ChannelCredentials } from '@grpc/grpc-js';
import { AgentServiceClient } from '../../shared/gen/portlease/v1/agents.js';
import { CLIENT_OPTIONS } from '../../shared/grpc.js';

export type Coordinator = {
  /** As grpc-js takes it: "host:port" or "unix:/path". */
  address: string;
  /** Asked for each connection, so that renewed certificates are used. Throws when the files cannot be used. */
  credentials: () => ChannelCredentials;
};

export class Connection {
  readonly client: AgentServiceClient;
  readonly #credentials: NotingCredentials;

  constructor({ address, credentials }: Coordinator) {
    this.#credentials = new NotingCredentials(credentials());
    this.client = new AgentServiceClient(address, this.#credentials, CLIENT_OPTIONS);
  }

  close(): void {
    this.client.close();
    this.#credentials.endSockets();
  }
}

type MakeConnector = ChannelCredentials['_createSecureConnector'];
type Connector = ReturnType<MakeConnector>;

class NotingCredentials extends ChannelCredentials {
  readonly #inner: ChannelCredentials;
  readonly #sockets = new Set<Socket>();
  #isEnded = false;

  constructor(inner: ChannelCredentials) {
    super();
    this.#inner = inner;
  }

  /** Those to come as well. */
  endSockets(): void {
    this.#isEnded = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  override _isSecure(): boolean {
    return this.#inner._isSecure();
  }

  override _equals(other: ChannelCredentials): boolean {
    return other === this;
  }

  override _createSecureConnector(...args: Parameters<MakeConnector>): Connector {
    const inner = this.#inner._createSecureConnector(...args);
    return {
      connect: socket => {
        this.#note(socket);
        return inner.connect(socket);
      },
      waitForReady: () => inner.waitForReady(),
      getCallCredentials: () => inner.getCallCredentials(),
      destroy: () => inner.destroy(),
    };
  }

  #note(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    if (this.#isEnded) socket.destroy();
  }
}
