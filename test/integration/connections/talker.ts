/** A process in a namespace whose servers and connections last; see talker.mjs. */
import { join } from 'node:path';
import { AskedProcess } from '../../support/asked-process.js';
import { inNamespace } from '../../support/netns.js';
import { eventually } from '../../support/wait.js';

export type Seen = { received: number; from: string; end: string };
type Transport = 'tcp' | 'udp';

export class Talker extends AskedProcess {
  constructor(namespace: string) {
    super(inNamespace(namespace, [process.execPath, join(import.meta.dirname, 'talker.mjs')]));
  }

  async serve(transport: Transport, port: number, who: string, address?: string): Promise<void> {
    await this.tell({ command: transport === 'tcp' ? 'serveTcp' : 'serveUdp', port, who, address });
  }

  /** Opens a connection that stays open, and waits until the server was heard. Returns who that is. */
  open(name: string, transport: Transport, address: string, port: number): Promise<string> {
    return this.#open(name, { command: transport === 'tcp' ? 'openTcp' : 'openUdp', address, port });
  }

  /** The same from this address of the client. */
  openFrom(name: string, transport: Transport, from: string, to: readonly [address: string, port: number]): Promise<string> {
    return this.#open(name, { command: transport === 'tcp' ? 'openTcp' : 'openUdp', address: to[0], port: to[1], from });
  }

  /** The client ends a TCP connection. */
  async end(name: string): Promise<void> {
    await this.tell({ command: 'end', name });
  }

  /** The same with a client that says nothing after the beginning. */
  openAndListen(name: string, transport: Transport, address: string, port: number): Promise<string> {
    return this.#open(name, { command: transport === 'tcp' ? 'openTcp' : 'openUdp', address, port, once: true });
  }

  async look(name: string): Promise<Seen> {
    return await this.tell({ command: 'look', name }) as Seen;
  }

  async speak(name: string): Promise<void> {
    await this.tell({ command: 'speak', name });
  }

  /** Ends a TCP connection in good order. */
  async hangUp(name: string): Promise<void> {
    await this.tell({ command: 'hangUp', name });
  }

  /** A TCP server that greets and is silent then. */
  async serveQuietly(port: number, who: string, address: string): Promise<void> {
    await this.tell({ command: 'serveQuietly', port, who, address });
  }

  /** Lets the quiet servers say something to all who ever connected; returns how many these are. */
  async sayAll(what: string): Promise<number> {
    return await this.tell({ command: 'sayAll', what }) as number;
  }

  /** Ends the quiet servers and their connections. */
  async stopServing(): Promise<void> {
    await this.tell({ command: 'stopServing' });
  }

  async reaches(address: string, port: number, deadlineMs: number, localPort?: number): Promise<boolean> {
    return await this.tell({ command: 'reach', address, port, deadlineMs, localPort }) as boolean;
  }

  async sent(): Promise<number> {
    return (await this.tell({ command: 'counts' }) as { sent: number }).sent;
  }

  /** Waits until the connection has carried something after this call. */
  async hearsMore(name: string): Promise<void> {
    const { received } = await this.look(name);
    await eventually(`${name} goes on hearing the server`, async () => (await this.look(name)).received > received, { withinMs: 10_000 });
  }

  async #open(name: string, request: Record<string, unknown>): Promise<string> {
    await this.tell({ ...request, name });
    const seen = await eventually(`${name} hears the server`, async () => {
      const now = await this.look(name);
      return now.received > 0 || now.end !== '' ? now : undefined;
    }, { withinMs: 10_000 });
    return seen.end === '' ? seen.from : seen.end;
  }
}
