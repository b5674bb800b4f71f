/** How people reach a service: by a host name and a port, a URL or a command. Pure. */
import { ipFamily } from './names.js';
import type { TlsMode } from './desired.js';
import { hostName, serviceOf } from './domain.js';

/** `hostName`: a DNS name, or an address. `url` and `command`: '' for services that have none. */
export type Access = { hostName: string; url: string; command: string };

/** What of a pool decides about it. */
export type AccessPool = { pool: string; serviceType: string; aliases: readonly string[]; domainTemplate: string; tls?: TlsMode };

/** Service types that are looked at in a browser. */
const HTTP: ReadonlySet<string> = new Set(['http', 'web', 'jupyter', 'jupyterlab', 'code', 'code-server', 'tensorboard']);
const SSH: ReadonlySet<string> = new Set(['ssh', 'ssh-linux', 'ssh-windows']);

export type AccessOf = {
  environment: string;
  gateway: string;
  /** Undefined when the pool is gone. */
  pool: AccessPool | undefined;
  /** In scope host the environment's host has an address of its own, which no name of the template leads to. */
  scope: 'shared' | 'host';
  publicHost: string;
  port: number;
};

export function accessOf({ environment, gateway, pool, scope, publicHost, port }: AccessOf): Access {
  const isNamed = pool !== undefined && pool.domainTemplate !== '' && scope === 'shared';
  const name = isNamed ? hostName(pool.domainTemplate, { env: environment, service: serviceOf(pool), gateway }) : publicHost;
  const types = pool === undefined ? [] : [pool.serviceType, ...pool.aliases];
  const speaks = (known: ReadonlySet<string>): boolean => name !== '' && types.some((type) => known.has(type));
  const scheme = isTls(scope, pool) ? 'https' : 'http';
  return {
    hostName: name,
    url: speaks(HTTP) ? `${scheme}://${ipFamily(name) === 6 ? `[${name}]` : name}:${port}/` : '',
    command: speaks(SSH) ? `ssh -p ${port} ${name}` : '',
  };
}

/** Where TLS really ends: at the gateway, which serves nothing of such a pool without it, or at the service, as the operator says. */
function isTls(scope: AccessOf['scope'], pool: AccessPool | undefined): boolean {
  return pool?.tls === 'passthrough' || (pool?.tls === 'terminate' && scope === 'shared');
}
