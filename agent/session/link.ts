/** The agent's link to the coordinator: carries out what the state machine wants, and tells it what became of it. */
import type { Clock } from '../../shared/clock.js';
import { InvalidField } from '../../shared/invalid.js';
import type { Log } from '../../shared/log.js';
import { required } from '../../shared/fields.js';
import { systemTimers, type Timers } from '../../shared/timers.js';
import type { SessionResponse } from '../../shared/gen/portlease/v1/agents.js';
import { deltaFromWire, durationToMs, heartbeatToWire, helloToWire, reportToWire } from '../../shared/wire.js';
import type { AcceptedState } from '../state/accepted.js';
import type { StateStore } from '../state/store.js';
import { heartbeatOf, helloOf, type Identity } from './hello.js';
import { nextWakeMs, start, step } from './machine.js';
import type { StreamPort, Transport } from './transport.js';
import type { Effect, Event, LinkState, Outcome, Refusal, Settings } from './words.js';

export type LinkOptions = {
  identity: Identity;
  transport: Transport;
  store: Pick<StateStore, 'current' | 'welcome' | 'accept'>;
  settings: Settings;
  clock: Clock;
  /** Uniform in [0, 1). */
  random: () => number;
  log: Log;
  /** Given the state each time more of it is durable. */
  onAccepted: (state: AcceptedState) => void;
  /** Told of leaks that an operator wants repaired, with each heartbeat until they are gone. */
  onResolveLeaks?: (ids: readonly string[]) => void;
  /** Told of each refusal of a session. */
  onRefused?: (refusal: Refusal) => void;
  /** Of this process, unless others are given. */
  timers?: Timers;
};

/** A coordinator that asks for more than this is not understood. */
const MIN_HEARTBEAT_MS = 10;

export class SessionLink {
  readonly #options: LinkOptions;
  readonly #timers: Timers;
  readonly #events: Event[] = [];
  /** Effects that have not ended: writes and heartbeats. */
  readonly #running = new Set<Promise<void>>();
  #state: LinkState;
  #stream: StreamPort | undefined;
  #cancelTimer: () => void = () => undefined;
  #isStepping = false;

  /** Does nothing before start(). */
  constructor(options: LinkOptions) {
    this.#options = options;
    this.#timers = options.timers ?? systemTimers;
    this.#state = start(options.settings);
  }

  start(): void {
    this.#dispatch({ kind: 'tick' });
  }

  /** Reported now, or when there is a session. */
  roundOutcome(outcome: Outcome): void {
    this.#dispatch({ kind: 'roundOutcome', outcome });
  }

  /** Ends the connections and waits for the writes that were begun. */
  async close(): Promise<void> {
    this.#dispatch({ kind: 'close' });
    this.#cancelTimer();
    this.#options.transport.closeHeartbeats();
    await Promise.allSettled(this.#running);
  }

  /** Events that effects bring about at once wait until the step is done. */
  #dispatch(event: Event): void {
    this.#events.push(event);
    if (this.#isStepping) return;
    this.#isStepping = true;
    try {
      for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) this.#step(next);
    } finally {
      this.#isStepping = false;
    }
    this.#setTimer();
  }

  #step(event: Event): void {
    const { state, effects } = step(this.#state, event, { nowMs: this.#options.clock.nowMs(), random: this.#options.random });
    this.#state = state;
    for (const effect of effects) this.#carryOut(effect);
  }

  #setTimer(): void {
    this.#cancelTimer();
    const wakeMs = nextWakeMs(this.#state);
    if (wakeMs === Infinity) return;
    const delayMs = Math.max(0, Math.ceil(wakeMs - this.#options.clock.nowMs()));
    this.#cancelTimer = this.#timers.after(delayMs, () => this.#dispatch({ kind: 'tick' }));
  }

  #carryOut(effect: Effect): void {
    const { store, log, identity, onAccepted } = this.#options;
    switch (effect.kind) {
      case 'openStream': return this.#openStream(effect.stream);
      case 'sendHello': return this.#stream?.send({ message: { $case: 'hello', value: helloToWire(helloOf(identity, store.current(), effect.withState)) } });
      case 'sendReport': return this.#stream?.send({ message: { $case: 'report', value: reportToWire(effect.report) } });
      case 'closeStream': return this.#stream?.close();
      case 'writeWelcome': return this.#run(this.#writeWelcome(effect));
      case 'writeDeltas': return this.#run(this.#writeDeltas(effect));
      case 'sendHeartbeat': return this.#run(this.#sendHeartbeat(effect));
      case 'rebuildHeartbeatChannel': return this.#options.transport.closeHeartbeats();
      case 'serve': return onAccepted(store.current());
      case 'log': return log[effect.level](effect.fields, effect.message);
      default: return effect satisfies never;
    }
  }

  #run(effect: Promise<Event>): void {
    const running = effect.then(event => this.#dispatch(event)).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  #openStream(stream: number): void {
    const ended = (message: string): void => this.#dispatch({ kind: 'streamEnded', stream, end: { message } });
    try {
      this.#stream = this.#options.transport.openStream({
        opened: () => this.#dispatch({ kind: 'opened', stream }),
        ended: end => {
          if (end.refusal !== undefined) this.#options.onRefused?.(end.refusal);
          this.#dispatch({ kind: 'streamEnded', stream, end });
        },
        message: response => {
          const event = eventOf(stream, response);
          if (event instanceof Error) ended(`the coordinator sent what is not understood: ${event.message}`);
          else this.#dispatch(event);
        },
      });
    } catch (error) {
      ended(`no stream can be opened: ${(error as Error).message}`);
    }
  }

  async #writeWelcome({ stream, session, epoch }: Extract<Effect, { kind: 'writeWelcome' }>): Promise<Event> {
    try {
      return { kind: 'welcomeWritten', stream, result: await this.#options.store.welcome(session, epoch) };
    } catch (error) {
      return { kind: 'diskFailed', stream, message: (error as Error).message };
    }
  }

  async #writeDeltas({ stream, deltas }: Extract<Effect, { kind: 'writeDeltas' }>): Promise<Event> {
    try {
      const { kind } = await this.#options.store.accept(deltas);
      return { kind: 'deltasWritten', stream, result: kind };
    } catch (error) {
      return { kind: 'diskFailed', stream, message: (error as Error).message };
    }
  }

  async #sendHeartbeat({ session, sequence, deadlineMs }: Extract<Effect, { kind: 'sendHeartbeat' }>): Promise<Event> {
    const { identity: { host }, store, transport } = this.#options;
    const request = heartbeatToWire(heartbeatOf({ host, session, sequence }, store.current()));
    try {
      const { staleSession, rebuild, resolveLeaks } = await transport.heartbeat(request, deadlineMs);
      if (resolveLeaks.length > 0) this.#options.onResolveLeaks?.(resolveLeaks);
      return { kind: 'heartbeatAnswered', session, sequence, staleSession, rebuild };
    } catch (error) {
      return { kind: 'heartbeatFailed', session, sequence, message: (error as Error).message };
    }
  }
}

/** An Error when a field is missing or not allowed. */
function eventOf(stream: number, { message }: SessionResponse): Event | Error {
  try {
    const content = required(message, 'message');
    if (content.$case === 'desiredState') return { kind: 'desiredState', stream, delta: deltaFromWire(content.value) };
    const { session, epoch, heartbeatInterval, heartbeatDeadline } = content.value;
    const heartbeatIntervalMs = durationToMs(required(heartbeatInterval, 'welcome.heartbeat_interval'));
    const heartbeatDeadlineMs = durationToMs(required(heartbeatDeadline, 'welcome.heartbeat_deadline'));
    if (Math.min(heartbeatIntervalMs, heartbeatDeadlineMs) < MIN_HEARTBEAT_MS) throw new InvalidField('welcome', 'asks for heartbeats too often');
    return { kind: 'welcome', stream, welcome: { session, epoch, heartbeatIntervalMs, heartbeatDeadlineMs } };
  } catch (error) {
    return error as Error;
  }
}
