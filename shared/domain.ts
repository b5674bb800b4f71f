/** Host names of environments: templates with {env}, {service} and {gateway}, and the DNS name that stands for all names of one. Pure. */

/** What the placeholders stand for: DNS labels. */
export type NameParts = { env: string; service: string; gateway: string };

/** "{env}.{service}.example.com" to "env-1.ssh.example.com". */
export function hostName(template: string, { env, service, gateway }: NameParts): string {
  return filled(template, { service, gateway }).replaceAll('{env}', env);
}

/**
 * Owner name of the one record that answers for every environment: "*.ssh.example.com". A wildcard is a whole label, the first one, and stands
 * for one or more labels (RFC 4592), so what is left of the last {env} is covered, too. Without {env}: the name itself.
 */
export function recordName(template: string, parts: Omit<NameParts, 'env'>): string {
  const labels = filled(template, parts).split('.');
  const last = labels.findLastIndex((label) => label.includes('{env}'));
  return last === -1 ? labels.join('.') : ['*', ...labels.slice(last + 1)].join('.');
}

function filled(template: string, { service, gateway }: Omit<NameParts, 'env'>): string {
  return template.replaceAll('{service}', service).replaceAll('{gateway}', gateway);
}

/** What {service} stands for in the names of a pool. */
export function serviceOf({ pool, serviceType }: { pool: string; serviceType: string }): string {
  return serviceType === '' ? pool : serviceType;
}

/** A gateway's pools, as far as names go. */
export type NamedPools = { gateway: string; pools: readonly { pool: string; serviceType: string; domainTemplate: string }[] };

/** A pool whose names lead to another gateway already: its environments could be reached through one of the two only. `at`: of which entry it is. */
export type NameTaken = { at: number; pool: string; name: string; gateway: string };

/** Of several gateways the first one has a name. */
export function namesTaken(all: readonly NamedPools[]): NameTaken[] {
  const owners = new Map<string, string>();
  const taken: NameTaken[] = [];
  for (const [at, { gateway, pools }] of all.entries()) {
    for (const pool of pools.filter(({ domainTemplate }) => domainTemplate !== '')) {
      const name = recordName(pool.domainTemplate, { service: serviceOf(pool), gateway });
      const owner = owners.get(name);
      if (owner === undefined) owners.set(name, gateway);
      else if (owner !== gateway) taken.push({ at, pool: pool.pool, name, gateway: owner });
    }
  }
  return taken;
}
