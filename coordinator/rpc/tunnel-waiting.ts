/** Waits for a tunnel: until it is up, until nothing more can come of it, or the time is up. */
import type { Book } from '../book/book.js';
import type { Refusal, TunnelView } from '../book/types.js';
import type { Keeper } from '../keeper/keeper.js';
import { Refused } from '../keeper/refused.js';
import type { Caller } from './waiting.js';

export type TunnelOutcome =
  | { kind: 'up'; tunnel: TunnelView }
  /** It will not be up before somebody does something. */
  | { kind: 'over'; tunnel: TunnelView | undefined; refusal: Refusal }
  | { kind: 'timeUp'; tunnel: TunnelView | undefined }
  | { kind: 'lost'; refusal: Refusal };

/** `restart`: its connection is to be of this one, or a later one. */
type Waiting = { host: string; tunnel: string; restart: number; forMs: number; caller: Caller };

/** Never rejects. `forMs` from now on. */
export function waitForTunnel(keeper: Keeper, waiting: Waiting): Promise<TunnelOutcome> {
  const { host, tunnel, forMs, caller } = waiting;
  return new Promise((resolve) => {
    let last: TunnelView | undefined;
    let isOver = false;
    const end = (outcome: TunnelOutcome): void => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      stop();
      resolve(outcome);
    };
    const timeUp = (): void => { end({ kind: 'timeUp', tunnel: last }); };
    const timer = setTimeout(timeUp, forMs);
    const look = (): void => {
      keeper.read((book: Book) => book.tunnel(host, tunnel)).then((view) => {
        last = view;
        const outcome = outcomeOf(view, waiting);
        if (outcome !== undefined) end(outcome);
      }, (error: unknown) => {
        if (error instanceof Refused) end({ kind: 'lost', refusal: error.refusal });
      });
    };
    const stop = keeper.watch([`tunnel/${host}/${tunnel}`], { onSeen: look, onLost: (refusal) => { end({ kind: 'lost', refusal }); } });
    caller.once('cancelled', timeUp);
    if (caller.cancelled) timeUp();
  });
}

function outcomeOf(view: TunnelView | undefined, { host, tunnel, restart }: Waiting): TunnelOutcome | undefined {
  const over = (reason: Refusal['reason'], message: string, more: Record<string, string> = {}): TunnelOutcome =>
    ({ kind: 'over', tunnel: view, refusal: { kind: 'refused', reason, message, metadata: { host, tunnel, ...more } } });
  if (view === undefined) return over('TUNNEL_UNKNOWN', `tunnel ${tunnel} of host ${host} was removed meanwhile`);
  if (view.reason === 'HOST_LOST') return over('HOST_LOST', `host ${host} is lost: nobody knows of tunnel ${tunnel}`);
  if (view.reason === 'TUNNEL_OF_CONFIG') return over('TUNNEL_OF_CONFIG', view.message);
  if (view.isStopped) return over('TUNNEL_STOPPED', `tunnel ${tunnel} of host ${host} was stopped meanwhile`);
  if (view.report === undefined || view.report.restart < restart) return undefined;
  if (view.state === 'up') return { kind: 'up', tunnel: view };
  return view.state === 'refused' ? over('TUNNEL_REFUSED', `host ${host} does not allow tunnel ${tunnel}: ${view.message === '' ? view.reason : view.message}`, { host_reason: view.reason }) : undefined;
}
