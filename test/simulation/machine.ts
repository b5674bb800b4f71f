/** A machine with an agent: its kernel, disk, clock and path to the coordinator outlive the agent's process. */
import { ReconcileLoop, type RoundOutcome } from '../../agent/reconcile/loop.js';
import { SessionLink } from '../../agent/session/link.js';
import { applyDelta, applyWelcome, NO_STATE, type AcceptedState } from '../../agent/state/accepted.js';
import type { AcceptResult, StateStore } from '../../agent/state/store.js';
import type { PersistentMap } from '../../agent/persistent/map.js';
import type { Delta, PortObject, Role } from '../../shared/desired.js';
import type { Log } from '../../shared/log.js';
import { parseCidr } from '../../shared/names.js';
import type { Timers } from '../../shared/timers.js';
import { Idleness, type Quietness } from './idleness.js';
import { Kernel, KernelDrivers, USUAL, type Manners } from './kernel.js';
import { SimulatedTransport, type Path, type Server } from './network.js';
import type { Chance } from './random.js';
import { Life, MachineClock, timersOf, type Time } from './time.js';

export type MachineOptions = {
  host: string;
  gateway: string;
  roles: Role[];
  address: string;
  time: Time;
  chance: Chance;
  log: Log;
  /** See Route. */
  lossOneIn: number;
  /** Agents look for mappings without traffic. */
  watchesTraffic: boolean;
  server: () => Server | undefined;
  /** Something that rules or connections depend on has changed. */
  onChange: () => void;
  /** An agent wants these rules, by id of mapping or lease, a while after `before` was accepted and when `now` was. */
  onRules: (machine: Machine, rules: { served: readonly string[]; before: AcceptedState; now: AcceptedState }) => void;
  onAccepted: (machine: Machine, before: AcceptedState, after: AcceptedState) => void;
};

const TARGETS = [parseCidr('10.0.0.0/8')].filter((cidr) => cidr !== undefined);
const ROUND_MS = 1_000;
const SETTINGS = { reconnect: { baseMs: 100, maxMs: 1_000 }, refusedRetryMs: 2_000, connectMs: 800, repeatReportMs: 5_000 };

type Process = { life: Life; transport: SimulatedTransport };

let boots = 0;

export class Machine {
  readonly kernel: Kernel;
  readonly clock: MachineClock;
  readonly path: Path = { up: true, down: true, slowMs: 0 };
  readonly manners: Manners = { ...USUAL };
  /** Ports that processes of others listen on, and those that any did: one that is there before the guard is left alone. */
  readonly foreign = new Set<number>();
  readonly hadForeign = new Set<number>();
  address: string;
  /** Durable. */
  disk: AcceptedState = NO_STATE;
  diskIsFull = false;
  /** Durable, too. */
  #quietness: Quietness | undefined;
  isPaused = false;
  /** Switched off for ever: whoever was to start it does so in vain. */
  isGone = false;
  #life: Life;
  #process: Process | undefined;
  #bootId: string;
  /** What was accepted when rules were last asked for. */
  #served: AcceptedState = NO_STATE;

  constructor(readonly options: MachineOptions) {
    const { time, chance, onChange } = options;
    this.address = options.address;
    this.kernel = new Kernel(onChange);
    this.clock = new MachineClock(time, 0.98 + 0.04 * chance.next(), chance.between(0, 1_000_000));
    this.#life = new Life(() => this.isPaused);
    this.#bootId = `boot-${boots++}`;
  }

  get host(): string {
    return this.options.host;
  }

  get isRunning(): boolean {
    return this.#process !== undefined;
  }

  /** Starts the agent, as soon as no child of an earlier one holds the lock. */
  start(): void {
    const { time, host, gateway, roles, log, chance } = this.options;
    if (this.isGone || this.#process !== undefined) return;
    if (this.kernel.children > 0) return void time.plan(50, this.#life, () => { this.start(); });
    const life = new Life(() => this.isPaused);
    const timers = timersOf(time, this.clock, life);
    const transport = new SimulatedTransport({ time, chance, path: this.path, server: this.options.server, lossOneIn: this.options.lossOneIn }, life);
    this.#process = { life, transport };
    const { rules, connections, reservedPorts } = new KernelDrivers(this.kernel, { time, machine: this.#life, agent: life, chance, manners: this.manners, onApply: (spec) => {
      this.options.onRules(this, { served: Array.from(spec.forwards, ({ id }) => id), before: this.#served, now: store.current() });
      this.#served = store.current();
    } });
    const store = new SimulatedStore(this, life);
    const loop = new ReconcileLoop({
      drivers: { rules, connections, reservedPorts, listeners: () => Promise.resolve(Array.from(this.foreign, (port) => ({ transport: 'tcp' as const, address: '0.0.0.0', port }))), reaches: () => Promise.resolve(true) },
      facts: { addresses: [this.address], roles, targetNetworks: TARGETS, snat: false }, intervalMs: ROUND_MS, dropMs: 60_000,
      clock: this.clock, log, random: chance.next, after: timers.after, nextTurn: () => new Promise((resolve) => { timers.soon(resolve); }), onOutcome: (outcome) => { report(outcome); },
    });
    let last: RoundOutcome | undefined;
    const idleness = this.options.watchesTraffic ? this.#watchTraffic(timers, { objects: () => store.current().objects, onChange: () => { if (last !== undefined) report(last); } }) : undefined;
    const report = (outcome: RoundOutcome): void => {
      last = outcome;
      link.roundOutcome({ ...outcome, ...(idleness === undefined ? {} : { idle: idleness.idle }) });
    };
    const serve = (): void => {
      const { version, objects } = store.current();
      if (version !== undefined) loop.setDesired(version, objects as PersistentMap<PortObject>);
    };
    const link: SessionLink = new SessionLink({
      identity: { host, gateway, bootId: this.#bootId, agentVersion: '1', roles, addresses: [this.address] },
      transport, store, settings: SETTINGS, clock: this.clock, random: chance.next, log, timers, onAccepted: serve,
    });
    serve();
    link.start();
  }

  #watchTraffic(timers: Timers, { objects, onChange }: { objects: () => AcceptedState['objects']; onChange: () => void }): Idleness {
    return new Idleness({
      kernel: this.kernel, bootId: this.#bootId, timers, nowMs: () => this.clock.nowMs(), objects, onChange,
      known: this.#quietness, keep: (known) => { this.#quietness = known; },
    });
  }

  /** kill -9. */
  kill(): void {
    if (this.#process === undefined) return;
    this.#process.life.isOver = true;
    this.#process.transport.die();
    this.#process = undefined;
  }

  /** Off and on again: rules, connections and children are gone, the disk is not. */
  reboot(): void {
    this.kill();
    this.#life.isOver = true;
    this.#life = new Life(() => this.isPaused);
    this.#bootId = `boot-${boots++}`;
    this.kernel.children = 0;
    this.kernel.boot();
  }

  pause(): void {
    this.isPaused = true;
    this.clock.sleep();
  }

  /** `keepsTime`: its clock went on meanwhile. */
  resume(keepsTime: boolean): void {
    this.isPaused = false;
    this.clock.wake(keepsTime);
    this.options.time.thaw(this.#life);
    if (this.#process !== undefined) this.options.time.thaw(this.#process.life);
  }

  /** Flow of events of the agent's process alone. */
  get life(): Life | undefined {
    return this.#process?.life;
  }
}

/** What the state file gives: accepted when it is synced, all or nothing. */
class SimulatedStore implements Pick<StateStore, 'current' | 'welcome' | 'accept'> {
  #state: AcceptedState;
  #last: Promise<unknown> = Promise.resolve();

  constructor(private readonly machine: Machine, private readonly life: Life) {
    this.#state = machine.disk;
  }

  current(): AcceptedState {
    return this.#state;
  }

  welcome(session: number, epoch: number): Promise<'accepted' | 'older'> {
    return this.#inTurn(async () => {
      const result = applyWelcome(this.#state, session, epoch);
      if (result.kind === 'accepted') await this.#write(result.state);
      return result.kind;
    });
  }

  accept(deltas: readonly Delta[]): Promise<AcceptResult> {
    return this.#inTurn(async () => {
      let state = this.#state;
      for (const delta of deltas) {
        const result = applyDelta(state, delta);
        if (result.kind !== 'accepted') {
          if (state !== this.#state) await this.#write(state);
          return { kind: result.kind, state };
        }
        state = result.state;
      }
      if (state !== this.#state) await this.#write(state);
      return { kind: 'accepted', state };
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.catch(() => undefined).then(work);
    this.#last = result;
    return result;
  }

  /** On the disk at one instant of the write; known to be there later. A process that is killed in between may have written it. */
  #write(next: AcceptedState): Promise<void> {
    const { time, chance, onAccepted } = this.machine.options;
    return new Promise((resolve, reject) => {
      if (this.machine.diskIsFull) return void time.plan(1, this.life, () => { reject(new Error('no space left on the disk')); });
      time.plan(chance.between(0, 3), this.life, () => {
        const before = this.machine.disk;
        this.machine.disk = next;
        time.plan(chance.between(0, 3), this.life, () => {
          onAccepted(this.machine, before, next);
          this.#state = next;
          resolve();
        });
      });
    });
  }
}
