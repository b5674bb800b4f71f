/** TunnelService: supervised SSH connections of hosts. */
import type {
  CreateTunnelRequest, CreateTunnelResponse, GetTunnelRequest, GetTunnelResponse, RemoveTunnelRequest, RestartTunnelRequest, RestartTunnelResponse, Tunnel, TunnelServiceServer,
} from '../../shared/gen/portlease/v1/tunnels.js';
import type { Refusal, TunnelView } from '../book/types.js';
import type { Gateways } from '../keeper/gateways.js';
import { Refused } from '../keeper/refused.js';
import { attempt, keeperOfHost, mutating, OPERATE, orRefuse, reading, type Call, type Services } from './calls.js';
import { waitOf } from './deadline.js';
import { listTunnels } from './lists.js';
import { parseCreateTunnel, parseTunnelName, parseTunnelOrder, type TunnelOrder } from './parse-tunnels.js';
import { tunnelToWire } from './tunnel-messages.js';
import { waitForTunnel, type TunnelOutcome } from './tunnel-waiting.js';
import { unknownHost, unknownTunnel } from './unknown.js';

export function tunnelService(services: Services): TunnelServiceServer {
  const { gateways } = services;
  /** Changes what is ordered of one tunnel, and answers with it as it is then. */
  const said = (action: string, kind: 'stopTunnel' | 'startTunnel') =>
    mutating<TunnelOrder, { tunnel: Tunnel }>(services, { right: OPERATE, attempt: attempt(action) }, async ({ request }, { actor }) => {
      const order = parseTunnelOrder(request);
      const keeper = await keeperOfHost(gateways, order.host);
      return { tunnel: tunnelToWire(orRefuse(await keeper.submit({ kind, actor, ...order }), 'tunnel').tunnel, keeper.gateway) };
    });
  return {
    createTunnel: mutating(services, { right: OPERATE, attempt: attempt('CreateTunnel') }, (call: Call<CreateTunnelRequest>, { actor }) => create(services, call, actor)),
    listTunnels: reading(services, 'inspect', (request) => listTunnels(gateways, request)),
    getTunnel: reading(services, 'inspect', (request) => get(gateways, request)),
    restartTunnel: mutating(services, { right: OPERATE, attempt: attempt('RestartTunnel') }, (call: Call<RestartTunnelRequest>, { actor }) => restart(services, call, actor)),
    stopTunnel: said('StopTunnel', 'stopTunnel'),
    startTunnel: said('StartTunnel', 'startTunnel'),
    removeTunnel: mutating(services, { right: OPERATE, attempt: attempt('RemoveTunnel') }, async ({ request }: Call<RemoveTunnelRequest>, { actor }) => {
      const order = parseTunnelOrder(request);
      const keeper = await keeperOfHost(gateways, order.host);
      const { tunnel } = orRefuse(await keeper.submit({ kind: 'removeTunnel', actor, ...order }), 'tunnelRemoved');
      return { tunnel: tunnel && tunnelToWire(tunnel, keeper.gateway) };
    }),
  };
}

/** Whatever it comes to until the deadline is the answer: it is recorded. */
async function create({ gateways }: Services, call: Call<CreateTunnelRequest>, actor: string): Promise<CreateTunnelResponse> {
  const spec = parseCreateTunnel(call.request);
  const keeper = await keeperOfHost(gateways, spec.host, 'spec.host');
  const { tunnel } = orRefuse(await keeper.submit({ kind: 'createTunnel', actor, spec }), 'tunnel');
  if (!call.request.wait) return { tunnel: tunnelToWire(tunnel, keeper.gateway) };
  const outcome = await waitForTunnel(keeper, { host: spec.host, tunnel: spec.tunnel, restart: tunnel.restart, forMs: waitOf(call), caller: call });
  if (outcome.kind === 'lost') throw new Refused(outcome.refusal);
  return { tunnel: tunnelToWire(outcome.tunnel ?? tunnel, keeper.gateway) };
}

async function get(gateways: Gateways, request: GetTunnelRequest): Promise<GetTunnelResponse> {
  const { host, tunnel } = parseTunnelName(request);
  const keeper = await keeperOfHost(gateways, host);
  const { isThere, view } = await keeper.read((book) => ({ isThere: book.hasHost(host), view: book.tunnel(host, tunnel) }));
  if (!isThere) throw unknownHost(host);
  if (view === undefined) throw unknownTunnel(host, tunnel);
  return { tunnel: tunnelToWire(view, keeper.gateway, view.report?.logTail) };
}

async function restart({ gateways }: Services, call: Call<RestartTunnelRequest>, actor: string): Promise<RestartTunnelResponse> {
  const order = parseTunnelOrder(call.request);
  const keeper = await keeperOfHost(gateways, order.host);
  const asked = orRefuse(await keeper.submit({ kind: 'restartTunnel', actor, ...order }), 'tunnel').tunnel;
  const outcome = await waitForTunnel(keeper, { ...order, restart: asked.restart, forMs: waitOf(call), caller: call });
  if (outcome.kind !== 'up') throw new Refused(refusalOf(order, outcome));
  return { tunnel: tunnelToWire(outcome.tunnel, keeper.gateway) };
}

function refusalOf(order: TunnelOrder, outcome: Exclude<TunnelOutcome, { kind: 'up' }>): Refusal {
  switch (outcome.kind) {
    case 'over':
    case 'lost': return outcome.refusal;
    case 'timeUp': return notInTime(order, outcome.tunnel);
    default: return outcome satisfies never;
  }
}

function notInTime({ host, tunnel }: TunnelOrder, view: TunnelView | undefined): Refusal {
  const { state = 'pending', reason = '', message = '' } = view ?? {};
  return {
    kind: 'refused', reason: 'TUNNEL_NOT_UP_IN_TIME', message: `tunnel ${tunnel} of host ${host} is not up yet, it is ${state}${message === '' ? '' : `: ${message}`}`,
    metadata: { host, tunnel, state, host_reason: reason },
  };
}
