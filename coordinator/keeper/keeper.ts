/**
 * One gateway's book, made durable. Commands are decided at once in memory; while a commit runs, further decisions gather and share
 * the next one. Promises:
 * - nothing of a decision leaves before its book sequence is committed: replies, refusals, reads, desired state (S5);
 * - outputs leave in the order in which they were decided;
 * - a decision that the journal refuses is undone alone; when a commit fails otherwise, everything in flight is told UNAVAILABLE and
 *   the book is built again from what is stored;
 * - while nothing can be committed, reads of committed state go on.
 */
import type { Clock } from '../../shared/clock.js';
import type { Log } from '../../shared/log.js';
import { every, systemTimers, type Timers } from '../../shared/timers.js';
import type { Book } from '../book/book.js';
import type { Command, Reply, Scope, StoredGateway, Timing } from '../book/types.js';
import { EventFeed } from '../feed/feed.js';
import { ConstraintViolated, type Journal } from '../journal/journal.js';
import { Deciding, type Defect } from './deciding.js';
import { readJob, refuseJob, type CommandJob, type Decided, type Job, type ReadJob } from './job.js';
import { PoolMeter, type PoolRates } from './meter.js';
import { Parked } from './parked.js';
import { loadStored, recover } from './recovery.js';
import { journalUnavailable, notMade, Refused, STOPPING } from './refused.js';
import { Sessions, staleSession } from './sessions.js';
import { CredentialVault } from './vault.js';
import { MappingWatchers, see, type Watch } from './watchers.js';

export type KeeperOptions = {
  journal: Journal;
  timing: Timing;
  clock: Clock;
  random: () => number;
  log: Log;
  /** Builds a book from what is stored. */
  restore: (stored: StoredGateway) => Book;
  /** Told when commits begin to fail, and when they work again. */
  onHealth: (serving: boolean) => void;
  /** Of this process, unless others are given. */
  timers?: Timers;
};

/** How a command is asked; `waitMs` bounds how often a command that is told to wait is decided again. */
export type Ask = { command: Command; waitMs?: number; done: (reply: Reply) => void };

type State = 'serving' | 'rebuilding' | 'down' | 'closed';

const MAX_IN_FLIGHT = 50_000;

export class Keeper {
  readonly gateway: string;
  readonly sessions = new Sessions();
  readonly meter = new PoolMeter();
  /** Past the book: never stored. */
  readonly vault = new CredentialVault();
  /** What was committed, for those who follow it. */
  readonly events: EventFeed;
  readonly #options: KeeperOptions;
  readonly #log: Log;
  readonly #watchers = new MappingWatchers();
  readonly #timers: Timers;
  readonly #parked: Parked;
  readonly #stop = new AbortController();
  #book: Book;
  #committed: number;
  #state: State = 'serving';
  /** Asked, not decided yet: only while the book is being rebuilt, or one command commits alone. */
  #jobs: Job[] = [];
  #deciding: Deciding;
  #awake = false;
  readonly #endTicks: () => void;
  /** While commits fail: the last committed state, as far as it can be read. */
  #view: Promise<Book> | undefined;
  #tickPending = false;
  #lastTickMs: number;
  #idle: (() => void)[] = [];

  /** Serves `book`, whose state is committed. */
  constructor(book: Book, options: KeeperOptions) {
    this.gateway = book.gateway.gateway;
    this.#options = options;
    this.#timers = options.timers ?? systemTimers;
    this.#parked = new Parked(this.#timers.after);
    this.#log = options.log.child({ gateway: this.gateway });
    this.#book = book;
    this.#committed = book.sequence;
    this.events = new EventFeed({
      gateway: this.gateway, revision: book.sequence, clock: options.clock, timers: this.#timers,
      readEvents: (page) => options.journal.listEvents(page), readEventsBefore: (page) => options.journal.listEventsBefore(page),
    });
    this.#deciding = this.#decidingOn(book);
    this.#lastTickMs = options.clock.nowMs();
    this.#endTicks = every(this.#timers, options.timing.heartbeatMs / 2, () => this.#tick());
  }

  get scope(): Scope {
    return this.#book.gateway.scope;
  }

  get serving(): boolean {
    return this.#state === 'serving' || this.#state === 'rebuilding';
  }

  /** When the book was last asked to let time pass, or would have been if anything could be committed. */
  get lastTickMs(): number {
    return this.#lastTickMs;
  }

  get clock(): Clock {
    return this.#options.clock;
  }

  /** How the pool has fared until now. */
  ratesOf(pool: string): PoolRates {
    return this.meter.of(pool, this.clock.nowMs());
  }

  /** State that may not be committed yet: only for decisions that answer nobody before `settled`. */
  get undecided(): Book {
    return this.#book;
  }

  /** `done` is called once, when the decision is durable. */
  ask({ command, waitMs = 0, done }: Ask): void {
    const nowMs = this.#options.clock.nowMs();
    const job: CommandJob = { kind: 'command', command, done, waitUntilMs: nowMs + waitMs, alone: false, answered: false };
    if (this.#state === 'down') return done(journalUnavailable('the last commit failed; the journal is being opened again'));
    if (this.#state === 'closed') return done(STOPPING);
    if (this.#deciding.size + this.#jobs.length >= MAX_IN_FLIGHT) return done(journalUnavailable(`${MAX_IN_FLIGHT} commands wait for the journal`));
    this.#accept(job);
  }

  submit(command: Command, waitMs = 0): Promise<Reply> {
    return new Promise((resolve) => { this.ask({ command, waitMs, done: resolve }); });
  }

  /** What `look` sees, given out when it is durable. `look` copies what it returns. Throws Refused when nothing can be read. */
  read<T>(look: (book: Book) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const job = readJob(look, resolve, (refusal) => { reject(new Refused(refusal)); });
      if (this.#state === 'closed') job.refuse(STOPPING);
      else if (this.#state === 'down') this.#readCommitted(job);
      else this.#accept(job);
    });
  }

  /** Tells `watch` the mappings as they are, and at every change. Returns what ends it. */
  watch(mappingIds: readonly string[], watch: Watch): () => void {
    const stop = this.#watchers.add(mappingIds, watch);
    this.read((book) => mappingIds.map((id) => see(book, id))).then(
      (all) => { for (const seen of all) watch.onSeen(seen); },
      (error: unknown) => { watch.onLost(error instanceof Refused ? error.refusal : notMade(String(error))); },
    );
    return stop;
  }

  /** Ends every session and every watch, and answers those who wait for an agent; decisions go on. */
  dismiss(): void {
    for (const job of this.#parked.takeAll()) {
      job.answered = true;
      job.done(STOPPING);
    }
    this.#watchers.lose(STOPPING);
    this.events.close(STOPPING);
    this.sessions.closeAll(STOPPING);
  }

  /** Finishes what is in flight, as far as it can be made durable. */
  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#endTicks();
    if (this.#awake && this.#state !== 'down') await new Promise<void>((resolve) => { this.#idle.push(resolve); });
    this.#state = 'closed';
    this.#stop.abort();
    this.dismiss();
  }

  #decidingOn(book: Book): Deciding {
    return new Deciding(book, { clock: this.#options.clock, log: this.#log, watchers: this.#watchers, parked: this.#parked });
  }

  #accept(job: Job): void {
    if (this.#jobs.length > 0 || this.#state !== 'serving') this.#jobs.push(job);
    else this.#decide(job);
    this.#wake();
  }

  #decide(job: Job): void {
    const later = this.#deciding.decide(job);
    if (later.length > 0) this.#jobs.push(...later);
    if (this.#deciding.defect !== undefined) this.#state = 'rebuilding';
  }

  #wake(): void {
    if (this.#awake) return;
    this.#awake = true;
    this.#timers.soon(() => { void this.#drive(); });
  }

  async #drive(): Promise<void> {
    while (this.#state !== 'down' && (this.#deciding.size > 0 || this.#jobs.length > 0 || this.#deciding.defect !== undefined)) {
      this.#decideJobs();
      const { defect } = this.#deciding;
      if (defect === undefined) await this.#commit();
      else await this.#rebuild(this.#takeDefect(defect));
    }
    this.#awake = false;
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  #decideJobs(): void {
    while (this.#state === 'serving') {
      const job = this.#jobs[0];
      const isAlone = job?.kind === 'command' && job.alone;
      if (job === undefined || (isAlone && this.#deciding.size > 0)) return;
      this.#jobs.shift();
      this.#decide(job);
      if (isAlone) return;
    }
  }

  async #commit(): Promise<void> {
    const batch = this.#deciding.takeBatch();
    const changes = this.#book.takeChanges();
    if (changes !== undefined) {
      try {
        await this.#options.journal.append(this.gateway, this.#committed, changes);
        this.#committed = changes.gateway.sequence;
        this.events.committed(changes.events, changes.gateway.sequence);
        this.meter.committed(changes.events);
      } catch (error) {
        if (error instanceof ConstraintViolated) await this.#rebuild(this.#takeRefused(batch, error));
        else this.#fail(batch, error);
        return;
      }
    }
    for (const decided of batch) {
      try {
        this.#release(decided);
      } catch (error) {
        this.#log.error({ err: error }, 'an answer could not be given out');
      }
    }
  }

  #release(decided: Decided): void {
    if ('answer' in decided) return decided.answer();
    const { job, reply, pushes, seen } = decided;
    if (reply !== undefined) job.done(reply);
    for (const push of pushes) this.sessions.push(push);
    for (const one of seen) this.#watchers.notify(one);
  }

  /** The batch that the journal refused: a command that was alone in it is the offender, else each commits alone. */
  #takeRefused(batch: readonly Decided[], error: ConstraintViolated): Job[] {
    const again = this.#undecide(batch);
    const commands = again.filter((job) => job.kind === 'command');
    this.#log.error({ err: error, commands: commands.map(({ command }) => command.kind) }, 'the journal refused a batch of decisions');
    for (const job of commands) job.alone = true;
    const [offender, ...others] = commands;
    if (offender === undefined || others.length > 0) return again;
    offender.done(notMade('the journal refused the decision'));
    return again.filter((job) => job !== offender);
  }

  /** The jobs of a batch that is lost, as far as they still want an answer. */
  #undecide(batch: readonly Decided[]): Job[] {
    const jobs = batch.map(({ job }) => job);
    for (const job of jobs) if (job.kind === 'command') this.#parked.take(job);
    return jobs.filter((job) => job.kind === 'read' || !job.answered);
  }

  /** The command that the book could not decide is refused; what shared its memory is decided again. */
  #takeDefect({ job, error }: Defect): Job[] {
    this.#log.error({ err: error, command: job.command.kind }, 'the book could not decide a command');
    job.done(notMade('the command could not be decided'));
    return [];
  }

  /** Throws the book away, builds it from what is stored, and decides `again` and all that was not committed once more. */
  async #rebuild(again: readonly Job[]): Promise<void> {
    this.#state = 'rebuilding';
    this.#jobs = [...again, ...this.#undecide(this.#deciding.takeBatch()), ...this.#jobs];
    this.sessions.closeAll(staleSession('the book was built again from the journal'));
    try {
      this.#serve(this.#options.restore(await loadStored(this.#options.journal, this.gateway)));
      this.#deciding.patientUntilMs = this.#options.clock.nowMs() + this.#options.timing.suspectMs;
    } catch (error) {
      this.#fail([], error);
    }
  }

  /** The outcome of a commit is not known: everything in flight is told so, and nothing is decided until a barrier is committed. */
  #fail(batch: readonly Decided[], error: unknown): void {
    const jobs = [...this.#undecide([...batch, ...this.#deciding.takeBatch()]), ...this.#jobs, ...this.#parked.takeAll()];
    this.#log.error({ err: error, inFlight: jobs.length }, 'a commit failed');
    this.#state = 'down';
    this.#jobs = [];
    this.#options.onHealth(false);
    const refusal = journalUnavailable('the commit failed, or its outcome is not known');
    for (const job of jobs) refuseJob(job, refusal);
    this.#watchers.lose(refusal);
    this.sessions.closeAll(refusal);
    void this.#recover();
  }

  async #recover(): Promise<void> {
    const { gateway } = this;
    const book = await recover({
      ...this.#options, gateway, log: this.#log, after: this.#timers.after, signal: this.#stop.signal, onView: (view) => { this.#view = view; },
    });
    if (book === undefined || this.#state !== 'down') return;
    this.#serve(book);
    this.#options.onHealth(true);
  }

  #readCommitted(job: ReadJob): void {
    const view = this.#view ?? Promise.reject(new Error('nothing could be read'));
    view.then((book) => { job.look(book)(); }).catch((error: unknown) => {
      job.refuse(journalUnavailable(`what is committed cannot be read: ${String(error)}`));
    });
  }

  #serve(book: Book): void {
    this.#book = book;
    this.#committed = book.sequence;
    this.events.reset(book.sequence);
    this.#deciding = this.#decidingOn(book);
    this.#view = undefined;
    this.#state = 'serving';
  }

  #tick(): void {
    this.#lastTickMs = this.#options.clock.nowMs();
    if (this.#tickPending || this.#state === 'down') return;
    this.#tickPending = true;
    this.ask({ command: { kind: 'tick' }, done: () => { this.#tickPending = false; } });
  }
}
