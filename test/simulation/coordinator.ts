/** The coordinator's machine: its database outlives the process, which is the real keeper, book and session handling. */
import type { AgentServiceServer } from '../../shared/gen/portlease/v1/agents.js';
import type { Log } from '../../shared/log.js';
import type { GatewayRecord, Timing } from '../../coordinator/book/types.js';
import type { EventFeed } from '../../coordinator/feed/feed.js';
import type { Timers } from '../../shared/timers.js';
import { Gateways } from '../../coordinator/keeper/gateways.js';
import type { Keeper } from '../../coordinator/keeper/keeper.js';
import { ADMISSION, Admission } from '../../coordinator/rpc/admission.js';
import { agentService, type AgentsOptions } from '../../coordinator/rpc/agents.js';
import { identifyBy } from '../../coordinator/rpc/identity.js';
import { serveSession } from '../../coordinator/rpc/session.js';
import { Database, SimulatedJournal, type OnCommit } from './database.js';
import type { Server } from './network.js';
import type { Chance } from './random.js';
import { Life, MachineClock, timersOf, type Time } from './time.js';

export type CoordinatorOptions = {
  gateway: GatewayRecord;
  timing: Timing;
  time: Time;
  chance: Chance;
  log: Log;
  onCommit: OnCommit;
  onBreach: (rule: string) => void;
};

/** A commit is on the disk within this. */
const COMMIT_MS = 50;

type Process = { life: Life; server: Server | undefined; keeper: Keeper | undefined };

export class CoordinatorMachine {
  readonly database: Database;
  readonly clock: MachineClock;
  isPaused = false;
  #startedMs = 0;
  #pausedAtMs = 0;
  #stall = { endMs: -Infinity, forMs: 0 };
  #process: Process | undefined;

  constructor(private readonly options: CoordinatorOptions) {
    const { time, chance, gateway, onCommit } = options;
    this.database = new Database(gateway, onCommit);
    this.clock = new MachineClock(time, 0.98 + 0.04 * chance.next(), chance.between(0, 1_000_000));
  }

  /** What agents connect to; undefined: refused. */
  get server(): Server | undefined {
    return this.#process?.server;
  }

  get keeper(): Keeper | undefined {
    return this.#process?.keeper;
  }

  /** What watchers follow, with the life that it has. */
  get watched(): { feed: EventFeed; life: Life; clock: MachineClock; timers: Timers } | undefined {
    const { keeper, life } = this.#process ?? {};
    if (keeper === undefined || life === undefined) return undefined;
    return { feed: keeper.events, life, clock: this.clock, timers: timersOf(this.options.time, this.clock, life) };
  }

  /** For how long its process has served, by its clock. */
  get upMs(): number {
    return this.clock.nowMs() - this.#startedMs;
  }

  /** For how long it stood still a moment ago: what is on the disk now may have been decided before that. */
  get stalledMs(): number {
    return this.clock.nowMs() - this.#stall.endMs < COMMIT_MS ? this.#stall.forMs : 0;
  }

  get isRunning(): boolean {
    return this.#process !== undefined;
  }

  start(): void {
    if (this.#process !== undefined) return;
    const process: Process = { life: new Life(() => this.isPaused), server: undefined, keeper: undefined };
    this.#process = process;
    void this.#open(process);
  }

  /** kill -9. */
  kill(): void {
    this.#end();
    this.database.afterKill();
  }

  powerCut(): void {
    this.#end();
    this.database.afterPowerCut(this.options.chance);
  }

  pause(): void {
    this.isPaused = true;
    this.#pausedAtMs = this.clock.nowMs();
    this.clock.sleep();
  }

  resume(keepsTime: boolean): void {
    this.isPaused = false;
    this.clock.wake(keepsTime);
    const endMs = this.clock.nowMs();
    this.#stall = { endMs, forMs: endMs - this.#pausedAtMs };
    if (this.#process !== undefined) this.options.time.thaw(this.#process.life);
  }

  #end(): void {
    if (this.#process !== undefined) this.#process.life.isOver = true;
    this.#process = undefined;
  }

  async #open(process: Process): Promise<void> {
    const { time, chance, timing, log, gateway, onBreach } = this.options;
    const { life } = process;
    const timers = timersOf(time, this.clock, life);
    const journal = new SimulatedJournal(this.database, { time, life, chance, onBreach });
    this.#startedMs = this.clock.nowMs();
    let gateways: Gateways;
    try {
      gateways = await Gateways.open({ journal, timing, clock: this.clock, random: chance.next, log, timers, onHealth: () => undefined });
    } catch {
      // A disk that fails now: the service manager starts it again.
      time.plan(200, life, () => {
        if (this.#process !== process) return;
        this.#process = undefined;
        this.start();
      });
      return;
    }
    if (life.isOver) return;
    process.keeper = gateways.need(gateway.gateway);
    process.server = serverOf(life, { gateways, identify: identifyBy('plaintext'), log, timing, clock: this.clock, timers, admission: new Admission(ADMISSION, chance.next), admitsUnknown: false });
  }
}

function serverOf(life: Life, options: AgentsOptions): Server {
  const { heartbeat } = agentService(options);
  return {
    life,
    session: (stream) => { serveSession(options, stream as unknown as Parameters<typeof serveSession>[1]); },
    heartbeat: (request, answer) => {
      const call = { request } as unknown as Parameters<AgentServiceServer['heartbeat']>[0];
      heartbeat(call, (error, response) => { answer(error as Error | null, response ?? undefined); });
    },
  };
}
