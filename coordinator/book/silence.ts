/** What silent hosts are spared: nothing is reclaimed from one that an operator keeps. */
import type { Host, State } from './state.js';

/** What a lost host has may be taken because others need it. */
export function mayReclaim(state: State, host: Host): boolean {
  return host.record.keptUntilMs <= state.nowMs;
}
