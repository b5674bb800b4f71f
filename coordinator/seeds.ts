/** Gateways and pools of the config, made where there is none of the name. */
import type { Log } from '../shared/log.js';
import type { GatewaySeed } from './config/pools.js';
import type { Gateways } from './keeper/gateways.js';
import { Refused } from './keeper/refused.js';

const ACTOR = 'config';

/** What is there already stays as it is, also where it differs from the seed: it may have been changed at run time. */
export async function applySeeds(gateways: Gateways, seeds: readonly GatewaySeed[], log: Log): Promise<void> {
  for (const { gateway, scope, publicHost, pools } of seeds) {
    const keeper = gateways.get(gateway) ?? await gateways.create({ gateway, scope, publicHost, actor: ACTOR });
    for (const pool of pools) {
      const reply = await keeper.submit({ kind: 'createPool', actor: ACTOR, pool, seed: true });
      if (reply.kind === 'refused' && reply.reason === 'JOURNAL_UNAVAILABLE') throw new Refused(reply);
      if (reply.kind === 'refused') log.warn({ gateway, pool: pool.pool, reason: reply.reason, message: reply.message }, 'a pool of the config was not made');
    }
  }
}
