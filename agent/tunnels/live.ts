/** Other forwards on a connection that stands, without connecting anew. */
import type { Log } from '../../shared/log.js';
import type { Timers } from '../../shared/timers.js';
import { forwardArgument, isSameSpec } from './argv.js';
import type { HeldForward, HeldSpec, Wanted } from './words.js';

type Wish = { readonly spec: HeldSpec; readonly restart: number; readonly wanted: Wanted; readonly isFromConfig: boolean };

/** Forwards that change while it stands are no part of what it is started with: one that the server refuses would end them all. */
export function startedWith({ spec, isLive }: { readonly spec: HeldSpec; readonly isLive?: boolean }): HeldSpec {
  return isLive === true ? { ...spec, forwards: [] } : spec;
}

/** In nothing else. */
export function differsInForwards(a: Wish, b: Wish): boolean {
  return isSameSpec({ ...a.spec, forwards: [] }, { ...b.spec, forwards: [] }) && a.restart === b.restart && a.wanted === b.wanted && a.isFromConfig === b.isFromConfig;
}

export function forwardChanges(before: readonly HeldForward[], after: readonly HeldForward[]): { gone: HeldForward[]; added: HeldForward[] } {
  const textOf = (forward: HeldForward): string => forwardArgument(forward).join(' ');
  const old = new Set(before.map(textOf));
  const now = new Set(after.map(textOf));
  return { gone: before.filter(one => !now.has(textOf(one))), added: after.filter(one => !old.has(textOf(one))) };
}

type Link = { addForward(forward: HeldForward): Promise<unknown>; cancelForward(forward: HeldForward): Promise<unknown> };

/** `onChange`: told what the connection has after each step. Returns what the server did not take. */
export async function changeForwards(link: Link, { before, after, onChange }: { before: readonly HeldForward[]; after: readonly HeldForward[]; onChange: (forwards: readonly HeldForward[]) => void }): Promise<Error[]> {
  const { gone, added } = forwardChanges(before, after);
  const refused: Error[] = [];
  let now = before;
  const step = async (work: Promise<unknown>, next: readonly HeldForward[]): Promise<void> => {
    try {
      await work;
      now = next;
      onChange(now);
    } catch (error) {
      refused.push(error as Error);
    }
  };
  for (const forward of gone) await step(link.cancelForward(forward), now.filter(one => one !== forward));
  for (const forward of added) await step(link.addForward(forward), [...now, forward]);
  return refused;
}

/** What a server has refused once it may take a moment later: it had not heard of a lease yet, or an old connection had the port. */
const RETRY_MS = 1_000;

export type LiveForwardsOptions = {
  readonly id: string;
  readonly timers: Timers;
  readonly log: Log;
  /** Undefined while no connection stands. */
  readonly link: () => Link | undefined;
  /** What the connection is to have now. */
  readonly wanted: () => readonly HeldForward[];
  /** What has changed, or was refused. */
  readonly onChange: () => void;
  /** The server takes none: what it allows is fixed when a connection begins. */
  readonly connectAnew: () => void;
};

/** What one connection leads through; what the server refuses is tried again, and harms no other. */
export class LiveForwards {
  readonly #options: LiveForwardsOptions;
  #standing: readonly HeldForward[] = [];
  /** Which connection it is. */
  #turn = 0;
  #refusal = '';
  #changing: Promise<void> = Promise.resolve();
  #cancelRetry: () => void = () => undefined;
  #isClosed = false;

  constructor(options: LiveForwardsOptions) {
    this.#options = options;
  }

  get standing(): readonly HeldForward[] {
    return this.#standing;
  }

  /** Why the server does not take one; '' when it takes all. */
  get refusal(): string {
    return this.#refusal;
  }

  /** A new connection, with these. */
  begin(forwards: readonly HeldForward[]): void {
    this.#turn++;
    this.#standing = forwards;
  }

  /** The connection that stands gets what it lacks, and lets go of the rest; one change after the other. */
  async catchUp(): Promise<void> {
    this.#cancelRetry();
    await (this.#changing = this.#changing.then(() => this.#change()));
  }

  close(): void {
    this.#isClosed = true;
    this.#cancelRetry();
  }

  async #change(): Promise<void> {
    const { link, wanted, id, log, timers, onChange } = this.#options;
    const to = link();
    if (to === undefined) return;
    const turn = this.#turn;
    const refused = await changeForwards(to, { before: this.#standing, after: wanted(), onChange: forwards => { if (turn === this.#turn) this.#standing = forwards; } });
    if (turn !== this.#turn) return;
    if (refused.length > 0) {
      log.warn({ tunnel: id, refused: refused.length, problem: refused[0]?.message }, 'the server refuses forwards: they are tried again');
      this.#cancelRetry();
      if (!this.#isClosed) this.#cancelRetry = timers.after(RETRY_MS, () => this.#retry());
    }
    this.#refusal = refused[0]?.message ?? '';
    onChange();
  }

  #retry(): void {
    if (this.#standing.length === 0) this.#options.connectAnew();
    else void this.catchUp();
  }
}
