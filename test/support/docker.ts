/** A Docker Engine of its own on a machine of a bench, and images that are made there: nothing is downloaded. */
import { readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { imageTar } from './image.js';
import type { LoggedProcess } from './logged-process.js';
import type { Machine } from './machine.js';
import { isRunning, signalProcess } from './processes.js';
import type { RunOptions } from './run.js';
import { eventually } from './wait.js';

export const IMAGE = 'plbench/service:1';

/** Containers of one engine are in cgroups PREFIX-PID-NUMBER: PID is the process that has to end them. */
const OWNED = /^plbench-docker-(\d+)-\d+$/;
const CGROUPS = '/sys/fs/cgroup/pids';

let count = 0;

export class Dockerd {
  readonly #machine: Machine;
  readonly #cgroup: string;
  readonly #flags: readonly string[];
  #process: LoggedProcess | undefined;
  readonly #onExit = () => endCgroup(this.#cgroup);

  private constructor(machine: Machine, flags: readonly string[]) {
    this.#machine = machine;
    this.#flags = flags;
    this.#cgroup = `plbench-docker-${process.pid}-${++count}`;
    process.once('exit', this.#onExit);
  }

  /** Starts it, with the image of the tests in it. */
  static async up(machine: Machine, flags: readonly string[] = []): Promise<Dockerd> {
    for (const name of leftovers()) endCgroup(name);
    const engine = new Dockerd(machine, flags);
    try {
      await engine.start();
      await engine.run(['import', '--change', 'CMD ["/start"]', imageTar(), IMAGE]);
    } catch (error) {
      await engine.close();
      throw error;
    }
    return engine;
  }

  /** The same on the machine of an agent that runs already, and knows of it when this resolves. */
  static async upFor(agent: { machine: Machine; process: LoggedProcess }, flags: readonly string[] = []): Promise<Dockerd> {
    const engine = await Dockerd.up(agent.machine, flags);
    try {
      await agent.process.line(/"msg":"Docker answers again"/);
    } catch (error) {
      await engine.close();
      throw error;
    }
    return engine;
  }

  get process(): LoggedProcess {
    if (this.#process === undefined) throw new Error('dockerd was not started');
    return this.#process;
  }

  /** Starts the daemon, on the files of an earlier one if there was one. */
  async start(): Promise<void> {
    const files = join(this.#machine.directory, 'docker');
    const daemon = this.#machine.start('dockerd', ['dockerd', '--data-root', files, '--exec-root', '/run/docker', '-H', 'unix:///run/docker.sock', '--pidfile', '/run/docker.pid',
      '--config-file', this.#emptyConfig(), '--bip', '172.17.0.1/16', '--cgroup-parent', `/${this.#cgroup}`, '--storage-driver', 'vfs', ...this.#flags]);
    this.#process = daemon;
    await eventually('dockerd to answer', async () => {
      if (!daemon.isRunning) throw new Error(`it ended\n${daemon.tail()}`);
      return (await this.#machine.run(['docker', 'version'], { accept: [1] })).code === 0;
    }, { withinMs: 30_000, everyMs: 50, hint: () => daemon.tail() });
  }

  /** One that the machine may have is not read. */
  #emptyConfig(): string {
    const file = join(this.#machine.directory, 'dockerd.json');
    writeFileSync(file, '{}');
    return file;
  }

  /** The command line of Docker on this machine. */
  async run(argv: readonly string[], options: RunOptions = {}): Promise<string> {
    return (await this.#machine.run(['docker', ...argv], { timeoutMs: 30_000, ...options })).stdout.trim();
  }

  /** Starts a container that answers HTTP with its name on 8888 and ssh on 22; its id. */
  async container(name: string, flags: readonly string[] = [], argv: readonly string[] = []): Promise<string> {
    return this.run(['run', '--detach', '--name', name, '--hostname', name, ...flags, IMAGE, ...argv]);
  }

  async addressOf(name: string, network = 'bridge', family: 4 | 6 = 4): Promise<string> {
    return this.run(['inspect', '--format', `{{(index .NetworkSettings.Networks "${network}").${family === 4 ? 'IPAddress' : 'GlobalIPv6Address'}}}`, name]);
  }

  /** Containers go on without it where it was started with --live-restore, and are ended by the next one else. */
  async kill(): Promise<void> {
    await this.process.stop('SIGKILL');
    await this.#machine.run(['rm', '-f', '/run/docker.pid', '/run/docker/containerd/containerd.pid']);
  }

  async restart(): Promise<void> {
    await this.process.stop('SIGTERM', 20_000);
    await this.start();
  }

  /** Ends its containers and itself; its files go with those of the machine. */
  async close(): Promise<void> {
    process.removeListener('exit', this.#onExit);
    await this.#process?.stop('SIGKILL');
    endCgroup(this.#cgroup);
    const shims = new Set(this.#machine.processes());
    for (const pid of shims) if (/^(?:containerd|dockerd|docker-proxy)/.test(commandOf(pid))) signalProcess(pid, 'SIGKILL');
    const data = join(this.#machine.directory, 'docker');
    await this.#machine.run(['sh', '-c', 'grep -o " $1/[^ ]*" /proc/self/mounts | sort -r | xargs -r umount -l; rm -rf "$1"', 'sh', data], { accept: [0, 1, 123], timeoutMs: 30_000 });
  }
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8');
  } catch {
    return '';
  }
}

/** Cgroups of processes that are gone. */
function leftovers(): string[] {
  return entries(CGROUPS).filter((name) => {
    const pid = OWNED.exec(name)?.[1];
    return pid !== undefined && !isRunning(Number(pid));
  });
}

/** Synchronous: it also works while the process exits. */
function endCgroup(name: string): void {
  for (const controller of entries('/sys/fs/cgroup')) endTree(join('/sys/fs/cgroup', controller, name));
}

function endTree(folder: string): void {
  for (const entry of entries(folder)) if (!entry.includes('.')) endTree(join(folder, entry));
  try {
    for (const pid of readFileSync(join(folder, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean)) signalProcess(Number(pid), 'SIGKILL');
    rmdirSync(folder);
  } catch {
    // Gone, or its processes are on their way out: the next run finds it empty.
  }
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
