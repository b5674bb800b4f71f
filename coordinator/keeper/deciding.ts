/** Decides jobs against one book, and keeps what was decided until the journal takes it. All of it is synchronous. */
import type { Clock } from '../../shared/clock.js';
import type { Log } from '../../shared/log.js';
import type { Book } from '../book/book.js';
import type { Decision, Refusal, Reply } from '../book/types.js';
import { refuseJob, type CommandJob, type Decided, type Job, type ReadJob } from './job.js';
import type { Parked } from './parked.js';
import { notMade } from './refused.js';
import type { MappingWatchers} from './watchers.js';
import { see, type Seen } from './watchers.js';

export type Defect = { job: CommandJob; error: unknown };

const NOTHING_SEEN: readonly Seen[] = [];

const NOT_SERVED_IN_TIME: Refusal = {
  kind: 'refused', reason: 'GATEWAY_NOT_READY', retryAfterMs: 1000,
  message: 'the ports cannot be served yet: the host has not applied its state, or the gateway has not confirmed that their former host is cut off',
};

export class Deciding {
  /** Until then (clock) commands wait for hosts that have to say hello again, because the book was built again under them. */
  patientUntilMs = 0;
  /** The book threw: what it has in memory is worth nothing any more. */
  defect: Defect | undefined;
  readonly #book: Book;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #watchers: MappingWatchers;
  readonly #parked: Parked;
  #batch: Decided[] = [];
  #progress = false;

  constructor(book: Book, { clock, log, watchers, parked }: { clock: Clock; log: Log; watchers: MappingWatchers; parked: Parked }) {
    this.#book = book;
    this.#clock = clock;
    this.#log = log;
    this.#watchers = watchers;
    this.#parked = parked;
  }

  /** Decided jobs that the journal has not been given yet. */
  get size(): number {
    return this.#batch.length;
  }

  takeBatch(): Decided[] {
    const batch = this.#batch;
    this.#batch = [];
    return batch;
  }

  /** Decides a job, and after progress the parked ones; returns those that have to commit alone and wait for their turn. */
  decide(job: Job): Job[] {
    const later: Job[] = [];
    if (job.kind === 'read') this.#look(job);
    else this.#decide(job);
    while (this.#progress && this.#parked.size > 0 && this.defect === undefined) {
      this.#progress = false;
      for (const parked of this.#parked.takeAll()) {
        if (parked.alone || this.#hasFailed()) later.push(parked);
        else this.#decide(parked);
      }
    }
    this.#progress = false;
    return later;
  }

  #hasFailed(): boolean {
    return this.defect !== undefined;
  }

  #look(job: ReadJob): void {
    try {
      this.#batch.push({ job, answer: job.look(this.#book) });
    } catch (error) {
      this.#log.error({ err: error }, 'a read failed');
      refuseJob(job, notMade('the read failed'));
    }
  }

  #decide(job: CommandJob): void {
    const nowMs = this.#clock.nowMs();
    let decision: Decision;
    try {
      decision = this.#book.decide(job.command, nowMs);
    } catch (error) {
      this.defect = { job, error };
      return;
    }
    const { reply, pushes, touchedMappings, progress } = decision;
    this.#progress ||= progress;
    const seen = this.#watchers.empty ? NOTHING_SEEN : touchedMappings.filter((id) => this.#watchers.has(id)).map((id) => see(this.#book, id));
    this.#batch.push({ job, reply: this.#hasToWait(job, reply, nowMs) ? undefined : reply, pushes, seen });
  }

  #hasToWait(job: CommandJob, reply: Reply, nowMs: number): boolean {
    const untilMs = reply.kind === 'waiting' ? job.waitUntilMs
      : reply.kind === 'refused' && reply.reason === 'HOST_NOT_READY' ? this.patientUntilMs : 0;
    if (reply.kind !== 'waiting' && untilMs <= nowMs) return false;
    this.#parked.park(job, { forMs: Math.max(0, untilMs - nowMs), atEnd: reply.kind === 'refused' ? reply : NOT_SERVED_IN_TIME });
    return true;
  }
}
