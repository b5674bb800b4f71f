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

/** `processes`: with the mark of this tunnel, living. A record without a leader was written right before a start: the one that then was started is its leader. */
export function adoptionOf(record: TunnelRecord | undefined, processes: readonly TunnelProcess[], wish: Wish): Adoption {
  const leads = processes.filter(({ program }) => program === wish.engine);
  const [leader] = record?.leader === undefined ? leads : leads.filter(({ pid, startTicks }) => pid === record.leader?.pid && startTicks === record.leader.startTicks);
  const isWanted = wish.isWantedUp && record?.digest === wish.digest && record.restart === wish.restart;
  if (leader === undefined || !isWanted || leads.length > 1 || processes.length > MOST[wish.engine]) return { kind: 'end' };
  return { kind: 'adopt', leader: { pid: leader.pid, startTicks: leader.startTicks } };
}
