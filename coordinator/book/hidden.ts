/** Where hosts cannot tell clients apart, client networks are refused: they would be enforced against the gateway's own address. */
import type { State } from './state.js';
import type { ClientLimits, Refusal } from './types.js';

/** The gateway's agent puts its own address in the place of the client's. */
export function hidesClients(state: State): boolean {
  return state.shared && state.gatewayAgent?.record.hidesClients === true;
}

/** Why the networks cannot be enforced behind this gateway; undefined when they can. */
export function refuseHidden(state: State, limits: ClientLimits | undefined, field: string): Refusal | undefined {
  if (limits === undefined || limits.networks.length === 0 || !hidesClients(state)) return undefined;
  const { gateway } = state.gateway;
  return {
    kind: 'refused', reason: 'CLIENTS_HIDDEN', field, metadata: { gateway },
    message: `the agent of gateway ${gateway} has snat: true or routes: nginx, so its hosts cannot tell clients apart`,
  };
}
