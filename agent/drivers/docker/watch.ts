/**
 * Knows the containers of this machine at every moment. Promises:
 * - the event stream is open before all containers are looked at, so nothing is missed in between; after each break all begins anew;
 * - a container that has died is known as stopped from its event on, before anything more is asked;
 * - while Docker does not answer what was known last stays: nobody can take over an address meanwhile.
 */
import { nextDelayMs } from '../../../shared/backoff.js';
import type { Log } from '../../../shared/log.js';
import type { After } from '../../../shared/timers.js';
import type { DockerClient } from './client.js';
import type { DockerEvent } from './events.js';
import { Containers, type Container } from './containers.js';

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
  onChange(view: DockerView): void;
};

/** Containers that are asked for together. */
const AT_ONCE = 32;
const RETRY_BASE_MS = 100;
/** A socket that is not there is soon found missing. */
const RETRY_MAX_MS = 1_000;

export class DockerWatch {
  private current: DockerView = { kind: 'unknown', problem: 'Docker was not asked yet' };
  private stream: { close(): void } | undefined;
  private mayOpen = true;
  private readonly dirty = new Set<string>();
  private networksAreDirty = false;
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
    this.stream?.close();
    await this.working;
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
    return this.stream === undefined ? this.mayOpen : this.dirty.size > 0 || this.networksAreDirty;
  }

  private async work(): Promise<void> {
    while (this.hasWork) {
      try {
        await (this.stream === undefined ? this.open() : this.lookAtDirty());
      } catch (error) {
        this.stream?.close();
        this.lost(error instanceof Error ? error.message : String(error));
      }
      this.firstIsOver();
    }
  }

  private async open(): Promise<void> {
    const { client, log } = this.options;
    this.mayOpen = false;
    this.stream = await client.follow({ onEvent: event => this.note(event), onEnd: problem => this.lost(problem) });
    this.dirty.clear();
    this.networksAreDirty = false;
    if (await client.isRootless()) this.say({ kind: 'rootless' });
    else {
      const [networks, containers] = await Promise.all([client.networks(), client.containers()]);
      this.say({ kind: 'known', containers: new Containers(containers, networks), problem: undefined });
    }
    if (this.lastProblem !== undefined) log.info('Docker answers again');
    this.lastProblem = undefined;
    this.attempt = 0;
  }

  private note(event: DockerEvent): void {
    if (event.kind === 'network') {
      this.networksAreDirty = true;
      if (event.container !== undefined) this.dirty.add(event.container);
    } else {
      this.dirty.add(event.id);
      if (event.action === 'die') this.hasDied(event.id);
    }
    this.wake();
  }

  private hasDied(id: string): void {
    if (this.current.kind !== 'known') return;
    const container = this.current.containers.get(id);
    if (container === undefined) return;
    const stopped: Container = { ...container, state: 'exited', published: [], attachments: container.attachments.map(one => ({ ...one, v4: undefined, v6: undefined })) };
    this.say({ ...this.current, containers: this.current.containers.with([[id, stopped]]) });
  }

  private async lookAtDirty(): Promise<void> {
    const ids = [...this.dirty].slice(0, AT_ONCE);
    const { client } = this.options;
    const asksNetworks = this.networksAreDirty;
    for (const id of ids) this.dirty.delete(id);
    this.networksAreDirty = false;
    const found = Promise.all(ids.map(async id => [id, await client.container(id)] as const));
    const [containers, networks] = await Promise.all([found, asksNetworks ? client.networks() : undefined]);
    if (this.current.kind !== 'known') return;
    // What has had another event meanwhile is looked at again.
    const changed = containers.filter(([id]) => !this.dirty.has(id));
    this.say({ kind: 'known', containers: this.current.containers.with(changed, networks), problem: undefined });
  }

  private lost(problem: string): void {
    const { log, after, random } = this.options;
    this.stream = undefined;
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
