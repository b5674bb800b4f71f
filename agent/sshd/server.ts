/**
 * Answers sshd's question which hosts may log in, and for which ports they may listen: one line in over a unix socket of root's, as agent/sshd/keys.ts asks, lines of
 * authorized_keys out. An answer is given only when the ports that it names are free of the host's own silent sessions.
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import type { Log } from '../../shared/log.js';
import { isSshPublicKey } from '../../shared/tunnel-address.js';
import { authorizedKey, portsText, type Grants } from './grants.js';
import type { Sessions } from './sessions.js';

export type KeyServerOptions = { readonly path: string; readonly grants: () => Grants; readonly sessions: Pick<Sessions, 'admit'>; readonly log: Log };

/** "PID TYPE KEY" */
const QUESTION = /^(\d{1,10}) (\S{1,64}) (\S{1,2000})\n$/;
const MAX_QUESTION = 2_200;
const PATIENCE_MS = 5_000;

export class KeyServer {
  private readonly clients = new Set<Socket>();

  private constructor(private readonly server: Server, private readonly options: KeyServerOptions) {
    server.on('connection', client => { this.serve(client); });
  }

  /** Throws when the socket cannot be made. */
  static async open(options: KeyServerOptions): Promise<KeyServer> {
    mkdirSync(dirname(options.path), { recursive: true, mode: 0o755 });
    rmSync(options.path, { force: true });
    const server = createServer({ allowHalfOpen: true });
    await new Promise<void>((resolve, reject) => { server.once('error', reject).listen(options.path, resolve); });
    chmodSync(options.path, 0o600);
    return new KeyServer(server, options);
  }

  async close(): Promise<void> {
    const closed = new Promise<void>(resolve => { this.server.close(() => { resolve(); }); });
    for (const client of this.clients) client.destroy();
    await closed;
  }

  private serve(client: Socket): void {
    this.clients.add(client);
    let text = '';
    client.setEncoding('latin1').setTimeout(PATIENCE_MS, () => { client.destroy(); });
    client.on('error', () => undefined).on('close', () => this.clients.delete(client));
    client.on('data', (part: string) => {
      text += part;
      if (text.length > MAX_QUESTION) client.destroy();
      if (!text.endsWith('\n')) return;
      client.removeAllListeners('data');
      this.answer(text).then(answer => { client.end(answer); }, (error: unknown) => {
        this.options.log.error({ err: error }, 'sshd could not be told of a key');
        client.destroy();
      });
    });
  }

  private async answer(question: string): Promise<string> {
    const { grants, sessions, log } = this.options;
    const [, pid, type, body] = QUESTION.exec(question) ?? [];
    const key = `${type ?? ''} ${body ?? ''}`;
    const grant = isSshPublicKey(key) ? grants().get(key) : undefined;
    if (grant === undefined || !await sessions.admit(Number(pid), grant)) return '';
    // A range may have been taken away meanwhile.
    const now = grants().get(key);
    if (now?.host !== grant.host || portsText(now.ports) !== portsText(grant.ports)) return '';
    log.info({ host: grant.host, ports: portsText(grant.ports), address: grant.address, pid: Number(pid) }, 'a host logs in, and may listen for its ports');
    return `${authorizedKey(grant)}\n`;
  }
}
