/**
 * Knows the containers of this machine at every moment. Promises:
 * - the event stream is open before all containers are looked at, so nothing is missed in between; after each break all begins anew;
 * - a container that has died is known as stopped from its event on, before anything more is asked;
 * - while the stream says nothing all containers are listed again and again: where the list differs from what is known, the container itself is asked
 *   for, so that a list that is behind undoes nothing; a change of which no event comes means that the stream is deaf, and it is opened anew;
 * - while Docker does not answer what was known last stays: nobody can take over an address meanwhile.
 */
import { nextDelayMs } from '../../../shared/backoff.js';
import type { Log } from '../../../shared/log.js';
import type { After } from '../../../shared/timers.js';
import type { DockerClient } from './client.js';
import type { DockerEvent } from './events.js';
import { Containers, type Container } from './containers.js';
import { differing, isSame, sameNetworks } from './differences.js';

/** `problem`: why Docker does not answer now; the containers are those of the last time. */
export type DockerView =
  | { readonly kind: 'unknown'; readonly problem: string }
  | { readonly kind: 'rootless' }
  | { readonly kind: 'known'; readonly containers: Containers; readonly problem: string | undefined };

export type DockerWatchOptions = {
  client: DockerClient;
  log: Log;
  after: After;
  random: () => number;
  /** Between two lists of all containers, at most. */
  relistMs?: number;
  onChange(view: DockerView): void;
};

/** Containers that are asked for together. */
const AT_ONCE = 32;
const RETRY_BASE_MS = 100;
/** A socket that is not there is soon found missing. */
const RETRY_MAX_MS = 1_000;
const RELIST_MS = 10_000;
/** What was seen by asking may be on its way as an event. */
const GRACE_MS = 3_000;
/** Stands for all networks among ids of containers. */
const NETWORKS = 'networks';

export class DockerWatch {
  private current: DockerView = { kind: 'unknown', problem: 'Docker was not asked yet' };
  private stream: { close(): void } | undefined;
  private mayOpen = true;
  /** What is to be asked for: ids of containers, and NETWORKS. */
  private readonly dirty = new Set<string>();
  /** Listed otherwise than known, and not confirmed yet. */
  private readonly suspects = new Set<string>();
  /** Confirmed, and no event has come of it. */
  private readonly unexplained = new Set<string>();
  private relisting: Promise<void> | undefined;
  private cancelRelist: (() => void) | undefined;
  private cancelGrace: (() => void) | undefined;
  private working: Promise<void> | undefined;
  private attempt = 0;
  private lastProblem: string | undefined;
  private cancelRetry: (() => void) | undefined;
  private isClosed = false;
  private readonly first: Promise<void>;
  private firstIsOver: () => void = () => undefined;

  constructor(private readonly options: DockerWatchOptions) {
    this.first = new Promise(resolve => { this.firstIsOver = resolve; });
    this.wake();
  }

  get view(): DockerView {
    return this.current;
  }

  /** Resolves when Docker has answered for the first time, or could not be reached, or this time is over. */
  async ready(withinMs: number): Promise<void> {
    let cancel: () => void = () => undefined;
    const late = new Promise<void>(resolve => { cancel = this.options.after(withinMs, resolve); });
    await Promise.race([this.first, late]);
    cancel();
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.cancelRetry?.();
    this.forgetDoubts();
    this.stream?.close();
    await this.working;
    await this.relisting;
  }

  private wake(): void {
    if (this.working !== undefined || !this.hasWork) return;
    this.working = this.work().finally(() => {
      this.working = undefined;
      this.wake();
    });
  }

  private get hasWork(): boolean {
    if (this.isClosed) return false;
    return this.stream === undefined ? this.mayOpen : this.dirty.size > 0;
  }

  private async work(): Promise<void> {
    while (this.hasWork) {
      try {
        await (this.stream === undefined ? this.open() : this.lookAtDirty());
      } catch (error) {
        this.abandon(error);
      }
      this.firstIsOver();
    }
  }

  private async open(): Promise<void> {
    const { client, log } = this.options;
    this.mayOpen = false;
    this.stream = await client.follow({ onEvent: event => this.note(event), onEnd: problem => this.lost(problem) });
    this.dirty.clear();
    if (await client.isRootless()) this.say({ kind: 'rootless' });
    else {
      const [networks, containers] = await Promise.all([client.networks(), client.containers()]);
      this.say({ kind: 'known', containers: new Containers(containers, networks), problem: undefined });
    }
    if (this.lastProblem !== undefined) log.info('Docker answers again');
    this.lastProblem = undefined;
    this.attempt = 0;
    this.relistLater();
  }

  private note(event: DockerEvent): void {
    if (event.kind === 'network') {
      this.mark(NETWORKS);
      if (event.container !== undefined) this.mark(event.container);
    } else {
      this.mark(event.id);
      if (event.action === 'die') this.hasDied(event.id);
    }
    this.wake();
  }

  /** An event tells of it. */
  private mark(what: string): void {
    this.dirty.add(what);
    this.suspects.delete(what);
    this.unexplained.delete(what);
  }

  private hasDied(id: string): void {
    if (this.current.kind !== 'known') return;
    const container = this.current.containers.get(id);
    if (container === undefined) return;
    const stopped: Container = { ...container, state: 'exited', published: [], attachments: container.attachments.map(one => ({ ...one, v4: undefined, v6: undefined })) };
    this.say({ ...this.current, containers: this.current.containers.with([[id, stopped]]) });
  }

  private async lookAtDirty(): Promise<void> {
    const { client } = this.options;
    const asksNetworks = this.dirty.delete(NETWORKS);
    const ids = [...this.dirty].slice(0, AT_ONCE);
    for (const id of ids) this.dirty.delete(id);
    const found = Promise.all(ids.map(async id => [id, await client.container(id)] as const));
    const [containers, networks] = await Promise.all([found, asksNetworks ? client.networks() : undefined]);
    if (this.current.kind !== 'known') return;
    const { containers: known } = this.current;
    // What has had another event meanwhile is looked at again.
    const changed = containers.filter(([id]) => !this.dirty.has(id));
    for (const [id, container] of changed) this.confirm(id, isSame(container, known.get(id)));
    if (networks !== undefined && !this.dirty.has(NETWORKS)) this.confirm(NETWORKS, sameNetworks(networks, known.networks));
    this.say({ ...this.current, containers: known.with(changed, networks) });
  }

  private relistLater(): void {
    const { after, random, relistMs = RELIST_MS } = this.options;
    if (this.stream === undefined || this.isClosed) return;
    this.cancelRelist = after(nextDelayMs({ attempt: 0, baseMs: relistMs, maxMs: relistMs, random }), () => { this.relisting = this.relist(); });
  }

  /** Beside the work on events, which waits for no list. */
  private async relist(): Promise<void> {
    const { client } = this.options;
    const { stream } = this;
    const isStill = (): boolean => this.stream === stream && !this.isClosed;
    try {
      if (this.current.kind === 'known') {
        const [listed, networks] = await Promise.all([client.containers(), client.networks()]);
        if (isStill()) this.compare(listed, networks);
      }
      if (isStill()) this.relistLater();
    } catch (error) {
      if (isStill()) this.abandon(error);
    }
  }

  private compare(listed: readonly Container[], networks: Containers['networks']): void {
    if (this.current.kind !== 'known') return;
    const { containers } = this.current;
    const found = sameNetworks(networks, containers.networks) ? differing(containers, listed) : [NETWORKS, ...differing(containers, listed)];
    for (const what of found.filter(one => !this.dirty.has(one))) {
      this.suspects.add(what);
      this.dirty.add(what);
    }
    this.wake();
  }

  /** Of something that was asked for: a suspect that has changed indeed must be explained by an event. */
  private confirm(what: string, isAsKnown: boolean): void {
    if (!this.suspects.delete(what) || isAsKnown) return;
    this.unexplained.add(what);
    this.cancelGrace ??= this.options.after(GRACE_MS, () => {
      this.cancelGrace = undefined;
      const [missed] = this.unexplained;
      if (missed !== undefined) this.abandon(new Error(`the event stream said nothing of a change of ${missed === NETWORKS ? 'networks' : `container ${missed.slice(0, 12)}`}`));
    });
  }

  private abandon(error: unknown): void {
    this.stream?.close();
    this.lost(error instanceof Error ? error.message : String(error));
  }

  private forgetDoubts(): void {
    this.cancelRelist?.();
    this.cancelGrace?.();
    this.cancelRelist = this.cancelGrace = undefined;
    this.suspects.clear();
    this.unexplained.clear();
  }

  private lost(problem: string): void {
    const { log, after, random } = this.options;
    this.stream = undefined;
    this.forgetDoubts();
    if (this.isClosed) return;
    if (problem !== this.lastProblem) log.warn({ problem }, 'Docker does not answer: containers that mappings lead to are not followed until it does');
    this.lastProblem = problem;
    this.say(this.current.kind === 'known' ? { ...this.current, problem } : { kind: 'unknown', problem });
    this.cancelRetry?.();
    this.cancelRetry = after(nextDelayMs({ attempt: this.attempt++, baseMs: RETRY_BASE_MS, maxMs: RETRY_MAX_MS, random }), () => {
      this.mayOpen = true;
      this.wake();
    });
  }

  private say(view: DockerView): void {
    this.current = view;
    this.options.onChange(view);
  }
}
