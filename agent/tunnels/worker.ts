/** One tunnel, for as long as it is known: carries out what its state machine wants, and tells it what became of it. */
import { isDeepStrictEqual } from 'node:util';
import type { FileHandle } from 'node:fs/promises';
import type { Clock } from '../../shared/clock.js';
import type { Log } from '../../shared/log.js';
import type { Timers } from '../../shared/timers.js';
import type { TunnelEngine, TunnelForward, TunnelReport, TunnelSpec } from '../../shared/tunnel.js';
import type { TunnelProcess } from '../leaks/findings.js';
import { digestOf, isSameSpec, type Command } from './argv.js';
import { differsInForwards, LiveForwards, startedWith } from './live.js';
import type { Launch } from './launch.js';
import type { TunnelLog } from './logs.js';
import { adopt, begin, nextWakeMs, step } from './machine.js';
import { isFlapping } from './phases.js';
import { holderOf, localEnds, type FindHolders } from './ports.js';
import { probe, probeTarget } from './probe.js';
import { isAlive, processesOfTunnels, signalAll } from './processes.js';
import { plainLine } from './reasons.js';
import type { TunnelRecord } from './records.js';
import { stateOf } from './shown.js';
import { Watcher } from './watcher.js';
import type { Effect, Event, HeldForward, HeldSpec, Leader, Settings, TunnelMachine, Wanted, Why } from './words.js';

/** What there is to be. `spec` may be replaced; name, id and files stay. `isLive`: other forwards are added to the connection that stands. */
export type Wish = { readonly spec: HeldSpec; readonly restart: number; readonly wanted: Wanted; readonly isFromConfig: boolean; readonly isLive?: boolean };

export type Prepared = { readonly kind: 'refused'; readonly why: Why } | { readonly kind: 'command'; readonly command: Command; readonly engine: TunnelEngine };

export type WorkerOptions = {
  readonly id: string;
  readonly settings: Settings;
  readonly tunnelLog: TunnelLog;
  readonly controlPath: string;
  /** What is to be started for a spec, or why the host does not allow it. */
  readonly prepare: (wish: Wish) => Promise<Prepared>;
  readonly launch: Launch;
  readonly find: FindHolders;
  /** Removes what is in the way of a new control socket. */
  readonly makeRoom: () => Promise<void>;
  readonly record: (record: TunnelRecord) => Promise<void>;
  readonly forget: () => void;
  /** State, reason or process have changed. */
  readonly onChange: () => void;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: () => number;
  readonly log: Log;
};

/** `leader`: undefined before it is started. */
type Made = { readonly leader: Leader | undefined; readonly digest: string; readonly restart: number };

/** A disk that is slower than this does not hold a start up. */
const RECORD_MS = 500;

export class Worker {
  readonly #options: WorkerOptions;
  #wish: Wish;
  #state: TunnelMachine;
  /** The newest connection. */
  #made: Made | undefined;
  /** A look waits for it: what is being started cannot be seen yet. Never rejects. */
  #starting: Promise<void> = Promise.resolve();
  /** Started by this process, so it is the tunnel's even before it has become ssh. */
  #startedHere: Leader | undefined;
  /** Where the lines of the newest attempt begin in the log. */
  #since = 0;
  #watcher: Watcher | undefined;
  /** Of the newest connection. */
  readonly #forwards: LiveForwards;
  #seen: readonly TunnelProcess[] = [];
  #tail: readonly string[] = [];
  #cancelTimer: () => void = () => undefined;
  readonly #running = new Set<Promise<unknown>>();
  readonly #events: Event[] = [];
  #isStepping = false;
  #isClosed = false;

  /** Does nothing before start() or adopt(). */
  constructor(options: WorkerOptions, wish: Wish, from: { startAtMs: number; record: TunnelRecord | undefined }) {
    this.#options = options;
    this.#wish = wish;
    const { id, timers, log, onChange } = options;
    this.#forwards = new LiveForwards({
      id, timers, log, onChange, link: () => (this.#state.phase.kind === 'up' ? this.#watcher?.link : undefined), wanted: () => this.#wish.spec.forwards, connectAnew: () => this.#connectAnew(),
    });
    const { record } = from;
    this.#made = record && { leader: record.leader, digest: record.digest, restart: record.restart };
    this.#state = begin({
      settings: options.settings, wanted: wish.wanted, restart: wish.restart, probeIntervalMs: wish.spec.probe?.intervalMs, startAtMs: from.startAtMs,
      statistics: record?.statistics ?? { attempts: 0, connections: 0, failures: 0, restarts: 0, probes: 0, probesFailed: 0, probeTimeMs: undefined, restartTimeMs: undefined },
    }, options.clock.nowMs());
  }

  get isGone(): boolean {
    return this.#state.phase.kind === 'gone';
  }

  start(): void {
    this.#dispatch({ kind: 'tick' });
    if (this.#state.phase.kind === 'waiting') this.#options.onChange();
  }

  /** Takes over a connection that an earlier agent made. */
  adopt(leader: Leader): void {
    const { state, effects } = adopt(this.#state, leader, this.#options.clock.nowMs());
    this.#state = state;
    for (const effect of effects) this.#carryOut(effect);
    this.#setTimer();
  }

  want(wish: Wish): void {
    const isNew = !isSameSpec(wish.spec, this.#wish.spec) || wish.isFromConfig !== this.#wish.isFromConfig;
    const mayStay = isNew && wish.isLive === true && differsInForwards(wish, this.#wish);
    this.#wish = wish;
    // What is on its way to be connected gets the rest when it is up.
    if (mayStay) return this.#catchUp();
    this.#dispatch({ kind: 'want', wanted: wish.wanted, restart: wish.restart, isNew, probeIntervalMs: wish.spec.probe?.intervalMs });
  }

  report(): TunnelReport {
    const { statistics, phase, why, restart, phaseSinceMs, probedAtMs } = this.#state;
    const nowMs = this.#options.clock.nowMs();
    const pid = phase.kind === 'up' || phase.kind === 'proving' ? phase.sshPid : phase.kind === 'connecting' ? phase.leader.pid : 0;
    return {
      spec: toldOf(this.#wish.spec), isFromConfig: this.#wish.isFromConfig, state: stateOf(phase), sinceMs: nowMs - phaseSinceMs,
      statistics: { ...statistics, probeAgeMs: probedAtMs === undefined ? undefined : nowMs - probedAtMs },
      reason: why?.reason ?? '', message: plainLine(why?.message ?? ''), isFlapping: isFlapping(this.#state, nowMs), pid, logTail: this.#tail, restart,
    };
  }

  /** Why the server does not take a forward of it; '' when it takes all. */
  get refusal(): string {
    return this.#forwards.refusal;
  }

  /** Forwards that lead through at the moment. */
  standing(): readonly HeldForward[] {
    return this.#state.phase.kind === 'up' ? this.#forwards.standing : [];
  }

  /** Adds a forward to the connection as it is now; a later one has it only when the spec does. Rejects when it is not up, or refused. */
  async addForward(forward: HeldForward): Promise<void> {
    await this.#link().addForward(forward);
  }

  async cancelForward(forward: HeldForward): Promise<void> {
    await this.#link().cancelForward(forward);
  }

  /** Cuts the log off when it has grown too large (not while a connection is made: what ssh says then is waited for), and reads its last lines. Not to be called again before it has resolved. */
  async keepLog(): Promise<void> {
    try {
      if (stateOf(this.#state.phase) !== 'connecting') await this.#options.tunnelLog.rotate();
      this.#tail = await this.#options.tunnelLog.tail();
    } catch (error) {
      this.#options.log.warn({ tunnel: this.#options.id, problem: (error as Error).message }, 'the log of a tunnel could not be kept');
    }
  }

  /** Watches it no more. The connection stays. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelTimer();
    this.#forwards.close();
    await this.#watcher?.close();
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
  }

  /** Another ssh may be up than the last time, also under the same autossh; what an adopted one has already is added once more without harm. */
  #beginForwards(): void {
    this.#forwards.begin(startedWith(this.#wish).forwards);
    this.#catchUp();
  }

  #catchUp(): void {
    if (this.#wish.isLive === true && this.#state.phase.kind === 'up') this.#run(this.#forwards.catchUp());
  }

  /** What the server lets it do is fixed when it connects. */
  #connectAnew(): void {
    const { restart, wanted, spec } = this.#wish;
    this.#dispatch({ kind: 'want', wanted, restart, isNew: true, probeIntervalMs: spec.probe?.intervalMs });
  }

  #link() {
    const link = this.#watcher?.link;
    if (link === undefined) throw new Error(`tunnel ${this.#wish.spec.tunnel} is not up`);
    return link;
  }

  #dispatch(event: Event): void {
    if (this.#isClosed) return;
    this.#events.push(event);
    if (this.#isStepping) return;
    this.#isStepping = true;
    const before = this.report();
    try {
      for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
        const { state, effects } = step(this.#state, next, { nowMs: this.#options.clock.nowMs(), random: this.#options.random });
        this.#state = state;
        for (const effect of effects) this.#carryOut(effect);
      }
    } finally {
      this.#isStepping = false;
    }
    this.#tell(before);
    this.#setTimer();
  }

  #setTimer(): void {
    this.#cancelTimer();
    const wakeMs = nextWakeMs(this.#state);
    if (wakeMs === Infinity || this.#isClosed) return;
    this.#cancelTimer = this.#options.timers.after(Math.max(0, Math.ceil(wakeMs - this.#options.clock.nowMs())), () => this.#dispatch({ kind: 'tick' }));
  }

  #tell(before: TunnelReport): void {
    const { log, id, onChange } = this.#options;
    const now = this.report();
    const isSame = (['state', 'reason', 'message', 'pid', 'restart', 'isFlapping'] as const).every(key => before[key] === now[key]);
    if (isSame) return;
    if (before.state !== now.state) {
      if (now.state === 'up') this.#beginForwards();
      const fields = { tunnel: id, state: now.state, ...(now.reason === '' ? {} : { reason: now.reason, why: now.message }), ...(now.pid === 0 ? {} : { pid: now.pid }) };
      const isBad = now.reason !== '' && (before.state === 'up' || ['blocked', 'refused', 'backoff'].includes(now.state));
      log[isBad ? 'warn' : now.state === 'up' || now.state === 'stopped' ? 'info' : 'debug'](fields, 'tunnel');
    }
    onChange();
    this.#run(this.#readTail());
  }

  async #readTail(): Promise<void> {
    const tail = await this.#options.tunnelLog.tail();
    if (isDeepStrictEqual(tail, this.#tail)) return;
    this.#tail = tail;
    this.#options.onChange();
  }

  #run(work: Promise<unknown>): void {
    const running = work.catch((error: unknown) => {
      this.#options.log.error({ err: error, tunnel: this.#options.id }, 'a step of a tunnel failed');
    }).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  #carryOut(effect: Effect): void {
    switch (effect.kind) {
      case 'look': return this.#run(this.#look(effect.turn));
      case 'signal': return this.#signal(effect.signal);
      case 'start': return this.#run(this.#starting = this.#start(effect.turn));
      case 'watch': return this.#watch(effect.turn, effect.leader);
      case 'unwatch': return this.#unwatch();
      case 'probe': return this.#run(this.#probe(effect.turn));
      case 'record': return this.#run(this.#record());
      case 'forget': return this.#options.forget();
      default: return effect satisfies never;
    }
  }

  /** Never fails: what cannot be looked at counts as in the way. */
  async #look(turn: number): Promise<void> {
    await this.#starting;
    const alive = await this.#countAlive();
    const busy = alive > 0 ? undefined : await holderOf(localEnds(this.#wish.spec.forwards), this.#options.find);
    this.#dispatch({ kind: 'looked', turn, sight: { alive, isBusy: busy !== undefined, holder: busy?.holder } });
  }

  async #countAlive(): Promise<number> {
    try {
      this.#seen = (await processesOfTunnels()).get(this.#options.id) ?? [];
      const leader = this.#startedHere;
      const isLeft = leader !== undefined && isAlive(leader) && !this.#seen.some(({ pid }) => pid === leader.pid);
      return this.#seen.length + (isLeft ? 1 : 0);
    } catch (error) {
      this.#options.log.warn({ tunnel: this.#options.id, problem: (error as Error).message }, 'the processes of a tunnel could not be looked for');
      return 1;
    }
  }

  #signal(signal: 'SIGTERM' | 'SIGKILL'): void {
    for (const { message } of signalAll(this.#seen, signal)) this.#options.log.warn({ tunnel: this.#options.id, problem: message }, 'a process of a tunnel could not be ended');
  }

  async #start(turn: number): Promise<void> {
    const { prepare, makeRoom, tunnelLog } = this.#options;
    const wish = this.#wish;
    try {
      const prepared = await prepare(wish);
      if (prepared.kind === 'refused') {
        this.#dispatch({ kind: 'refused', turn, why: prepared.why });
        return;
      }
      await makeRoom();
      const handle = await tunnelLog.openForAppend(`attempt ${this.#state.statistics.attempts}, at ${new Date(this.#options.clock.nowMs()).toISOString()}`);
      try {
        this.#since = await tunnelLog.size();
        await this.#intend({ leader: undefined, digest: digestOf(prepared.command), restart: wish.restart });
        if (turn !== this.#state.turn || this.#isClosed) return;
        const leader = await this.#launch(prepared.command, handle, wish);
        this.#dispatch({ kind: 'started', turn, leader });
      } finally {
        await handle.close();
      }
    } catch (error) {
      this.#dispatch({ kind: 'failed', turn, why: { reason: 'START_FAILED', message: (error as Error).message } });
    }
  }

  /** Durable before it is started: an agent that finds it with its mark, and not in the record, knows what it was started for. */
  async #intend(made: Made): Promise<void> {
    this.#made = made;
    let cancel: () => void = () => undefined;
    await Promise.race([this.#record(), new Promise<void>(resolve => { cancel = this.#options.timers.after(RECORD_MS, resolve); })]);
    cancel();
  }

  async #launch(command: Command, handle: FileHandle, wish: Wish): Promise<Leader> {
    const leader = await this.#options.launch(command, handle);
    this.#startedHere = leader;
    this.#made = { leader, digest: digestOf(command), restart: wish.restart };
    this.#run(this.#record());
    return leader;
  }

  #watch(turn: number, leader: Leader): void {
    this.#unwatch();
    const { id, controlPath, tunnelLog: log, settings: { connectMs: settledMs } } = this.#options;
    const hasReverse = startedWith(this.#wish).forwards.some(({ direction }) => direction === 'reverse');
    this.#watcher = new Watcher({ id, leader, controlPath, log, since: this.#since, hasReverse, settledMs, tell: news => this.#dispatch({ ...news, turn }) });
  }

  #unwatch(): void {
    const watcher = this.#watcher;
    this.#watcher = undefined;
    if (watcher !== undefined) this.#run(watcher.close());
  }

  async #probe(turn: number): Promise<void> {
    const { clock } = this.#options;
    const target = probeTarget(this.#wish.spec);
    const beganMs = clock.nowMs();
    const problem = target === undefined ? 'the forward that it names is not there' : await probe(target);
    this.#dispatch({ kind: 'probed', turn, tookMs: clock.nowMs() - beganMs, problem });
  }

  /** Never rejects. */
  async #record(): Promise<void> {
    const { record, log, id } = this.#options;
    const { spec, restart } = this.#wish;
    const made = this.#made;
    try {
      await record({ tunnel: spec.tunnel, leader: made?.leader, digest: made?.digest ?? '', restart: made?.restart ?? restart, statistics: this.#state.statistics });
    } catch (error) {
      log.warn({ tunnel: id, problem: (error as Error).message }, 'a connection of a tunnel could not be recorded: an agent that starts now would make it anew');
    }
  }
}

/** Forwards that portlease itself makes, to sockets, are not told. */
function toldOf(spec: HeldSpec): TunnelSpec {
  return { ...spec, forwards: spec.forwards.filter((forward): forward is TunnelForward => !('socket' in forward.listen)) };
}
