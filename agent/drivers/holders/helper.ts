/** The helper process that looks who listens, one for all who ask: started when it is first asked, killed when it gives no answer, and started again. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { extname, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { SEARCH_PATH } from '../child.js';
import type { Listener } from '../connections/listeners.js';
import type { Question, Topic } from './lookup.js';
import { LineReader, lineOf, listenersOf, type Answer } from './messages.js';

/** Of a look through /proc; one that takes longer hangs. */
export const DEADLINE_MS = 5_000;
const MEMORY_FLAGS = ['--max-old-space-size=64', '--max-semi-space-size=1'];
/** The program beside this one: compiled, or as source, which the flags of this process make readable. */
const PROGRAM = join(import.meta.dirname, `server${extname(import.meta.filename)}`);

type Pending = { topic: Topic; timer: NodeJS.Timeout; resolve: (listeners: Listener[]) => void; reject: (error: Error) => void };
type Child = ChildProcessByStdio<Writable, Readable, null>;

/** One process, from its start to its end. */
class HelperProcess {
  readonly gone: Promise<void>;
  readonly #child: Child;
  readonly #pending = new Map<number, Pending>();
  readonly #reader = new LineReader();
  #lastId = 0;
  readonly #last = new Map<Topic, Listener[]>();
  #problem: string | undefined;

  constructor() {
    this.#child = spawn(process.execPath, [...process.execArgv, ...MEMORY_FLAGS, PROGRAM], { env: { PATH: SEARCH_PATH, LC_ALL: 'C' }, stdio: ['pipe', 'pipe', 'inherit'] });
    this.gone = new Promise(resolve => {
      this.#child.on('error', ({ message }) => {
        this.#fail(message);
        if (this.#child.pid === undefined) resolve();
      });
      this.#child.on('exit', (exitCode, signal) => {
        this.#fail(`it ended (${signal ?? exitCode})`);
        resolve();
      });
    });
    this.#child.stdin.on('error', () => undefined);
    this.#child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      for (const answer of this.#reader.push(chunk)) this.#take(answer as Answer);
    });
  }

  get isUsable(): boolean {
    return this.#problem === undefined;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  ask(question: Question, deadlineMs: number): Promise<Listener[]> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.kill(`no answer within ${deadlineMs} ms`), deadlineMs);
      this.#pending.set(id, { topic: question.topic, timer, resolve, reject });
      this.#child.stdin.write(lineOf({ id, ...question }));
    });
  }

  kill(problem: string): void {
    this.#fail(problem);
    this.#child.kill('SIGKILL');
  }

  #take(answer: Answer): void {
    const pending = this.#pending.get(answer.id);
    this.#pending.delete(answer.id);
    if (pending === undefined) return;
    const { topic, timer, resolve, reject } = pending;
    clearTimeout(timer);
    if ('problem' in answer) return reject(new Error(answer.problem));
    const found = 'listeners' in answer ? listenersOf(answer) : this.#last.get(topic) ?? [];
    this.#last.set(topic, found);
    resolve(found);
  }

  #fail(problem: string): void {
    this.#problem ??= problem;
    for (const { timer, reject } of this.#pending.values()) {
      clearTimeout(timer);
      reject(new Error(`the helper that looks who listens failed: ${this.#problem}`));
    }
    this.#pending.clear();
  }
}

export class Helper {
  #current: HelperProcess | undefined;
  #isClosed = false;

  constructor(private readonly deadlineMs = DEADLINE_MS) {}

  /** Of the process, while there is one. */
  get pid(): number | undefined {
    return this.#current?.pid;
  }

  /** The same array as of this topic before when nothing has changed. Rejects when the helper fails; the next call starts another one. */
  find(question: Question): Promise<Listener[]> {
    if (this.#isClosed) return Promise.reject(new Error('the helper that looks who listens is closed'));
    if (this.#current?.isUsable !== true) this.#current = new HelperProcess();
    return this.#current.ask(question, this.deadlineMs);
  }

  /** Nothing is left of it afterwards. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#current?.kill('it is closed');
    await this.#current?.gone;
  }
}
