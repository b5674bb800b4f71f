/** When the book is calm again: every host answers, every mapping is live, and nothing of what was there is gone. */
import { MappingState } from '../../../shared/gen/portlease/v1/common.js';
import type { Mapping } from '../../../shared/gen/portlease/v1/ports.js';
import type { Api } from '../../support/api.js';
import { eventually } from '../../support/wait.js';
import { lossesOf, readLedger, type Ledger } from './ledger.js';

const UNSETTLED = [MappingState.MAPPING_STATE_PENDING, MappingState.MAPPING_STATE_HELD, MappingState.MAPPING_STATE_BLOCKED, MappingState.MAPPING_STATE_RELEASING];

export async function untilCalm(api: Api, agents: number, withinMs: number): Promise<void> {
  let last = '';
  await eventually('the book to be calm', async () => {
    const { hostsAlive, hostsSuspect, hostsLost, hostsUnknown } = await api.status();
    last = `${hostsAlive} hosts alive, ${hostsSuspect} suspect, ${hostsLost} lost, ${hostsUnknown} unknown`;
    if (hostsAlive !== agents) return false;
    for (const state of UNSETTLED) {
      const [found] = await api.mappings({ state, pageSize: 1 });
      if (found === undefined) continue;
      last = `mapping ${found.mappingId} of ${found.host} is ${MappingState[found.state]}: ${found.reason}`;
      return false;
    }
    return true;
  }, { withinMs, everyMs: 200, hint: () => last });
}

/** How many leases and mappings of `before`, and of those that were answered since, are not there any more. */
export async function countLost(api: Api, before: Ledger, answered: readonly Mapping[]): Promise<{ leases: number; mappings: number }> {
  const lost = lossesOf(before, answered, await readLedger(api));
  for (const [what, ids] of Object.entries(lost)) if (ids.length > 0) process.stdout.write(`  ${ids.length} ${what} lost, among them ${ids.slice(0, 5).join(', ')}\n`);
  return { leases: lost.leases.length, mappings: lost.mappings.length };
}
