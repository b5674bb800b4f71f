/** Two machines as network namespaces: `host` keeps tunnels, `server` has a real sshd. Removed with all that runs in them. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createWriteStream, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import type { TunnelReport, TunnelSpec } from '../../../shared/tunnel.js';
import type { TunnelWish } from '../../../agent/tunnels/tunnels.js';
import type { Settings } from '../../../agent/tunnels/words.js';
import { AskedProcess } from '../../support/asked-process.js';
import { inNamespace, namespacePrefix, processesIn, removeLeftovers, removeNamespaces, runIn } from '../../support/netns.js';
import { argvOf, isRunning, signalProcess } from '../../support/processes.js';
import { ROOT } from '../../support/root.js';
import { run, runSync } from '../../support/run.js';
import { eventually } from '../../support/wait.js';

export const SERVER = '10.79.0.2';
/** Services of this port say who they are: on 127.0.0.1 of the server, and of the host. */
export const SERVICE_PORT = 7_000;
export const HOST = 'host-t';

let count = 500;

export type Node = 'host' | 'server';

export class TunnelBench {
  readonly directory = mkdtempSync(join(tmpdir(), 'pltun-'));
  readonly #prefix = namespacePrefix(++count);
  readonly #onExit = (): void => removeNamespaces(this.#namespaces);
  agent: AskedProcess | undefined;
  /** The same user's, to the same server, with the same key: nobody may end it. */
  #foreign: ChildProcess | undefined;

  private constructor() {
    process.once('exit', this.#onExit);
  }

  static async up(): Promise<TunnelBench> {
    removeLeftovers();
    const bench = new TunnelBench();
    try {
      await bench.#make();
    } catch (error) {
      await bench.down();
      throw error;
    }
    return bench;
  }

  namespace(node: Node): string {
    return `${this.#prefix}-${node}`;
  }

  run(node: Node, argv: readonly string[], accept: readonly number[] = []) {
    return runIn(this.namespace(node), argv, { accept });
  }

  /** A config with this server, unless `changes` says otherwise. */
  config(changes: Record<string, unknown> = {}): Record<string, unknown> {
    return { servers: { edge: this.server() }, forwards: { to: ['127.0.0.0/8'] }, backoff: { min: '200ms', max: '1s' }, ...changes };
  }

  server(changes: Record<string, unknown> = {}): Record<string, unknown> {
    return { address: SERVER, port: 2_222, user: 'root', keyFile: join(this.directory, 'user'), hostKeys: [this.publicKey('server')], ...changes };
  }

  publicKey(name: string): string {
    return readFileSync(join(this.directory, `${name}.pub`), 'utf8').split(' ').slice(0, 2).join(' ');
  }

  /** Starts an agent with these tunnels. */
  start({ config = this.config(), settings = {}, desired, host = HOST, directory = this.directory }: { config?: unknown; settings?: Partial<Settings>; desired?: TunnelWish[]; host?: string; directory?: string } = {}): void {
    const given = { host, config, directory, settings, desired };
    const kind = extname(import.meta.filename);
    const loader = kind === '.ts' ? ['--import', 'tsx'] : [];
    this.agent = new AskedProcess(inNamespace(this.namespace('host'), ['env', '-C', ROOT, process.execPath, ...loader, join(import.meta.dirname, `guest${kind}`), JSON.stringify(given)]));
  }

  /** For another agent on this machine. */
  otherDirectory(): string {
    const directory = join(this.directory, 'second');
    mkdirSync(join(directory, 'state'), { recursive: true });
    return directory;
  }

  async tell(op: string, more: Record<string, unknown> = {}): Promise<unknown> {
    if (this.agent === undefined) throw new Error('no agent runs');
    return this.agent.tell({ op, ...more });
  }

  desire(...wishes: TunnelWish[]): Promise<unknown> {
    return this.tell('desire', { wishes });
  }

  async report(tunnel: string): Promise<TunnelReport | undefined> {
    return (await this.tell('reports') as TunnelReport[]).find(one => one.spec.tunnel === tunnel);
  }

  /** Waits until `isSo` of the report. */
  async until(tunnel: string, what: string, isSo: (report: TunnelReport) => boolean, everyMs = 10): Promise<TunnelReport> {
    let last: TunnelReport | undefined;
    return eventually(`tunnel ${tunnel} ${what}`, async () => {
      last = await this.report(tunnel);
      return last !== undefined && isSo(last) ? last : undefined;
    }, { withinMs: 20_000, everyMs, hint: () => JSON.stringify(last) });
  }

  untilUp(tunnel: string): Promise<TunnelReport> {
    return this.until(tunnel, 'is up', ({ state }) => state === 'up');
  }

  ask(port: number): Promise<unknown> {
    return this.tell('ask', { port });
  }

  async askFrom(node: Node, port: number): Promise<string> {
    return (await this.run(node, [process.execPath, join(ROOT, 'test/support/guests/ask.mjs'), '127.0.0.1', String(port)])).stdout.trim();
  }

  /** The first that comes from a unix socket of the server. */
  async askSocket(path: string): Promise<string> {
    const script = `require('net').connect(${JSON.stringify(path)}).on('data', text => { process.stdout.write(text); process.exit(0); })`;
    return (await this.run('server', [process.execPath, '-e', script])).stdout;
  }

  /** Processes of ssh and autossh of tunnels, by program. */
  processes(): Promise<{ pid: number; program: string }[]> {
    return Promise.resolve(processesIn(this.namespace('host')).map(pid => ({ pid, program: (argvOf(pid)?.[0] ?? '').split('/').at(-1) ?? '' }))
      .filter(({ pid, program }) => (program === 'ssh' || program === 'autossh') && markOf(pid) !== undefined));
  }

  async pidOf(program: 'ssh' | 'autossh'): Promise<number> {
    const found = (await this.processes()).filter(one => one.program === program);
    if (found.length !== 1) throw new Error(`${found.length} processes of ${program}`);
    return found[0]!.pid;
  }

  /** sshd processes that serve a connection. */
  sessions(): number[] {
    return processesIn(this.namespace('server')).filter(pid => /^sshd: root/.test(argvOf(pid)?.[0] ?? ''));
  }

  /** Ends the agent without a word. */
  async kill(): Promise<void> {
    const { agent } = this;
    if (agent === undefined) return;
    signalProcess(agent.pid, 'SIGKILL');
    await eventually('the end of the agent', () => !isRunning(agent.pid), { withinMs: 10_000 });
    this.agent = undefined;
  }

  async stop(): Promise<void> {
    await this.agent?.close();
    this.agent = undefined;
  }

  /** Text of all logs: of sshd, and of the tunnels. */
  logs(): string {
    const folder = join(this.directory, 'state/tunnels');
    const own = readdirSync(folder).filter(name => name.includes('.log')).map(name => readFileSync(join(folder, name), 'utf8'));
    return [readFileSync(join(this.directory, 'sshd.log'), 'utf8'), ...own].join('\n');
  }

  startSshd(): void {
    const out = createWriteStream(join(this.directory, 'sshd.log'), { flags: 'a' });
    const script = `mount -t tmpfs tmpfs /run && mkdir -p /run/sshd && exec /usr/sbin/sshd -D -e -f ${this.directory}/sshd_config`;
    this.#run('server', ['unshare', '--mount', 'sh', '-c', script], out);
  }

  sshd(): number | undefined {
    return processesIn(this.namespace('server')).find(pid => /sshd.*\[listener\]|^\/usr\/sbin\/sshd/.test(argvOf(pid)?.[0] ?? ''));
  }

  serve(node: Node, port: number, text: string): void {
    this.#run(node, [process.execPath, '-e', SERVICE, String(port), text]);
  }

  /** Drops all packets between the two, without a word to either. */
  async cut(isCut: boolean): Promise<void> {
    await this.run('server', ['iptables', isCut ? '-I' : '-D', 'INPUT', '-i', 'eth0', '-j', 'DROP']);
    await this.run('server', ['iptables', isCut ? '-I' : '-D', 'OUTPUT', '-o', 'eth0', '-j', 'DROP']);
  }

  /** Throws, when all is removed, if somebody else's ssh was ended meanwhile. */
  async down(): Promise<void> {
    await this.stop().catch(() => undefined);
    const isForeignGone = this.#foreign !== undefined && (this.#foreign.exitCode !== null || this.#foreign.signalCode !== null);
    process.removeListener('exit', this.#onExit);
    removeNamespaces(this.#namespaces);
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 3 });
    if (isForeignGone) throw new Error('somebody else\'s ssh was ended');
  }

  get #namespaces(): string[] {
    return [this.namespace('host'), this.namespace('server')];
  }

  #run(node: Node, argv: readonly string[], out?: NodeJS.WritableStream): ChildProcess {
    const [file = '', ...args] = inNamespace(this.namespace(node), argv);
    const child = spawn(file, args, { stdio: ['ignore', 'ignore', out === undefined ? 'ignore' : 'pipe'] });
    if (out !== undefined) child.stderr?.pipe(out);
    child.on('error', () => undefined);
    child.unref();
    return child;
  }

  async #make(): Promise<void> {
    const [host, server] = this.#namespaces as [string, string];
    await run(['ip', '-batch', '-'], { input: `netns add ${host}\nnetns add ${server}\nlink add eth0 index 100 netns ${host} type veth peer name eth0 index 101 netns ${server}\n` });
    for (const [name, address] of [[host, '10.79.0.1'], [server, SERVER]]) {
      await run(['ip', '-n', name as string, '-batch', '-'], { input: `link set lo up\naddr add ${address}/24 dev eth0\nlink set eth0 up\n` });
    }
    for (const name of ['server', 'user', 'other']) runSync(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', join(this.directory, name)]);
    mkdirSync(join(this.directory, 'state'));
    writeFileSync(join(this.directory, 'sshd_config'), [
      'Port 2222', `ListenAddress ${SERVER}`, `HostKey ${this.directory}/server`, `AuthorizedKeysFile ${this.directory}/user.pub`, 'StrictModes no', 'UsePAM no', 'PidFile none', 'UseDNS no',
      'PermitRootLogin yes', 'PasswordAuthentication no', 'KbdInteractiveAuthentication no', 'MaxStartups 100:30:200', 'StreamLocalBindUnlink yes', 'ClientAliveInterval 1', 'ClientAliveCountMax 2', '',
    ].join('\n'));
    this.startSshd();
    this.serve('server', SERVICE_PORT, 'server');
    this.serve('host', SERVICE_PORT, 'host');
    await eventually('sshd', async () => (await this.run('server', ['ss', '-ltn'])).stdout.includes(':2222'), { withinMs: 10_000 });
    await eventually('the services', async () => await this.askFrom('server', SERVICE_PORT) === 'server' && await this.askFrom('host', SERVICE_PORT) === 'host', { withinMs: 10_000 });
    const pinned = ['-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null'];
    this.#foreign = this.#run('host', ['ssh', '-F', '/dev/null', '-N', '-p', '2222', '-i', join(this.directory, 'user'), ...pinned, '-L', '127.0.0.1:9099:127.0.0.1:7000', `root@${SERVER}`]);
    await eventually('somebody else\'s ssh', () => this.sessions().length > 0, { withinMs: 10_000 });
  }
}

const SERVICE = 'const [port, text] = process.argv.slice(1); require("net").createServer(s => { s.on("error", () => {}); s.write(text + "\\n"); s.resume(); }).listen(Number(port), "127.0.0.1");';

function markOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').find(one => one.startsWith('PORTLEASE_TUNNEL='));
  } catch {
    return undefined;
  }
}

/** A tunnel that listens on `local` of the host and leads to the service of the server, and on `reverse` of the server to that of the host. */
export function specOf(tunnel: string, { local, reverse, ...more }: { local?: number; reverse?: number } & Partial<TunnelSpec>): TunnelSpec {
  const to = { host: '127.0.0.1', port: SERVICE_PORT };
  return {
    tunnel, host: HOST, server: 'edge', engine: undefined, probe: undefined, options: {},
    forwards: [
      ...(local === undefined ? [] : [{ direction: 'local' as const, listen: { host: '127.0.0.1', port: local }, to }]),
      ...(reverse === undefined ? [] : [{ direction: 'reverse' as const, listen: { host: '127.0.0.1', port: reverse }, to }]),
    ],
    ...more,
  };
}

export function wish(spec: TunnelSpec, restart = 0, isStopped = false): TunnelWish {
  return { spec, restart, isStopped };
}
