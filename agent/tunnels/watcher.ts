/** Watches one connection: says when it stands with all its forwards, when it is lost, and when its leader has ended or its attempt failed. */
import { setTimeout as pause } from 'node:timers/promises';
import { readFileSync } from 'node:fs';
import { ControlLink } from './mux.js';
import { isAlive, leaderOf, markedProcess } from './processes.js';
import { classify } from './reasons.js';
import type { TunnelLog } from './logs.js';
import type { Leader, Why } from './words.js';

export type News = { kind: 'connected'; sshPid: number } | { kind: 'disconnected'; why: Why } | { kind: 'failed'; why: Why };

export type WatcherOptions = {
  readonly id: string;
  readonly leader: Leader;
  readonly controlPath: string;
  readonly log: TunnelLog;
  /** Where its lines begin in the log. */
  readonly since: number;
  readonly hasReverse: boolean;
  /** One that is older than this had its forwards long ago, or would have ended. */
  readonly settledMs: number;
  readonly tell: (news: News) => void;
};

const CONNECTING_MS = 20;
const STANDING_MS = 250;
const LAST_WORDS_MS = 1_000;
const TICKS_PER_SECOND = 100;

export class Watcher {
  readonly #options: WatcherOptions;
  readonly #abort = new AbortController();
  readonly #done: Promise<void>;
  #since: number;
  #link: ControlLink | undefined;

  constructor(options: WatcherOptions) {
    this.#options = options;
    this.#since = options.since;
    this.#done = this.#run().catch((error: unknown) => {
      if (!this.#isOver()) options.tell({ kind: 'failed', why: { reason: 'UNKNOWN', message: (error as Error).message } });
    });
  }

  /** While it is connected. */
  get link(): ControlLink | undefined {
    return this.#link;
  }

  /** Tells nothing any more. The process is left as it is. */
  async close(): Promise<void> {
    this.#abort.abort();
    this.#link?.close();
    await this.#done;
  }

  #isOver(): boolean {
    return this.#abort.signal.aborted;
  }

  async #run(): Promise<void> {
    const { leader, tell, log } = this.#options;
    let lost: number | undefined;
    while (!this.#isOver()) {
      const sshPid = await this.#connected(lost);
      if (sshPid === undefined) return;
      this.#since = await log.size();
      tell({ kind: 'connected', sshPid });
      await this.#standing();
      this.#link = undefined;
      if (this.#isOver()) return;
      if (!await this.#engineStays(sshPid)) return this.#failed('the process of the connection has ended');
      lost = sshPid;
      tell({ kind: 'disconnected', why: await this.#why('the connection was lost') });
      if (!isAlive(leader)) return this.#failed('the process of the connection has ended');
    }
  }

  /** Undefined: it failed, which was told, or nobody wants to know any more. */
  async #connected(lost: number | undefined): Promise<number | undefined> {
    const { leader } = this.#options;
    while (!this.#isOver()) {
      if (!isAlive(leader) || await this.#attemptFailed(lost)) {
        await this.#failed('it ended before it was connected');
        return undefined;
      }
      const link = await this.#open();
      const sshPid = await link?.pid().catch(() => undefined);
      if (sshPid !== undefined && await this.#isReady(sshPid)) {
        this.#link = link;
        return sshPid;
      }
      link?.close();
      await this.#pause(CONNECTING_MS);
    }
    return undefined;
  }

  async #open(): Promise<ControlLink | undefined> {
    return ControlLink.open(this.#options.controlPath, LAST_WORDS_MS).catch(() => undefined);
  }

  /** Local forwards stand before there is a control socket; of reverse ones the log says so. */
  async #isReady(sshPid: number): Promise<boolean> {
    const { id, hasReverse, settledMs, log } = this.#options;
    if (markedProcess(sshPid, id) === undefined) return false;
    if (!hasReverse || ageMs(sshPid) > settledMs) return true;
    return (await log.textSince(this.#since)).includes(`(pid=${sshPid}): all expected forwarding replies received`);
  }

  /** autossh goes on after an attempt that failed; the log says that its ssh has ended. */
  async #attemptFailed(lost: number | undefined): Promise<boolean> {
    const text = await this.#options.log.textSince(this.#since);
    const attempts = text.split(/(?=ssh child pid is \d+$)/m).filter(part => part.startsWith('ssh child pid is ') && part !== '');
    return attempts.some(part => Number(/\d+/.exec(part)?.[0]) !== lost && part.includes('ssh exited'));
  }

  /** Returns when the control link or the leader is gone. */
  async #standing(): Promise<void> {
    const { leader } = this.#options;
    const link = this.#link;
    while (!this.#isOver() && link?.isClosed === false && isAlive(leader)) await Promise.race([link.closed, this.#pause(STANDING_MS)]);
    link?.close();
  }

  /** False: leader and ssh are the same process, or the leader is gone. */
  async #engineStays(sshPid: number): Promise<boolean> {
    const { leader } = this.#options;
    if (leader.pid !== sshPid) return isAlive(leader);
    for (let waitedMs = 0; isAlive(leader) && waitedMs < LAST_WORDS_MS && !this.#isOver(); waitedMs += CONNECTING_MS) await this.#pause(CONNECTING_MS);
    return false;
  }

  async #failed(otherwise: string): Promise<void> {
    if (!this.#isOver()) this.#options.tell({ kind: 'failed', why: await this.#why(otherwise) });
  }

  async #why(otherwise: string): Promise<Why> {
    return classify(await this.#options.log.textSince(this.#since)) ?? { reason: 'PROCESS_ENDED', message: otherwise };
  }

  async #pause(ms: number): Promise<void> {
    await pause(ms, undefined, { signal: this.#abort.signal }).catch(() => undefined);
  }
}

/** 0: not known. */
function ageMs(pid: number): number {
  const leader = leaderOf(pid);
  const uptime = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]);
  return leader === undefined ? 0 : (uptime - leader.startTicks / TICKS_PER_SECOND) * 1_000;
}
