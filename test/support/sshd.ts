/** A real sshd on a machine of a bench, with a host key and a user's key of its own. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LoggedProcess } from './logged-process.js';
import type { Machine } from './machine.js';
import { runSync } from './run.js';
import { eventually } from './wait.js';

export type SshdOptions = {
  /** Where it listens. */
  address: string;
  port?: number;
  /** Lines of its config, besides what every test needs; they come first, so they count. */
  config?: readonly string[];
};

export class Sshd {
  readonly address: string;
  readonly port: number;
  readonly folder: string;
  readonly #machine: Machine;
  readonly #config: readonly string[];
  #process: LoggedProcess | undefined;

  private constructor(machine: Machine, { address, port = 2_222, config = [] }: SshdOptions) {
    this.#machine = machine;
    this.address = address;
    this.port = port;
    this.#config = config;
    this.folder = join(machine.directory, 'sshd');
  }

  static async up(machine: Machine, options: SshdOptions): Promise<Sshd> {
    const sshd = new Sshd(machine, options);
    mkdirSync(sshd.folder, { recursive: true });
    for (const name of ['host', 'user']) runSync(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', join(sshd.folder, name)]);
    await sshd.start();
    return sshd;
  }

  /** Path of the user's private key: root's of the machine with the sshd. */
  get key(): string {
    return join(this.folder, 'user');
  }

  publicKey(name: 'host' | 'user'): string {
    return readFileSync(join(this.folder, `${name}.pub`), 'utf8').split(' ').slice(0, 2).join(' ').trim();
  }

  /** As an entry of tunnels.servers in the config of an agent. */
  server(): Record<string, unknown> {
    return { address: this.address, port: this.port, user: 'root', keyFile: this.key, hostKeys: [this.publicKey('host')] };
  }

  get process(): LoggedProcess {
    if (this.#process === undefined) throw new Error('sshd was not started');
    return this.#process;
  }

  async start(): Promise<void> {
    const file = join(this.folder, 'sshd_config');
    writeFileSync(file, [...this.#config, `ListenAddress ${this.address}:${this.port}`, `HostKey ${join(this.folder, 'host')}`, `AuthorizedKeysFile ${join(this.folder, 'user.pub')}`, 'StrictModes no', 'UsePAM no',
      'PidFile none', 'UseDNS no', 'PermitRootLogin yes', 'PasswordAuthentication no', 'KbdInteractiveAuthentication no', 'MaxStartups 100:30:200', 'ClientAliveInterval 5', 'ClientAliveCountMax 2', ''].join('\n'));
    await this.#machine.run(['mkdir', '-p', '/run/sshd']);
    this.#process = this.#machine.start('sshd', ['/usr/sbin/sshd', '-D', '-e', '-f', file]);
    await eventually('sshd to listen', async () => (await this.#machine.run(['ss', '-ltn'])).stdout.includes(`:${this.port}`), { withinMs: 10_000, hint: () => this.process.tail() });
  }
}
