/** What this host allows tunnels to be. Pure. What its own config lists is the will of its owner; what comes over RPC meets the allow-lists. */
import { cidrContains, isIpAddress, isPublicHost, type Cidr } from '../../shared/names.js';
import { isPort } from '../../shared/ports.js';
import type { Endpoint } from '../../shared/tunnel.js';
import type { Server } from './argv.js';
import { OPTION_NAMES, optionProblem } from './options.js';
import type { HeldForward, HeldSpec, Why } from './words.js';

export type Policy = {
  readonly servers: Readonly<Record<string, Server>>;
  /** Options that specs which came over RPC may set. */
  readonly options: readonly string[];
  /** Where tunnels that came over RPC may listen on this host, and where their reverse forwards may lead to. Addresses of leases are added by who makes this. */
  readonly listen: readonly Cidr[];
  readonly to: readonly Cidr[];
  readonly minPort: number;
};

const MAX_FORWARDS = 64;
/** Of the connections that carry the ports of this host's own leases. */
const MAX_OWN_FORWARDS = 4_096;

/** Undefined: it may be. */
export function refusalOf(spec: HeldSpec, policy: Policy, { isFromConfig }: { isFromConfig: boolean }): Why | undefined {
  if (!Object.hasOwn(policy.servers, spec.server)) return { reason: 'SERVER_UNKNOWN', message: `tunnels.servers has no ${JSON.stringify(spec.server)}` };
  const option = optionProblem(spec.options, isFromConfig ? OPTION_NAMES : policy.options);
  if (option !== undefined) return { reason: 'OPTION_NOT_ALLOWED', message: option };
  const most = isFromConfig ? MAX_OWN_FORWARDS : MAX_FORWARDS;
  if (spec.forwards.length === 0 || spec.forwards.length > most) return forbidden(`it has ${spec.forwards.length} forwards: 1-${most} are allowed`);
  for (const forward of spec.forwards) {
    const problem = shapeProblem(forward) ?? (isFromConfig ? undefined : forwardProblem(forward, policy));
    if (problem !== undefined) return forbidden(problem);
  }
  return undefined;
}

function forbidden(message: string): Why {
  return { reason: 'FORWARD_NOT_ALLOWED', message };
}

/** Whatever passes becomes part of an argument. */
function shapeProblem({ direction, listen, to }: HeldForward): string | undefined {
  if ('socket' in listen) {
    if (!/^\/[A-Za-z0-9/._@+-]{1,99}$/.test(listen.socket)) return `${JSON.stringify(listen.socket.slice(0, 64))} is no path of a socket`;
  } else {
    if (direction === 'local' && !isIpAddress(listen.host)) return `${shown(listen)}: this host listens on addresses, not on names`;
    if (!isEnd(listen)) return `${shown(listen)} is no place to listen`;
  }
  return isEnd(to) ? undefined : `${shown(to)} is no place to connect to`;
}

function isEnd({ host, port }: Endpoint): boolean {
  return isPort(port) && (isIpAddress(host) || isPublicHost(host));
}

/** What listens on the server, or is connected to from there, is the server's to allow. */
function forwardProblem({ direction, listen, to }: HeldForward, policy: Policy): string | undefined {
  if (direction === 'reverse') return policy.to.some(cidr => cidrContains(cidr, to.host)) ? undefined : `a reverse forward may not lead to ${shown(to)}: tunnels.forwards.to`;
  if ('socket' in listen) return undefined;
  if (listen.port < policy.minPort) return `it may not listen on ports below ${policy.minPort}: tunnels.forwards.minPort`;
  return policy.listen.some(cidr => cidrContains(cidr, listen.host)) ? undefined : `it may not listen on ${shown(listen)}: tunnels.forwards.listen`;
}

function shown({ host, port }: Endpoint): string {
  return `${JSON.stringify(host.slice(0, 64))} port ${port}`;
}
