/** A foreign process: another user's, that listens where it is told until it is ended. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { inNamespace } from '../../support/netns.js';

export type Place = { transport: 'tcp' | 'udp'; address: string; port: number; ipv6Only?: boolean };

/** Prints its ports when it listens on all. A child that was forked by it, if it is asked for one, holds the sockets, too. */
const PROGRAM = `
const places = JSON.parse(process.argv[1]);
Promise.all(places.map(({ transport, address, port, ipv6Only }) => new Promise((resolve, reject) => {
  if (transport === 'tcp') {
    const server = require('net').createServer(socket => socket.end('foreign')).on('error', reject);
    server.listen({ host: address, port, ipv6Only, backlog: 8 }, () => resolve(server.address().port));
  } else {
    const socket = require('dgram').createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', ipv6Only }).on('error', reject);
    socket.bind(port, address, () => resolve(socket.address().port));
  }
}))).then(ports => console.log(JSON.stringify({ ports })), error => console.log(JSON.stringify({ error: error.message })));
process.stdin.on('end', () => process.exit()).resume();
`;

export const SECRET = 'token=hunter2';

export class Occupier {
  private constructor(private readonly child: ChildProcess, readonly ports: readonly number[]) {}

  /** `uid`: of its user. `namespace`: where it listens. */
  static async start(places: readonly Place[], { uid = 65_534, namespace }: { uid?: number; namespace?: string } = {}): Promise<Occupier> {
    const argv = ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', process.execPath, '-e', PROGRAM, JSON.stringify(places), SECRET];
    const [file = '', ...args] = namespace === undefined ? argv : inNamespace(namespace, argv);
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'], cwd: '/' });
    const [line] = await once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), 'line') as [string];
    const { ports = [], error } = JSON.parse(line) as { ports?: number[]; error?: string };
    if (error !== undefined) throw new Error(error);
    return new Occupier(child, ports);
  }

  get pid(): number {
    return this.child.pid as number;
  }

  /** Nothing listens afterwards. */
  async end(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await ended;
  }
}
