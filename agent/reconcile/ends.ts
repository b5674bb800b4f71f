/** What must be confirmed: releases, withdrawals and fenced routes, with the connections that end for each. Pure. */
import { transportsOf } from '../../shared/ports.js';
import { canonicalAddress } from '../../shared/names.js';
import type { Confirmation } from '../../shared/desired.js';
import type { Cut, Endpoint } from '../drivers/connections/connections.js';
import type { ReconcileObject } from './objects.js';

/** Carried out when all of `cuts` have ended. */
export type End = { confirmation: Confirmation; cuts: Cut[] };

/** Undefined for an object of which nothing is to be confirmed. */
export function endOf(object: ReconcileObject): End | undefined {
  switch (object.kind) {
    case 'release': {
      const { key, generation, protocol, port, target, internalPort, cutMs } = object;
      // Where a container was is what the round knows that took its mapping away; before the agent's start, conntrack says it.
      const address = target.kind === 'address' ? canonicalAddress(target.address) : undefined;
      const from = address === undefined ? [] : [{ address, port: internalPort }];
      return ended({ key, generation, protocol, ports: { first: port, last: port } }, from, cutMs);
    }
    case 'withdrawal': return ended(object, [], object.cutMs);
    case 'route': return object.fence ? ended(object, [], object.cutMs) : undefined;
    case 'lease':
    case 'mapping': return undefined;
    default: return object satisfies never;
  }
}

function ended({ key, generation, ports, protocol }: Confirmation, from: Endpoint[], dropMs: number): End {
  return {
    confirmation: { key, generation, ports, protocol },
    cuts: transportsOf(protocol).map(transport => ({ transport, ports, from, dropMs })),
  };
}
