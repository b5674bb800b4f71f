/**
 * Brings the kernel to the desired state, for as long as the agent lives. Promises:
 * - one round at a time; changes that come during a round share the next one;
 * - a change starts a round at once; every interval, and first of all, a full round compares with what the kernel holds;
 * - a change does not wait until a full round has looked: it overtakes, and the full round looks again, for what it saw is outdated. After
 *   MAX_OVERTAKEN looks in vain the full round lets none overtake, so that a stream of changes cannot keep it from repairing;
 * - the outcome goes out right after the rules of a round; connections end afterwards, and are confirmed by another outcome;
 * - a state in which a port is gone without a release counts as applied only once the connections of that port have ended (S12);
 * - a round that fails leaves `applied` where it was, is logged once and tried again; the next one looks at everything.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { nextDelayMs } from '../../shared/backoff.js';
import type { Clock } from '../../shared/clock.js';
import type { AgentReport, ObjectProblem, StateVersion } from '../../shared/desired.js';
import type { Log } from '../../shared/log.js';
import type { Transport } from '../../shared/ports.js';
import { systemTimers, type After } from '../../shared/timers.js';
import type { ConnectionsDriver, Endpoint } from '../drivers/connections/connections.js';
import { Cutter, type CutJob } from './cutter.js';
import { cutJobs } from './jobs.js';
import type { End, HostFacts, Objects, Plan } from './plan.js';
import { Rounds, type RoundDrivers, type Seen } from './rounds.js';
import { reachesByTcp, Verifier, type Reaches } from './verifier.js';

export type RoundOutcome = Omit<AgentReport, 'session' | 'idle'>;

export type ReconcileDrivers = RoundDrivers & { connections: Pick<ConnectionsDriver, 'cut'>; reaches?: Reaches };

export type ReconcileOptions = {
  drivers: ReconcileDrivers;
  facts: HostFacts;
  /** Between full rounds. */
  intervalMs?: number;
  /** How long new packets of a former target are dropped where no release, route or withdrawal says it. */
  dropMs?: number;
  clock: Clock;
  log: Log;
  onOutcome(outcome: RoundOutcome): void;
  after?: After;
  /** Lets what is at hand go first. */
  nextTurn?: () => Promise<void>;
  random?: () => number;
};

const INTERVAL_MS = 2_000;
const DROP_MS = 60_000;
/** Looks in a row that changes may make outdated. */
const MAX_OVERTAKEN = 3;
const RETRY_BASE_MS = 100;
const RETRY_MAX_MS = 5_000;

type Desired = { version: StateVersion; objects: Objects };

export class ReconcileLoop {
  private readonly options: Required<ReconcileOptions>;
  private readonly rounds: Rounds;
  private readonly cutter: Cutter;
  private readonly verifier: Verifier;
  private desired: Desired | undefined;
  private applied: { version: StateVersion; plan: Plan; unserved: ObjectProblem[] } | undefined;
  /** Newest state of which nothing that is gone is still connected. */
  private settled: StateVersion | undefined;
  /** Losses of the last round that the cutter has not been given yet. */
  private hasNewLosses = false;
  private readonly wants = { change: false, full: false };
  /** Tells who waits that a change is wanted. */
  private onChange: (() => void) | undefined;
  private running: Promise<void> | undefined;
  private cancelTimer: (() => void) | undefined;
  private fullDueMs: number;
  private failures = 0;
  private lastProblem: string | undefined;
  private readonly confirmed = new Map<string, number>();
  private driftRepairs = 0;
  private lastOutcome: RoundOutcome | undefined;
  private isClosed = false;
  private lastEndMs: number;
  private fullTookMs = 0;

  constructor(options: ReconcileOptions) {
    this.options = { intervalMs: INTERVAL_MS, dropMs: DROP_MS, after: systemTimers.after, random: Math.random, nextTurn: () => nextTurn(), ...options };
    const { drivers, facts, log, after, random, clock } = this.options;
    this.rounds = new Rounds({ drivers, facts, log });
    this.cutter = new Cutter({
      connections: drivers.connections, log, after, random,
      standing: {
        endpoints: (transport, port) => (drivers.routes?.isClosed(transport, port) === true ? [] : this.endpoints(transport, port)),
        isTarget: address => this.rounds.standing.isTarget(address),
      },
      onEnded: ends => this.confirm(ends),
      onProblems: () => this.report(),
    });
    this.verifier = new Verifier({ reaches: drivers.reaches ?? reachesByTcp, after, random, onVerified: () => this.report() });
    drivers.routes?.notify(() => this.want('change'));
    this.fullDueMs = this.lastEndMs = clock.nowMs();
    this.want('full');
  }

  /** When the last round ended, well or not: it stands still when the loop is stuck in a driver. */
  get lastRoundAtMs(): number {
    return this.lastEndMs;
  }

  /** How long the last full round took, without what was outdated. */
  get lastFullRoundMs(): number {
    return this.fullTookMs;
  }

  /** Where public ports lead, as far as rules may stand. */
  endpoints(transport: Transport, port: number): readonly Endpoint[] {
    return this.rounds.standing.endpoints(transport, port);
  }

  /** `objects` must not be changed afterwards. */
  setDesired(version: StateVersion, objects: Objects): void {
    this.desired = { version, objects };
    this.want('change');
  }

  /** Starts a full round at once: somebody may have changed the kernel's tables. */
  poke(): void {
    this.want('full');
  }

  /** Waits for what runs. The rules stay. */
  async close(): Promise<void> {
    this.isClosed = true;
    this.cancelTimer?.();
    this.verifier.close();
    await this.running;
    await this.cutter.close();
  }

  private want(what: 'change' | 'full'): void {
    if (this.isClosed) return;
    this.wants[what] = true;
    if (what === 'change') this.onChange?.();
    this.running ??= this.run();
  }

  private async run(): Promise<void> {
    this.cancelTimer?.();
    // What is said in the same turn shares the round.
    await Promise.resolve();
    while ((this.wants.change || this.wants.full) && !this.isClosed) await this.turn();
    this.running = undefined;
    if (!this.isClosed) this.rest();
  }

  private async turn(): Promise<void> {
    const { clock, intervalMs } = this.options;
    const isFull = this.wants.full || this.rounds.needsFull || clock.nowMs() >= this.fullDueMs;
    if (isFull) {
      this.wants.full = false;
      this.fullDueMs = clock.nowMs() + intervalMs;
    }
    if (this.desired === undefined) this.wants.change = false;
    else if (isFull) await this.fullRound();
    else await this.attempt(undefined);
    this.lastEndMs = clock.nowMs();
  }

  private async fullRound(): Promise<void> {
    const { clock } = this.options;
    for (let overtaken = 0; ; overtaken++) {
      const startMs = clock.nowMs();
      const seen = await this.look(overtaken < MAX_OVERTAKEN && !this.rounds.needsFull);
      if (seen === undefined || this.isClosed) return;
      if (!this.rounds.isCurrent(seen)) continue;
      await this.attempt(seen);
      this.fullTookMs = clock.nowMs() - startMs;
      return;
    }
  }

  /** Undefined when it failed: the retry is a full round, which brings about the change that is wanted meanwhile. */
  private async look(mayBeOvertaken: boolean): Promise<Seen | undefined> {
    const looking = this.rounds.look();
    if (mayBeOvertaken) await this.letOvertake(looking.then(() => undefined, () => undefined));
    return looking.catch((error: unknown) => {
      this.wants.change = false;
      this.failed(error);
      return undefined;
    });
  }

  /** Until `ended`, and until the change that is made then is made. */
  private async letOvertake(ended: Promise<void>): Promise<void> {
    const look = { isUnderWay: true };
    void ended.then(() => {
      look.isUnderWay = false;
      this.onChange?.();
    });
    while (look.isUnderWay && !this.isClosed && !this.rounds.needsFull) {
      if (this.wants.change) await this.attempt(undefined);
      else await new Promise<void>(resolve => { this.onChange = resolve; });
    }
    this.onChange = undefined;
  }

  private rest(): void {
    const { after, random, clock } = this.options;
    const delayMs = this.failures === 0 ? Math.max(0, this.fullDueMs - clock.nowMs())
      : nextDelayMs({ attempt: this.failures - 1, baseMs: RETRY_BASE_MS, maxMs: RETRY_MAX_MS, random });
    this.cancelTimer = after(delayMs, () => this.want('full'));
  }

  private async attempt(seen: Seen | undefined): Promise<void> {
    this.wants.change = false;
    if (this.desired === undefined) return;
    const { version, objects } = this.desired;
    try {
      const round = await this.rounds.run(objects, seen, !this.hasNewLosses && !this.cutter.hasLosses());
      const { plan } = round;
      const { routes } = this.options.drivers;
      const unserved = [...round.unserved, ...routes?.problems() ?? []];
      this.driftRepairs += round.repaired;
      this.applied = { version, plan, unserved };
      this.forget(plan);
      this.succeeded();
      this.verifier.set(plan.verify);
      const pending = this.cutter.pending();
      const isKnown = ({ confirmation: { key, generation } }: End): boolean => this.confirmed.get(key) === generation || pending.get(key) === generation;
      const jobs = [...cutJobs({ ...round, dropMs: this.options.dropMs, isKnown }), ...routes?.cuts().map((cut): CutJob => ({ cuts: [cut], end: undefined })) ?? []];
      this.hasNewLosses = jobs.some(({ isLoss }) => isLoss === true);
      this.settle();
      this.report();
      // The report leaves before a child is started: that stops this process for milliseconds.
      await this.options.nextTurn();
      this.cutter.add(jobs);
      this.hasNewLosses = false;
    } catch (error) {
      this.failed(error);
    }
    this.lastEndMs = this.options.clock.nowMs();
  }

  private forget({ ends }: Plan): void {
    for (const key of this.confirmed.keys()) if (!ends.has(key)) this.confirmed.delete(key);
  }

  private confirm(ends: readonly End[]): void {
    for (const { confirmation: { key, generation } } of ends) this.confirmed.set(key, generation);
    this.settle();
    this.report();
  }

  private settle(): void {
    if (this.hasNewLosses || this.cutter.hasLosses() || this.applied === undefined || this.options.drivers.routes?.isSettled() === false) return;
    this.settled = this.applied.version;
    void this.rounds.admit(this.applied.plan);
  }

  private succeeded(): void {
    if (this.failures > 0) this.options.log.info({ attempts: this.failures }, 'the kernel holds the desired state again');
    this.failures = 0;
    this.lastProblem = undefined;
  }

  private failed(error: unknown): void {
    this.failures++;
    const problem = error instanceof Error ? error.message : String(error);
    if (problem !== this.lastProblem) this.options.log.error({ problem }, 'the kernel could not be brought to the desired state; trying again');
    this.lastProblem = problem;
  }

  /** Says what is known, unless that was said already. Parts that have not changed are the same objects: they cost nothing. */
  private report(): void {
    if (this.applied === undefined || this.settled === undefined || this.isClosed) return;
    const { problems, inConflict, occupied, conflicts, ends } = this.applied.plan;
    const later = [...this.applied.unserved, ...inConflict, ...this.cutter.problems()];
    const outcome: RoundOutcome = {
      applied: this.settled, problems: later.length === 0 ? problems : [...problems, ...later],
      confirmations: [...this.confirmed].flatMap(([key, generation]) => {
        const confirmation = ends.get(key)?.confirmation;
        return confirmation?.generation === generation ? confirmation : [];
      }),
      verified: this.verifier.verified(), driftRepairs: this.driftRepairs, occupied, conflicts, ...(this.options.drivers.routes === undefined ? {} : { routes: this.options.drivers.routes.figures() }),
    };
    if (isDeepStrictEqual(outcome, this.lastOutcome)) return;
    this.lastOutcome = outcome;
    this.options.onOutcome(outcome);
  }
}
