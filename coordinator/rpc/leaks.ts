/** ResolveLeak: what is there without what it is for is put right now, or it is said what would be done. */
import type { OperationsServiceServer } from '../../shared/gen/portlease/v1/operations.js';
import { leakKey } from '../book/book.js';
import type { Refusal } from '../book/types.js';
import type { Keeper } from '../keeper/keeper.js';
import { Refused } from '../keeper/refused.js';
import { attempt, keeperOfHost, mutating, OPERATE, orRefuse, type Services } from './calls.js';
import { waitOf } from './deadline.js';

import { leakViewToWire } from './messages.js';
import { parseLeak } from './parse-hosts.js';
import type { Caller } from './waiting.js';

type About = { host: string; leak: string };

export function leakChanges(options: Services): Pick<OperationsServiceServer, 'resolveLeak'> {
  return {
    resolveLeak: mutating(options, { right: OPERATE, attempt: attempt('ResolveLeak') }, async (call, { actor }) => {
      const about = parseLeak(call.request);
      const { dryRun } = call.request;
      const keeper = await keeperOfHost(options.gateways, about.host);
      const { leak } = orRefuse(await keeper.submit({ kind: 'resolveLeak', actor, ...about, dryRun }), 'resolving');
      if (!dryRun) await untilGone(keeper, about, { forMs: waitOf(call), caller: call });
      return { leak: leakViewToWire(leak, keeper.gateway), resolved: !dryRun };
    }),
  };
}

/** Rejects with Refused when it is still there after `forMs`, or when nobody can say any more. */
function untilGone(keeper: Keeper, about: About, { forMs, caller }: { forMs: number; caller: Caller }): Promise<void> {
  const { host, leak } = about;
  return new Promise((resolve, reject) => {
    const end = (refusal?: Refusal): void => {
      clearTimeout(timer);
      stop();
      if (refusal === undefined) resolve();
      else reject(new Refused(refusal));
    };
    const late = (): void => { end(notGone(about)); };
    const timer = setTimeout(late, forMs);
    const look = (): void => {
      keeper.read((book) => book.leak(host, leak)).then((view) => { if (view === undefined) end(); }, (error: unknown) => {
        if (error instanceof Refused) end(error.refusal);
      });
    };
    const stop = keeper.watch([leakKey(host, leak)], { onSeen: look, onLost: end });
    caller.once('cancelled', late);
    look();
  });
}

function notGone({ host, leak }: About): Refusal {
  return { kind: 'refused', reason: 'LEAK_NOT_GONE_IN_TIME', message: `host ${host} was asked to repair the leak ${leak}, and has not said that it is gone`, metadata: { host, leak } };
}
