/** One spawner process, from its start until it and all children that it started are gone. */
import { spawn, type ChildProcess } from 'node:child_process';
import { extname, join } from 'node:path';
import type { Duplex } from 'node:stream';
import { SEARCH_PATH, type ChildEnd } from '../child.js';
import { encode, MessageReader, type Answer, type Request } from './messages.js';

/** Small, so that it is forked fast: output is kept outside of the heap. */
const MEMORY_FLAGS = ['--max-old-space-size=32', '--max-semi-space-size=1'];
/** The program beside this one: compiled, or as source, which the flags of this process make readable. */
const PROGRAM = join(import.meta.dirname, `server${extname(import.meta.filename)}`);

type Pending = { timer: NodeJS.Timeout; resolve: (end: ChildEnd) => void; reject: (error: Error) => void };

export class SpawnerProcess {
  /** Settles, fulfilled, when neither the process nor a child of it is left. */
  readonly gone: Promise<void>;
  readonly #child: ChildProcess;
  readonly #marginMs: number;
  readonly #pending = new Map<number, Pending>();
  readonly #reader = new MessageReader();
  #lastId = 0;
  #problem: string | undefined;

  /** `marginMs`: how long after the deadline of a child its answer may come. Throws when no process can be started. */
  constructor({ lockFd, marginMs }: { lockFd: number | undefined; marginMs: number }) {
    this.#marginMs = marginMs;
    // With the agent's end the spawner is killed, also while it is stopped; its children are not.
    const argv = ['--pdeathsig', 'KILL', process.execPath, ...process.execArgv, ...MEMORY_FLAGS, PROGRAM, lockFd === undefined ? 'unlocked' : 'locked'];
    this.#child = spawn('setpriv', argv, { env: { PATH: SEARCH_PATH, LC_ALL: 'C' }, stdio: ['pipe', 'pipe', 'inherit', lockFd ?? 'ignore', 'pipe'] });
    this.gone = new Promise(resolve => {
      this.#child.on('error', ({ message }) => {
        this.#fail(message);
        if (this.#child.pid === undefined) resolve();
      });
      this.#child.on('exit', (exitCode, signal) => this.#fail(`it ended (${signal ?? exitCode})`));
      // Comes when nobody holds the leash any more.
      this.#child.on('close', () => resolve());
    });
    void this.gone.then(() => this.#rejectAll());
    this.#child.stdin?.on('error', () => undefined);
    this.#child.stdout?.on('data', (chunk: Buffer) => this.#take(chunk));
    (this.#child.stdio[4] as Duplex | undefined)?.on('error', () => undefined).resume();
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** False once it failed: it is gone soon, or when the last of its children is. */
  get isUsable(): boolean {
    return this.#problem === undefined;
  }

  /** Rejects, once the child is gone for certain, when the spawner ended or gave no answer. */
  ask(request: Omit<Request, 'id'>, stdin: string): Promise<ChildEnd> {
    if (!this.isUsable) return Promise.reject(this.#error());
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      // Two timers: when this process itself was stopped, an answer that is there is read before the second one.
      const timer = setTimeout(() => {
        const late = setTimeout(() => this.#kill(`no answer within ${request.deadlineMs + this.#marginMs} ms`), this.#marginMs);
        this.#pending.set(id, { timer: late, resolve, reject });
      }, request.deadlineMs);
      this.#pending.set(id, { timer, resolve, reject });
      this.#child.stdin?.cork();
      for (const part of encode({ id, ...request }, Buffer.from(stdin))) this.#child.stdin?.write(part);
      this.#child.stdin?.uncork();
    });
  }

  /** For when nothing runs. Ends it, by SIGKILL after `withinMs`; returns after twice that at the latest. */
  async close(withinMs: number): Promise<void> {
    this.#child.stdin?.end();
    if (await this.isGoneWithin(withinMs)) return;
    this.#kill(`it did not end within ${withinMs} ms`);
    await this.isGoneWithin(withinMs);
  }

  async isGoneWithin(ms: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>(resolve => { timer = setTimeout(() => resolve(false), ms); });
    const isGone = await Promise.race([this.gone.then(() => true), late]);
    clearTimeout(timer);
    return isGone;
  }

  #take(chunk: Buffer): void {
    try {
      for (const { header, body } of this.#reader.push(chunk)) this.#settle(header as Answer, body);
    } catch (error) {
      this.#kill(`what it answered is not understood: ${(error as Error).message}`);
    }
  }

  #settle({ id, stdoutBytes, ...end }: Answer, body: Buffer): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    this.#pending.delete(id);
    clearTimeout(pending.timer);
    pending.resolve({ ...end, stdout: body.subarray(0, stdoutBytes), stderr: body.subarray(stdoutBytes) });
  }

  #kill(problem: string): void {
    this.#fail(problem);
    this.#child.kill('SIGKILL');
  }

  #fail(problem: string): void {
    this.#problem ??= problem;
    for (const { timer } of this.#pending.values()) clearTimeout(timer);
  }

  #rejectAll(): void {
    for (const { reject } of this.#pending.values()) reject(this.#error());
    this.#pending.clear();
  }

  #error(): Error {
    return new Error(`the spawner of children failed: ${this.#problem ?? 'it is gone'}`);
  }
}
