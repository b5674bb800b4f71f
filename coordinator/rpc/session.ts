/** One agent's stream: hello, welcome and snapshot, then changes down and reports up, until a newer session takes its place. */
import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { SessionRequest, SessionResponse } from '../../shared/gen/portlease/v1/agents.js';
import { InvalidField } from '../../shared/invalid.js';
import { systemTimers } from '../../shared/timers.js';
import { deltaToWire, helloFromWire, msToDuration, reportFromWire } from '../../shared/wire.js';
import type { Delta, Refusal, Reply } from '../book/types.js';
import type { Keeper } from '../keeper/keeper.js';
import { Refused } from '../keeper/refused.js';
import { staleSession, type SessionSink } from '../keeper/sessions.js';
import type { AgentsOptions } from './agents.js';
import { RefusedByBook } from './calls.js';
import { readable } from './definitions.js';
import { statusOf } from './errors.js';
import { requireHost } from './identity.js';
import { Outbox } from './outbox.js';

type Stream = ServerDuplexStream<SessionRequest, SessionResponse>;
type Welcome = Extract<Reply, { kind: 'welcome' }>;

const HELLO_WITHIN_MS = 10_000;
const STUCK_MS = 30_000;
const MAX_REPORTS_IN_FLIGHT = 8;

export function serveSession(options: AgentsOptions, stream: Stream): void {
  new SessionStream(options, stream).start();
}

class SessionStream {
  readonly #options: AgentsOptions;
  readonly #stream: Stream;
  #state: 'new' | 'greeted' | 'open' | 'ended' = 'new';
  #host = '';
  #keeper: Keeper | undefined;
  #sink: SessionSink | undefined;
  #leave: () => void = () => undefined;
  #reports = 0;
  /** The agent will say nothing more. */
  #isHalfClosed = false;
  #endWait: () => void = () => undefined;

  constructor(options: AgentsOptions, stream: Stream) {
    this.#options = options;
    this.#stream = stream;
  }

  start(): void {
    const stream = this.#stream;
    const { after } = this.#options.timers ?? systemTimers;
    this.#endWait = after(HELLO_WITHIN_MS, () => { this.#fail(new InvalidField('hello', `did not come within ${HELLO_WITHIN_MS / 1000} s`)); });
    stream.on('data', (message: SessionRequest) => { this.#receive(message); });
    stream.on('end', () => { this.#hangUp(); });
    stream.on('cancelled', () => { this.#end(); });
    stream.on('close', () => { this.#end(); });
    stream.on('error', () => { this.#end(); });
  }

  #receive(request: SessionRequest): void {
    if (this.#state === 'ended') return;
    try {
      const { message } = readable(request);
      if (message?.$case === 'hello' && this.#state === 'new') this.#greet(message.value);
      else if (message?.$case === 'report' && this.#state === 'open') this.#report(message.value);
      else throw new InvalidField('message', `is ${message?.$case ?? 'missing'}: a stream begins with one hello, and reports follow its welcome`);
    } catch (error) {
      this.#fail(error);
    }
  }

  #greet(wire: Parameters<typeof helloFromWire>[0]): void {
    const { gateways, identify, admission, admitsUnknown } = this.#options;
    this.#endWait();
    this.#state = 'greeted';
    const caller = identify(this.#stream);
    const { gateway, ...hello } = helloFromWire(wire);
    requireHost(caller, hello.host);
    this.#host = hello.host;
    admission.enter().then((leave) => {
      this.#leave = leave;
      if (this.#state === 'ended') return leave();
      const keeper = gateways.need(gateway, 'hello.gateway');
      const home = gateways.homeOf(hello.host);
      if (home !== undefined && home !== keeper) throw otherGateway(hello.host, home);
      this.#keeper = keeper;
      keeper.ask({ command: { kind: 'hello', actor: caller.actor, ...hello, admit: admitsUnknown }, done: (reply) => { this.#welcome(reply); } });
    }).catch((error: unknown) => { this.#fail(error); });
  }

  /** Runs before any push of a later decision is let out, so none is missed. */
  #welcome(reply: Reply): void {
    if (this.#state === 'ended') return this.#leave();
    if (reply.kind === 'refused') return this.#fail(new RefusedByBook(reply));
    if (reply.kind !== 'welcome') return this.#fail(new Error(`the book answered ${reply.kind}`));
    this.#state = 'open';
    this.#write({ $case: 'welcome', value: this.#welcomeMessage(reply) }, () => undefined);
    const { clock } = this.#options;
    const outbox = new Outbox((delta, written) => {
      this.#write({ $case: 'desiredState', value: deltaToWire(delta) }, () => {
        this.#leave();
        written();
        if (this.#isHalfClosed) this.#hangUp();
      });
    });
    this.#sink = {
      session: reply.session,
      push: (delta: Delta) => {
        if (outbox.push(delta, clock.nowMs()) > STUCK_MS) this.#fail(new Refused(tooSlow(this.#host)));
      },
      close: (refusal: Refusal) => { this.#fail(new Refused(refusal)); },
    };
    this.#keeper?.sessions.attach(this.#host, this.#sink);
    this.#sink.push(reply.state);
    this.#options.log.info({ host: this.#host, session: reply.session, objects: reply.state.upserts.length }, 'session opened');
  }

  #welcomeMessage({ session, epoch }: Welcome) {
    const { heartbeatMs, deadlineMs } = this.#options.timing;
    return { session, epoch, heartbeatInterval: msToDuration(heartbeatMs), heartbeatDeadline: msToDuration(deadlineMs) };
  }

  #report(wire: Parameters<typeof reportFromWire>[0]): void {
    const { environments = [], ...report } = reportFromWire(wire);
    const session = this.#sink?.session;
    if (report.session !== session) throw new Refused(staleSession(`the report is of session ${report.session}, the stream of session ${session ?? 0}`));
    this.#reports += 1;
    if (this.#reports >= MAX_REPORTS_IN_FLIGHT) this.#stream.pause();
    this.#keeper?.vault.hear(this.#host, environments);
    const words = environments.map(({ credentials: _, ...word }) => word);
    this.#keeper?.ask({
      command: { kind: 'report', host: this.#host, ...report, environments: words },
      done: (reply) => {
        this.#reports -= 1;
        this.#stream.resume();
        if (reply.kind === 'refused') this.#fail(new RefusedByBook(reply));
      },
    });
  }

  #write(message: NonNullable<SessionResponse['message']>, written: () => void): void {
    if (this.#state !== 'ended') this.#stream.write({ message }, written);
  }

  /** The agent has closed its side: a hello that waits is answered first. */
  #hangUp(): void {
    this.#isHalfClosed = true;
    if (this.#state === 'greeted') return;
    this.#end();
    this.#stream.end();
  }

  /** Ends the stream with the status that the error stands for. */
  #fail(error: unknown): void {
    if (this.#state === 'ended') return;
    const status = statusOf(error, this.#options.log);
    this.#end();
    this.#options.log.info({ host: this.#host, reason: status.details }, 'session ended by the coordinator');
    this.#stream.emit('error', status);
  }

  #end(): void {
    this.#state = 'ended';
    this.#endWait();
    this.#leave();
    if (this.#sink !== undefined) this.#keeper?.sessions.detach(this.#host, this.#sink);
  }
}

function otherGateway(host: string, { gateway }: Keeper): Refused {
  return new Refused({
    kind: 'refused', reason: 'OTHER_GATEWAY', message: `host ${host} belongs to gateway ${gateway}`, field: 'hello.gateway', metadata: { host, gateway },
  });
}

function tooSlow(host: string): Refusal {
  return { kind: 'refused', reason: 'RATE_LIMITED', message: `host ${host} has not read its stream for ${STUCK_MS / 1000} s`, retryAfterMs: 1000 };
}
