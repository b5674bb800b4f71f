/** Which hosts the simulated fleet has, behind which gateways, and which process plays which of them. */
import type { Role } from '../../../shared/desired.js';
import type { Scope } from '../../../coordinator/book/types.js';

export type PlannedAgent = { host: string; gateway: string; role: Role; address: string };
export type PlannedGateway = { gateway: string; scope: Scope; publicHost: string; pools: Record<string, string> };
export type Fleet = { gateways: PlannedGateway[]; agents: PlannedAgent[] };

/** Hosts behind one public address: as many as its 15,000 ports serve well. */
const SHARED_HOSTS = 500;
/** Hosts with a public address of their own, in one group. */
const DIRECT_HOSTS = 5_000;
/** As in the ready-made plans: of a domain plan behind one address, of a service plan where each host has its own. */
const SHARED_POOLS = { ssh: '50000-53883', jupyter: '53884-57767' };
const DIRECT_POOLS = { ssh: '30000-30999', jupyter: '38000-38999' };

/**
 * Shares of the fleet that fall silent together, one process each. The first is a third of the fleet, the first two are 60 % of it: a process that
 * is stopped says nothing more, and its connections stay open, as those of machines without power do.
 */
export const SHARES: readonly number[] = [1 / 3, 4 / 15, 2 / 5];

/** Half of the hosts behind shared gateways, each with an agent of its own, the others with public addresses of their own. */
export function planFleet(hosts: number): Fleet {
  const shared = Math.ceil(hosts / 2);
  const fleet: Fleet = { gateways: [], agents: [] };
  addHosts(fleet, { scope: 'shared', prefix: 'edge', pools: SHARED_POOLS, hosts: shared, each: SHARED_HOSTS });
  addHosts(fleet, { scope: 'host', prefix: 'direct', pools: DIRECT_POOLS, hosts: hosts - shared, each: DIRECT_HOSTS });
  return fleet;
}

type Part = { scope: Scope; prefix: string; pools: Record<string, string>; hosts: number; each: number };

function addHosts({ gateways, agents }: Fleet, { scope, prefix, pools, hosts, each }: Part): void {
  for (let at = 0; at < hosts; at += 1) {
    const gateway = `${prefix}-${Math.floor(at / each) + 1}`;
    if (at % each === 0) {
      gateways.push({ gateway, scope, publicHost: scope === 'shared' ? `${gateway}.example.com` : '', pools });
      if (scope === 'shared') agents.push({ host: `${gateway}-router`, gateway, role: 'gateway', address: addressOf(agents.length) });
    }
    agents.push({ host: `${gateway}-host-${at % each}`, gateway, role: 'host', address: addressOf(agents.length) });
  }
}

/** 10.0.0.0/8 has room for 16 million. */
function addressOf(index: number): string {
  const number = index + 256;
  return `10.${(number >>> 16) & 255}.${(number >>> 8) & 255}.${number & 255}`;
}

/** The agents of each process. Hosts of every gateway are in every group; agents of gateways are in the last one, which never falls silent. */
export function groupsOf(agents: readonly PlannedAgent[]): PlannedAgent[][] {
  const groups: PlannedAgent[][] = SHARES.map(() => []);
  let position = 0;
  for (const agent of agents) {
    // A step that is no multiple of a share's size spreads each gateway's hosts over all groups.
    position = (position + GOLDEN) % 1;
    groups[agent.role === 'gateway' ? groups.length - 1 : groupAt(position)]?.push(agent);
  }
  return groups;
}

const GOLDEN = (Math.sqrt(5) - 1) / 2;

function groupAt(position: number): number {
  let end = 0;
  for (const [group, share] of SHARES.entries()) {
    end += share;
    if (position < end) return group;
  }
  return SHARES.length - 1;
}
