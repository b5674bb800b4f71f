/** The DNS records that make the host names of environments lead to their gateways. Pure. */
import { GatewayScope, type Gateway, type Pool } from '../../shared/gen/portlease/v1/operations.js';
import { recordName, serviceOf } from '../../shared/domain.js';
import { ipFamily } from '../../shared/names.js';

/** One record to be created. `pools`: those whose names it answers for; `name` has no dot at its end. */
export type DnsRecord = { name: string; type: 'A' | 'AAAA' | 'CNAME'; value: string; gateway: string; pools: string[] };

/** `problems`: names that no record can serve. */
export type DnsPlan = { records: DnsRecord[]; problems: string[] };

export function dnsPlan(gateways: readonly Gateway[], pools: readonly Pool[]): DnsPlan {
  const records = new Map<string, DnsRecord>();
  const problems: string[] = [];
  for (const gateway of gateways) {
    for (const pool of pools.filter((one) => one.gateway === gateway.gateway && one.domainTemplate !== '')) {
      const problem = add(records, gateway, pool);
      if (problem !== undefined) problems.push(problem);
    }
  }
  return { records: [...records.values()], problems };
}

/** Says why there is none. */
function add(records: Map<string, DnsRecord>, { gateway, scope, publicHost }: Gateway, { pool, serviceType, domainTemplate }: Pool): string | undefined {
  if (scope === GatewayScope.GATEWAY_SCOPE_HOST) return `pool ${pool} of ${gateway}: in scope host each host has an address of its own, and one record has one address; use the hosts' own names`;
  const name = recordName(domainTemplate, { service: serviceOf({ pool, serviceType }), gateway });
  const known = records.get(name);
  if (known !== undefined && known.gateway !== gateway) return `pool ${pool} of ${gateway}: ${name} leads to gateway ${known.gateway} already; put {gateway} in the template of the pool`;
  if (known === undefined) records.set(name, { name, type: typeOf(publicHost), value: publicHost, gateway, pools: [pool] });
  else known.pools.push(pool);
  return undefined;
}

function typeOf(publicHost: string): DnsRecord['type'] {
  switch (ipFamily(publicHost)) {
    case 4: return 'A';
    case 6: return 'AAAA';
    case undefined: return 'CNAME';
  }
}

/** A name that the record must answer for. */
export function probeName({ name }: DnsRecord, label: string): string {
  return name.replace('*', label);
}

/** A line of a zone file. */
export function zoneLine({ name, type, value }: DnsRecord): string {
  return `${name}. 300 IN ${type} ${value}${type === 'CNAME' ? '.' : ''}`;
}
