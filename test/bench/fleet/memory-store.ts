/** What a simulated agent accepted, kept in memory by the rules of the real store. */
import type { Delta } from '../../../shared/desired.js';
import { applyDelta, applyWelcome, NO_STATE, type AcceptedState } from '../../../agent/state/accepted.js';
import type { AcceptResult } from '../../../agent/state/store.js';

export class MemoryStore {
  #state: AcceptedState = NO_STATE;

  current(): AcceptedState {
    return this.#state;
  }

  welcome(session: number, epoch: number): Promise<'accepted' | 'older'> {
    const result = applyWelcome(this.#state, session, epoch);
    if (result.kind === 'accepted') this.#state = result.state;
    return Promise.resolve(result.kind);
  }

  /** Takes deltas in their order up to the first that is refused. */
  accept(deltas: readonly Delta[]): Promise<AcceptResult> {
    for (const delta of deltas) {
      const result = applyDelta(this.#state, delta);
      if (result.kind !== 'accepted') return Promise.resolve({ kind: result.kind, state: this.#state });
      this.#state = result.state;
    }
    return Promise.resolve({ kind: 'accepted', state: this.#state });
  }
}
