/** The whole of a fleet bench: coordinator, agents and a scheduler, each in processes of their own. */
import { mkdirSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { untilCalm } from './calm.js';
import { CoordinatorProcess } from './coordinator.js';
import { AgentGroup, type Heartbeats } from './group.js';
import { cpuSeconds, idleShare, residentMib } from './machine.js';
import type { Options } from './options.js';
import { groupsOf, planFleet, type Fleet } from './plan.js';
import { Scheduler } from './scheduler.js';

const START_WITHIN_MS = 300_000;

export class FleetBench {
  readonly options: Options;
  readonly fleet: Fleet;
  readonly coordinator: CoordinatorProcess;
  readonly scheduler: Scheduler;
  groups: AgentGroup[] = [];
  readonly #directory: string;

  /** Keeps everything in `directory`, which is there and empty. */
  constructor(options: Options, directory: string) {
    this.options = options;
    this.#directory = directory;
    this.fleet = planFleet(options.hosts);
    if (options.profile !== undefined) mkdirSync(options.profile, { recursive: true });
    this.coordinator = new CoordinatorProcess({ directory, fleet: this.fleet, options });
    this.scheduler = new Scheduler(this.coordinator.address, this.fleet.agents.filter(({ role }) => role === 'host').map(({ host }) => host));
  }

  get agents(): number {
    return this.fleet.agents.length;
  }

  /** Every agent has a session, and every host its environments, live. Prints what each step costs the coordinator. */
  async start(): Promise<void> {
    await this.coordinator.start();
    const step = this.#steps();
    const { sharing, environments, hosts } = this.options;
    this.groups = groupsOf(this.fleet.agents).map((agents, at) => AgentGroup.launch({ address: this.coordinator.address, sharing, agents }, { directory: this.#directory, name: `agents-${at + 1}` }));
    await Promise.all(this.groups.map((group) => group.start()));
    await this.untilBack(START_WITHIN_MS);
    step(`${this.agents} agents of ${this.fleet.gateways.length} gateways have a session`);
    await this.scheduler.fill(environments);
    await untilCalm(this.coordinator.api, this.agents, START_WITHIN_MS);
    step(`${hosts * environments} environments have two live ports each`);
  }

  #steps(): (what: string) => void {
    const { pid } = this.coordinator;
    const startMs = performance.now();
    const tell = (what: string): void => {
      process.stdout.write(`${((performance.now() - startMs) / 1_000).toFixed(0).padStart(4)} s  ${what}: ${Math.round(residentMib(pid, 'VmRSS'))} MiB, ${cpuSeconds(pid).toFixed(1)} s of CPU\n`);
    };
    tell('the coordinator serves');
    return tell;
  }

  async mark(): Promise<void> {
    await Promise.all(this.groups.map((group) => group.mark()));
  }

  /** Waits until every agent has a newer session than at the mark; when the last one had it, in milliseconds since 1970. */
  async untilBack(withinMs: number): Promise<{ lastMs: number; streams: number }> {
    const returns = await Promise.all(this.groups.map((group) => group.untilBack(withinMs)));
    return { lastMs: Math.max(...returns.map(({ lastMs }) => lastMs)), streams: returns.reduce((sum, { streams }) => sum + streams, 0) };
  }

  /** Heartbeats of all agents since it was last asked. */
  async heartbeats(): Promise<Heartbeats> {
    const all = await Promise.all(this.groups.map((group) => group.heartbeats()));
    return { ms: all.flatMap(({ ms }) => ms), failures: all.reduce((sum, { failures }) => sum + failures, 0) };
  }

  /** Prints what the next figures are worth: how busy the machine is, and how much of that is others' work. */
  async announce(phase: string): Promise<void> {
    const own = (): number => [process.pid, this.coordinator.pid, ...this.groups.map(({ pid }) => pid)].reduce((sum, pid) => sum + cpuSeconds(pid), 0);
    const [startMs, start] = [performance.now(), own()];
    const { idle, cores } = await idleShare();
    const ownCores = (1_000 * (own() - start)) / (performance.now() - startMs);
    const others = Math.max(0, (1 - idle) * cores - ownCores);
    process.stdout.write(`${phase}: the machine is ${Math.round(100 * idle)} % idle; others use ${Math.round(100 * others)} % of one of its ${cores} cores\n`);
  }

  async settle(): Promise<void> {
    await pause(this.options.settleMs);
  }

  async close(): Promise<void> {
    this.scheduler.close();
    await Promise.all(this.groups.map((group) => group.close()));
    await this.coordinator.close();
  }
}
