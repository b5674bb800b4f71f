/** OperationsService: what operators say of hosts. */
import type { HoldHostRequest, Host, OperationsServiceServer, ReplaceHostRequest, WaiveHostRequest } from '../../shared/gen/portlease/v1/operations.js';
import { msToTimestamp } from '../../shared/wire.js';
import type { Command, Reply } from '../book/types.js';
import type { Keeper } from '../keeper/keeper.js';
import { Refused } from '../keeper/refused.js';
import { attempt, keeperOfHost, mutating, OPERATE, orRefuse, type Services } from './calls.js';
import { hostToWire } from './messages.js';
import { parseHold, parseHost, parseHostAndReason, parseHostNote, parseOverride } from './parse-hosts.js';

type Part = Pick<OperationsServiceServer, 'createHost' | 'replaceHost' | 'reclaimHost' | 'waiveHost' | 'cordonHost' | 'uncordonHost' | 'drainHost' | 'holdHost' | 'forgetHost' | 'overrideMassLoss'>;
type WithoutActor<C> = C extends { actor: string } ? Omit<C, 'actor'> : never;
type AboutHost = WithoutActor<Extract<Command, { kind: 'replaceHost' | 'waiveHost' | 'cordonHost' | 'uncordonHost' | 'drainHost' | 'holdHost' }>>;

export function hostChanges(options: Services): Part {
  return { ...notes(options), ...takingBack(options) };
}

function notes(options: Services): Omit<Part, keyof ReturnType<typeof takingBack>> {
  const { gateways } = options;
  const hostNow = async (keeper: Keeper, reply: Reply) => {
    const { host: { host } } = orRefuse(reply, 'host');
    const view = await keeper.read((book) => book.host(host));
    return { host: view && hostToWire(view, keeper.gateway) };
  };
  /** Changes what is said of one host, and answers with it. */
  const said = <Request>(action: string, parse: (request: Request) => AboutHost) =>
    mutating<Request, { host: Host | undefined }>(options, { right: OPERATE, attempt: attempt(action) }, async ({ request }, { actor }) => {
      const about = parse(request);
      const keeper = await keeperOfHost(gateways, about.host);
      return hostNow(keeper, await keeper.submit({ ...about, actor }));
    });
  return {
    createHost: mutating(options, { right: OPERATE, attempt: attempt('CreateHost') }, async ({ request }, { actor }) => {
      const { gateway, ...host } = parseHost(request.host);
      const keeper = gateways.need(gateway, 'host.gateway');
      const home = gateways.homeOf(host.host);
      if (home !== undefined && home !== keeper) {
        throw new Refused({
          kind: 'refused', reason: 'HOST_EXISTS', message: `gateway ${home.gateway} has a host ${host.host}`, field: 'host.host',
          metadata: { host: host.host, gateway: home.gateway },
        });
      }
      return hostNow(keeper, await keeper.submit({ kind: 'createHost', actor, ...host }));
    }),
    replaceHost: said('ReplaceHost', (request: ReplaceHostRequest) => ({ kind: 'replaceHost', ...parseHostAndReason(request) })),
    waiveHost: said('WaiveHost', (request: WaiveHostRequest) => ({ kind: 'waiveHost', ...parseHostAndReason(request) })),
    cordonHost: said('CordonHost', (request) => ({ kind: 'cordonHost', ...parseHostNote(request) })),
    uncordonHost: said('UncordonHost', (request) => ({ kind: 'uncordonHost', ...parseHostNote(request) })),
    drainHost: said('DrainHost', (request) => ({ kind: 'drainHost', ...parseHostNote(request) })),
    holdHost: said('HoldHost', (request: HoldHostRequest) => ({ kind: 'holdHost', ...parseHold(request) })),
  };
}

function takingBack(options: Services): Pick<Part, 'reclaimHost' | 'forgetHost' | 'overrideMassLoss'> {
  const { gateways } = options;
  return {
    reclaimHost: mutating(options, { right: OPERATE, attempt: attempt('ReclaimHost') }, async ({ request }, { actor }) => {
      const about = parseHostAndReason(request);
      const keeper = await keeperOfHost(gateways, about.host);
      const { mappings, ports } = orRefuse(await keeper.submit({ kind: 'reclaimHost', actor, ...about, override: request.override }), 'reclaimed');
      return { mappings, ports };
    }),
    forgetHost: mutating(options, { right: OPERATE, attempt: attempt('ForgetHost') }, async ({ request }, { actor }) => {
      const { hostIsOff, gatewayIsOff } = request;
      const about = parseHostAndReason(request);
      const keeper = await keeperOfHost(gateways, about.host);
      const { mappings, ports, isGone } = orRefuse(await keeper.submit({ kind: 'forgetHost', actor, ...about, hostIsOff, gatewayIsOff }), 'forgotten');
      return { forgotten: isGone, mappings, ports };
    }),
    overrideMassLoss: mutating(options, { right: OPERATE, attempt: attempt('OverrideMassLoss') }, async ({ request }, { actor }) => {
      const { gateway, ...override } = parseOverride(request);
      const { untilMs } = orRefuse(await gateways.need(gateway).submit({ kind: 'overrideMassLoss', actor, ...override }), 'overridden');
      return { overriddenUntil: untilMs === 0 ? undefined : msToTimestamp(untilMs) };
    }),
  };
}
