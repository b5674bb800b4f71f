/** Makes what a draft found the host's own. */
import type { Draft } from './draft.js';
import { grant } from './leases.js';
import { vacate } from './mappings.js';
import type { State } from './state.js';

/** Grants the leases that the draft counts on; its ports are picked already. */
export function takeUp(state: State, draft: Draft): void {
  for (const { holder, ports } of draft.grants) {
    for (let port = ports.first; port <= ports.last; port += 1) holder.free.remove(port);
    const picked = draft.picks.filter((pick) => pick.holder === holder && pick.port >= ports.first && pick.port <= ports.last);
    grant(state, holder, ports);
    for (const pick of picked) holder.free.remove(pick.port);
  }
  for (const mapping of draft.returning) vacate(state, mapping);
}
