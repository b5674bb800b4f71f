/**
 * A machine in a network namespace: its own /run, its own boot id, its own files. It can be rebooted: processes, rules, sets,
 * connections and what was in /run go, files stay.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LoggedProcess } from './logged-process.js';
import { inNamespace } from './netns.js';
import { allProcesses, argvOf, namespaceOf, signalProcess } from './processes.js';
import { run, type Finished, type RunOptions } from './run.js';
import type { Node } from './layout.js';
import type { Topology } from './topology.js';
import { eventually } from './wait.js';

/** Comes first where programs are looked up. */
const OWN_PROGRAMS = '/usr/local/sbin';
const BOOT_ID = '/proc/sys/kernel/random/boot_id';

export class Machine {
  readonly node: Node;
  /** Its files: what survives a reboot, and logs. */
  readonly directory: string;
  readonly #topology: Topology;
  /** A process that does nothing but keep the mount namespace. */
  readonly #holder: ChildProcess;

  private constructor(node: Node, parts: { topology: Topology; holder: ChildProcess; directory: string }) {
    this.node = node;
    this.#topology = parts.topology;
    this.#holder = parts.holder;
    this.directory = parts.directory;
  }

  static async start(topology: Topology, node: Node, directory: string): Promise<Machine> {
    mkdirSync(directory, { recursive: true });
    const argv = inNamespace(topology.namespace(node), ['unshare', '--mount', '--propagation', 'private', 'sleep', 'infinity']);
    const holder = spawn(argv[0] ?? '', argv.slice(1), { stdio: 'ignore' });
    const machine = new Machine(node, { topology, holder, directory });
    try {
      await eventually(`${node} to have mounts of its own`, () => isReady(holder.pid), { withinMs: 5_000, everyMs: 2 });
      await machine.#boot();
    } catch (error) {
      machine.close();
      throw error;
    }
    return machine;
  }

  get bootId(): string {
    return readFileSync(this.#bootIdFile, 'utf8').trim();
  }

  /** Argument vector that runs `argv` on this machine. */
  argv(argv: readonly string[]): string[] {
    const namespaces = `/proc/${this.#pid}/ns`;
    return ['nsenter', `--net=${namespaces}/net`, `--mount=${namespaces}/mnt`, ...argv];
  }

  run(argv: readonly string[], options: RunOptions = {}): Promise<Finished> {
    return run(this.argv(argv), options);
  }

  /** Starts a process that runs until it is stopped; its log is `NAME.log` among the machine's files. */
  start(name: string, argv: readonly string[], env: Record<string, string> = {}): LoggedProcess {
    return new LoggedProcess(this.argv(argv), { logFile: join(this.directory, `${name}.log`), env });
  }

  /** A path inside the machine, seen from outside: sockets in its /run for example. */
  outside(path: string): string {
    return `/proc/${this.#pid}/root${path}`;
  }

  /** Ids of its processes. */
  processes(): number[] {
    const mounts = namespaceOf(this.#pid, 'mnt');
    return mounts === undefined ? [] : allProcesses().filter((pid) => pid !== this.#pid && namespaceOf(pid, 'mnt') === mounts);
  }

  /**
   * From now on each start of this program waits before it does anything, as on a machine that is very slow, until `release()`.
   * The program on this machine is replaced, not the daemon that calls it. (A stopped one would not outlive its parent: the kernel
   * ends a stopped group that becomes an orphan.)
   */
  async stall(program: string): Promise<void> {
    const wrapper = join(this.directory, `stalling-${program}`);
    const gate = this.#gate(program);
    writeFileSync(wrapper, `#!/bin/sh\nread -r _ <${gate}\nexec /usr/sbin/${program} "$@"\n`, { mode: 0o755 });
    await this.run(['mkfifo', gate]);
    const { code } = await this.run(['mountpoint', '--quiet', OWN_PROGRAMS], { accept: [1, 32] });
    if (code !== 0) await this.run(['mount', '--no-mtab', '-t', 'tmpfs', 'tmpfs', OWN_PROGRAMS]);
    await this.run(['cp', wrapper, join(OWN_PROGRAMS, program)]);
  }

  /** Ids of the stalled ones, once there is at least one. */
  stalled(program: string, withinMs = 10_000): Promise<number[]> {
    return eventually(`${program} to stall on ${this.node}`, () => {
      const pids = this.#stalledNow(program);
      return pids.length > 0 && pids;
    }, { withinMs, everyMs: 5 });
  }

  /** New starts run at once again; what is stalled goes on. Returns how many did. */
  async release(program: string): Promise<number> {
    await this.run(['rm', join(OWN_PROGRAMS, program)]);
    const pids = this.#stalledNow(program);
    // All that wait in open() go on when it is opened for writing, and read the end when it is closed.
    if (pids.length > 0) await this.run(['dd', 'if=/dev/null', `of=${this.#gate(program)}`, 'status=none']);
    await this.run(['rm', this.#gate(program)]);
    return pids.length;
  }

  /** Power off and on again, in an instant. Its files stay. */
  async reboot(): Promise<void> {
    await eventually(`all processes of ${this.node} to end`, () => {
      const left = this.processes();
      for (const pid of left) signalProcess(pid, 'SIGKILL');
      return left.length === 0;
    }, { withinMs: 5_000, everyMs: 5 });
    await this.run(['nft', 'flush', 'ruleset']);
    await this.run(['ipset', 'destroy']);
    await this.run(['conntrack', '-F']);
    await this.run(['sysctl', '-qw', 'net.ipv4.ip_local_reserved_ports=']);
    await this.run(['umount', '--no-mtab', BOOT_ID, '/run']);
    await this.#topology.addForeignRules(this.node);
    await this.#boot();
  }

  /** Ends its processes. The network namespace belongs to the topology. */
  close(): void {
    for (const pid of isReady(this.#holder.pid) ? this.processes() : []) signalProcess(pid, 'SIGKILL');
    this.#holder.kill('SIGKILL');
  }

  async #boot(): Promise<void> {
    writeFileSync(this.#bootIdFile, `${randomUUID()}\n`);
    await this.run(['mount', '--no-mtab', '-t', 'tmpfs', '-o', 'size=16m,mode=755', 'tmpfs', '/run']);
    await this.run(['mount', '--no-mtab', '--bind', this.#bootIdFile, BOOT_ID]);
    mkdirSync(this.outside('/run/portlease'), { mode: 0o700 });
  }

  #stalledNow(program: string): number[] {
    return this.processes().filter((pid) => argvOf(pid)?.[1] === join(OWN_PROGRAMS, program));
  }

  #gate(program: string): string {
    return join(this.directory, `gate-${program}`);
  }

  get #bootIdFile(): string {
    return join(this.directory, 'boot-id');
  }

  get #pid(): number {
    if (this.#holder.pid === undefined) throw new Error(`the machine ${this.node} did not start`);
    return this.#holder.pid;
  }
}

/** unshare has become sleep: from then on the process has mounts of its own, and nothing that is mounted there gets out. */
function isReady(pid: number | undefined): boolean {
  if (pid === undefined) return false;
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'sleep' && namespaceOf(pid, 'mnt') !== namespaceOf(process.pid, 'mnt');
  } catch {
    return false;
  }
}
