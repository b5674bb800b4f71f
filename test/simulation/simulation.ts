/**
 * One run: the real book, keeper, sessions, agents and planner, on simulated time, network, disks and kernels. The same options give the
 * same run. The rules are checked after every step.
 */
import type { PoolSpec } from '../../coordinator/book/types.js';
import { createLogger, type Log } from '../../shared/log.js';
import { act, heal, moodOf, type Mood, type Stage } from './actions.js';
import { Callers, Clients } from './callers.js';
import { CoordinatorMachine } from './coordinator.js';
import { Machine } from './machine.js';
import { Operators } from './operators.js';
import { describe, tellCommit } from './state.js';
import { Chance } from './random.js';
import { settled, Time } from './time.js';
import { Truth, type World } from './truth.js';
import { Watcher } from './watcher.js';

export type SimulationOptions = {
  seed: number;
  steps: number;
  hosts: number;
  scope: 'shared' | 'host';
  /** Numbers of the actions that are taken; all when it is not given. */
  only?: ReadonlySet<number>;
  log?: Log;
  /** The trace tells of commits and accepted states, too. */
  isVerbose?: boolean;
};

export type Outcome = { steps: number; actions: number; breach: string | undefined; trace: readonly string[]; state: readonly string[]; virtualMs: number; outcomes: ReadonlyMap<string, number> };

const TIMING = { heartbeatMs: 1_000, deadlineMs: 300, suspectMs: 2_000, lostMs: 5_000 };
/** How often an operator does what is left to be done before nothing is left. */
const OPERATOR_TRIES = 4;
const QUARANTINE_MS = 2_000;
const PORTS = { first: 30_000, last: 30_023 };
/** Mean time between two actions. */
const PACE_MS = 60;

/** Of so many runs one has watchers of events. */
const WATCHED_ONE_IN = 3;
/** Of so many runs one releases ports without traffic. */
const IDLE_ONE_IN = 5;
const IDLE = { idleLimitMs: 2_000, idleWarningMs: 3_000 };

const SILENT = createLogger({ name: 'simulation', level: 'silent' });

export async function simulate(options: SimulationOptions): Promise<Outcome> {
  const run = new Simulation(options);
  await run.begin();
  while (run.steps < options.steps && run.breach === undefined) await run.step();
  if (run.breach === undefined) await run.wrapUp();
  return run.outcome();
}

class Simulation {
  steps = 0;
  #actions = 0;
  #nextActionMs = 0;
  readonly #time = new Time();
  readonly #trace: string[] = [];
  readonly #truth: Truth;
  readonly #stage: Stage;
  readonly #mood: Mood;
  readonly #watchers: Watcher[];

  constructor(private readonly options: SimulationOptions) {
    const { seed, scope, hosts, log = SILENT } = options;
    const time = this.#time;
    this.#mood = moodOf(Chance.of(seed, 3));
    const names = Array.from({ length: hosts }, (_, at) => `host-${at}`);
    const watchesTraffic = this.#watchesTraffic;
    const lossOneIn = Chance.of(seed, 4).pick([Infinity, 400, 25]);
    const chance = (number: number): Chance => Chance.of(seed, 1, number);
    const coordinator: CoordinatorMachine = new CoordinatorMachine({
      gateway: { gateway: 'gw', ordinal: 1, scope, publicHost: '203.0.113.1', epoch: 0, sequence: 0, restoring: 'no' }, timing: TIMING, time, chance: chance(0), log,
      onCommit: (changes) => {
        this.#truth.committed(changes, { nowMs: coordinator.clock.nowMs(), upMs: coordinator.upMs, stalledMs: coordinator.stalledMs, atMs: time.nowMs });
        this.#tell(() => tellCommit(changes));
      }, onBreach: (rule) => { this.#truth.note(rule); },
    });
    const machineOf = (host: string, number: number): Machine => new Machine({
      host, gateway: 'gw', roles: [host === 'gateway' ? 'gateway' : 'host'], address: `10.1.0.${number}`, time, chance: chance(number), log, lossOneIn, watchesTraffic, server: () => coordinator.server,
      onChange: () => { this.#truth.isDirty = true; }, onRules: (machine, rules) => { this.#truth.ruled(machine, rules); }, onAccepted: (machine, before, after) => {
        this.#truth.accepted(machine, before, after);
        this.#tell(() => `  ${machine.host} accepts ${after.session}/${after.version?.revision}: ${[...after.objects.keys()].join(' ')}`);
      },
    });
    const machines = [...(scope === 'shared' ? ['gateway'] : []), ...names].map((host, at) => machineOf(host, at + 1));
    const world: World = {
      scope, database: coordinator.database, machines, everyMachine: [...machines], connections: new Set(), ports: PORTS, quarantineMs: QUARANTINE_MS,
      lostMs: TIMING.lostMs, idleWarningMs: IDLE.idleWarningMs,
      isOf: (address, owner) => callers.isOf(address, owner),
    };
    this.#truth = new Truth(world);
    const callers = new Callers({ world, truth: this.#truth, coordinator, hosts: names, pool: 'ssh' });
    let clones = 0;
    const clone = (original: Machine): Machine => {
      const number = 100 + clones++;
      const machine = new Machine({ ...original.options, address: `10.1.1.${number}`, chance: chance(number) });
      world.everyMachine.push(machine);
      return machine;
    };
    const operators = new Operators({ callers, hosts: names, pool: 'ssh', ports: PORTS });
    // Their steps are left to the others in most runs.
    const watchers = seed % WATCHED_ONE_IN === 0 ? 2 : 0;
    this.#watchers = Array.from({ length: watchers }, (_, at) => new Watcher({ coordinator, time, chance: Chance.of(seed, 5, at), note: (breach) => { this.#truth.note(breach); } }));
    this.#stage = { world, time, coordinator, machines, clone, callers, operators, clients: new Clients(world, this.#truth, () => time.nowMs), truth: this.#truth, backup: undefined };
  }

  get #watchesTraffic(): boolean {
    return this.options.seed % IDLE_ONE_IN === 2;
  }

  get breach(): string | undefined {
    return this.#truth.breach;
  }

  /** Until the coordinator serves and every host is created. */
  async begin(): Promise<void> {
    const { coordinator, machines, callers } = this.#stage;
    coordinator.start();
    while (coordinator.keeper === undefined) await this.#event();
    callers.ask({ kind: 'createPool', actor: 'operator', pool: { ...poolSpec(), ...(this.#watchesTraffic ? IDLE : {}) }, seed: false });
    for (const { host, options: { roles } } of machines) callers.ask({ kind: 'createHost', actor: 'operator', host, roles, failureDomain: '', publicHost: '' });
    for (const machine of machines) machine.start();
    this.#nextActionMs = this.#time.nowMs + 1_000;
  }

  async step(): Promise<void> {
    if (this.#nextActionMs <= this.#time.nextMs()) await this.#action();
    else await this.#event();
  }

  /** Everything heals, is released and rests: nothing may be left over, and nobody locked out. */
  async wrapUp(): Promise<void> {
    const { callers, coordinator, operators } = this.#stage;
    heal(this.#stage);
    this.#trace.push(`${this.#at()} everything heals`);
    await this.#pass(30_000);
    for (let tries = 0; tries < OPERATOR_TRIES; tries += 1) {
      this.#operate(tries > 1);
      await this.#pass(30_000);
      if (await this.#isServing()) break;
    }
    this.#truth.endRestore();
    this.#truth.isDirty = true;
    operators.reopen();
    callers.releaseAll();
    await this.#pass(20_000);
    if (this.breach !== undefined) return;
    await this.#checkWatchers();
    const { mappings, hosts } = coordinator.database.stored;
    const left = [...mappings.values()].filter(({ state }) => state !== 'released');
    if (left.length > 0) this.#truth.note(`liveness: ${left.length} ports are not free again: ${left.map(({ port, state, host }) => `${port} ${state} on ${host}`).join(', ')}`);
    for (const { host } of hosts.values()) {
      const view = await this.#ask((book) => book.host(host));
      if (view?.state !== 'alive') this.#truth.note(`liveness: ${host} is ${view?.state} although everything works`);
    }
  }

  /** What an operator does until everybody is back: who is unknown is created, and a machine that is refused may take the place of another; what
   *  cannot be read back is given up. */
  #operate(isImpatient: boolean): void {
    const { callers, operators, machines, world: { everyMachine } } = this.#stage;
    for (const { host } of machines) operators.create(host);
    operators.reopen();
    // After a clone the machine that is left may be the one that is refused; one that was switched off remembers nothing.
    const strange = machines.filter((machine) => machine.disk.session === 0 || everyMachine.some((other) => other !== machine && other.host === machine.host));
    for (const { host } of strange) callers.ask({ kind: 'replaceHost', actor: 'operator', host, reason: 'simulated' });
    for (const { host, disk } of strange) if (isImpatient || disk.session === 0) callers.ask({ kind: 'waiveHost', actor: 'operator', host, reason: 'simulated' });
  }

  async #isServing(): Promise<boolean> {
    const { machines, coordinator } = this.#stage;
    if (coordinator.database.stored.gateway.restoring !== 'no') return false;
    for (const { host } of machines) if (await this.#ask((book) => book.host(host)?.state) !== 'alive') return false;
    return true;
  }

  async #checkWatchers(): Promise<void> {
    const committed = this.#stage.coordinator.database.events.length;
    await this.#pass(5_000);
    for (const { seen } of this.#watchers) if (seen < committed) this.#truth.note(`S5: a watcher has seen ${seen} of ${committed} events although everything works`);
  }

  outcome(): Outcome {
    return { steps: this.steps, actions: this.#actions, breach: this.breach, trace: this.#trace, state: describe(this.#stage), virtualMs: this.#time.nowMs, outcomes: new Map([...this.#stage.callers.outcomes, ['released as idle', this.#truth.idleReleases]]) };
  }

  async #ask<T>(look: (book: Parameters<Parameters<NonNullable<Stage['coordinator']['keeper']>['read']>[0]>[0]) => T): Promise<T | undefined> {
    let found: T | undefined;
    let isDone = false;
    this.#stage.coordinator.keeper?.read(look).then((value) => { found = value; isDone = true; }, () => { isDone = true; });
    for (let tries = 0; !isDone && tries < 100; tries += 1) await this.#event();
    return found;
  }

  async #pass(ms: number): Promise<void> {
    const endMs = this.#time.nowMs + ms;
    while (this.#time.nextMs() <= endMs && this.breach === undefined) await this.#event();
  }

  async #event(): Promise<void> {
    this.#time.step();
    await this.#settle();
  }

  async #action(): Promise<void> {
    const number = this.#actions;
    this.#actions += 1;
    this.#time.nowMs = Math.max(this.#time.nowMs, this.#nextActionMs);
    const chance = Chance.of(this.options.seed, 2, number);
    this.#nextActionMs = this.#time.nowMs - PACE_MS * Math.log(1 - chance.next());
    if (this.options.only?.has(number) !== false) {
      const what = act(this.#stage, this.#mood, chance);
      this.#trace.push(`${this.#at()} #${number} ${what}`);
    }
    await this.#settle();
  }

  #tell(what: () => string): void {
    if (this.options.isVerbose === true) this.#trace.push(`${this.#at()} ${what()}`);
  }

  #at(): string {
    return `${(this.#time.nowMs / 1_000).toFixed(3).padStart(9)} s`;
  }

  async #settle(): Promise<void> {
    this.steps += 1;
    await settled();
    this.#truth.check();
  }
}

function poolSpec(): PoolSpec {
  return {
    pool: 'ssh', description: '', serviceType: 'ssh', aliases: [], ranges: [PORTS], protocol: 'tcp', defaultInternalPort: 22, strategy: 'random', reserved: [],
    quarantineMs: QUARANTINE_MS, holdMs: 10_000, idleLimitMs: 0, idleAction: 'report', idleWarningMs: 3_600_000, connectionTimeoutMs: 0, domainTemplate: '', onConflict: 'block', tls: 'none',
  };
}
