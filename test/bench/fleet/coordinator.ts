/** The built coordinator as its unit starts it, on a database that outlives it. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Api } from '../../support/api.js';
import { ROOT } from '../../support/root.js';
import { eventually } from '../../support/wait.js';
import { UNIT_FLAGS } from '../rpc.js';
import type { Options } from './options.js';
import type { Fleet } from './plan.js';

const PORTS = { first: 20_000, count: 4_000 };

export type CoordinatorOptions = { directory: string; fleet: Fleet; options: Pick<Options, 'timing' | 'profile'> };

export class CoordinatorProcess {
  readonly port = PORTS.first + (process.pid % PORTS.count);
  readonly api: Api;
  readonly #options: CoordinatorOptions;
  readonly #log: string;
  #child: ChildProcess | undefined;

  constructor(options: CoordinatorOptions) {
    const { directory, fleet, options: { timing } } = options;
    this.#options = options;
    this.#log = join(directory, 'coordinator.log');
    this.api = new Api(this.address, 60_000);
    writeFileSync(join(directory, 'coordinator.yaml'), JSON.stringify({
      listen: { grpc: this.address, unix: join(directory, 'api.sock') }, database: { path: join(directory, 'book.db') },
      admit: 'any', timing, gateways: fleet.gateways.map(({ gateway, scope, publicHost, pools }) => ({
        gateway, scope, ...(publicHost === '' ? {} : { publicHost }),
        pools: Object.entries(pools).map(([pool, range]) => ({ pool, ranges: [range], protocol: 'tcp', defaultInternalPort: 22 })),
      })),
    }));
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error('the coordinator does not run');
    return this.#child.pid;
  }

  /** Resolves when it serves. */
  async start(): Promise<void> {
    const { directory, options: { profile } } = this.#options;
    const profiling = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`];
    const argv = ['--pdeathsig', 'KILL', process.execPath, ...UNIT_FLAGS, ...profiling, join(ROOT, 'dist/coordinator/main.js'), '--config', join(directory, 'coordinator.yaml')];
    const log = openSync(this.#log, 'a');
    const child = spawn('setpriv', argv, { stdio: ['ignore', log, log] });
    closeSync(log);
    this.#child = child;
    await eventually('the coordinator to serve', () => {
      if (hasEnded(child)) throw new Error('it ended');
      return this.api.isServing();
    }, { withinMs: 60_000, hint: () => this.tail() });
  }

  /** SIGKILL: it has no chance to say anything. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  async close(): Promise<void> {
    this.api.close();
    await this.#end(this.#options.options.profile === undefined ? 'SIGKILL' : 'SIGTERM');
  }

  tail(lines = 20): string {
    return readFileSync(this.#log, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || hasEnded(child)) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}
