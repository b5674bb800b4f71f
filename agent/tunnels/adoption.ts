/** What becomes of the processes that an earlier agent left. Pure. */
import type { TunnelEngine } from '../../shared/tunnel.js';
import type { TunnelProcess } from '../leaks/findings.js';
import type { TunnelRecord } from './records.js';
import type { Leader } from './words.js';

export type Wish = { readonly digest: string; readonly restart: number; readonly engine: TunnelEngine; readonly isWantedUp: boolean };

/** Taken over as it is, or ended before anything is started: it is not known, or not what is wanted now. */
export type Adoption = { readonly kind: 'adopt'; readonly leader: Leader } | { readonly kind: 'end' };

/** autossh and its ssh, which may be between two attempts. */
const MOST: Readonly<Record<TunnelEngine, number>> = { ssh: 1, autossh: 2 };

/** `processes`: with the mark of this tunnel, living. */
export function adoptionOf(record: TunnelRecord | undefined, processes: readonly TunnelProcess[], wish: Wish): Adoption {
  const leader = record?.leader;
  if (leader === undefined || !wish.isWantedUp || processes.length > MOST[wish.engine]) return { kind: 'end' };
  const isThere = processes.some(({ pid, startTicks, program }) => pid === leader.pid && startTicks === leader.startTicks && program === wish.engine);
  return isThere && record?.digest === wish.digest && record.restart === wish.restart ? { kind: 'adopt', leader } : { kind: 'end' };
}
