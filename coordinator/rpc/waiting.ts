/** Waits until mappings are what a caller asked for, the host refuses one, the caller goes, or the time is up. */
import type { MappingRecord, MappingState, Refusal } from '../book/types.js';
import type { Keeper } from '../keeper/keeper.js';
import type { Seen } from '../keeper/watchers.js';

export type Goal = 'live' | 'verified' | 'released';

export type Outcome =
  | { kind: 'reached' }
  | { kind: 'blocked'; mapping: MappingRecord }
  /** They were given up, or moved to a silent host, while somebody waited for them to be live. */
  | { kind: 'gone'; mapping: MappingRecord | undefined; mappingId: string }
  | { kind: 'timeUp'; open: readonly string[] }
  | { kind: 'lost'; refusal: Refusal }
  | { kind: 'cancelled' };

type Step = 'there' | 'notYet' | 'blocked' | 'gone';

function stepOf({ mapping, verified }: Seen, goal: Goal): Step {
  const state = mapping?.state ?? 'released';
  if (goal === 'released') return STEP_TO_LIVE[state] === 'gone' && state !== 'releasing' ? 'there' : 'notYet';
  const isUnverified = state === 'live' && goal === 'verified' && !verified && mapping?.protocol !== 'udp';
  return isUnverified ? 'notYet' : STEP_TO_LIVE[state];
}

const STEP_TO_LIVE: Record<MappingState, Step> = {
  live: 'there', pending: 'notYet', held: 'notYet', blocked: 'blocked', releasing: 'gone', quarantined: 'gone', released: 'gone',
};

export type Caller = { readonly cancelled: boolean; once(event: 'cancelled', listener: () => void): unknown };

/** Never rejects. `forMs` from now on. */
export function waitFor(keeper: Keeper, { mappingIds, goal, forMs, caller }: { mappingIds: readonly string[]; goal: Goal; forMs: number; caller: Caller }): Promise<Outcome> {
  return new Promise((resolve) => {
    const open = new Set(mappingIds);
    const end = (outcome: Outcome): void => {
      clearTimeout(timer);
      stop();
      resolve(outcome);
    };
    const timer = setTimeout(() => { end({ kind: 'timeUp', open: [...open] }); }, forMs);
    const onSeen = (seen: Seen): void => {
      switch (stepOf(seen, goal)) {
        case 'notYet': open.add(seen.mappingId); return;
        case 'blocked': if (seen.mapping !== undefined) end({ kind: 'blocked', mapping: seen.mapping }); return;
        case 'gone': return end({ kind: 'gone', mapping: seen.mapping, mappingId: seen.mappingId });
        case 'there':
          open.delete(seen.mappingId);
          if (open.size === 0) end({ kind: 'reached' });
      }
    };
    const stop = keeper.watch([...open], { onSeen, onLost: (refusal) => { end({ kind: 'lost', refusal }); } });
    caller.once('cancelled', () => { end({ kind: 'cancelled' }); });
    if (caller.cancelled) end({ kind: 'cancelled' });
  });
}
