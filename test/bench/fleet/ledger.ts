/** What the coordinator's book says of leases and mappings, and what of an earlier reading is no longer there. */
import { LeaseState, ListLeasesRequest, OperationsServiceService, type Lease } from '../../../shared/gen/portlease/v1/operations.js';
import { ListMappingsRequest, PortServiceService, type Mapping } from '../../../shared/gen/portlease/v1/ports.js';
import type { Api } from '../../support/api.js';

export type Ledger = { leases: Map<string, Lease>; mappings: Map<string, Mapping> };

const PAGE_SIZE = 1_000;

export async function readLedger(api: Api): Promise<Ledger> {
  const leases = await pages(async (pageToken) => {
    const { leases: elements, nextPageToken } = await api.call(OperationsServiceService.listLeases, ListLeasesRequest.fromPartial({ pageSize: PAGE_SIZE, pageToken }));
    return { elements, nextPageToken };
  });
  const mappings = await pages(async (pageToken) => {
    const { mappings: elements, nextPageToken } = await api.call(PortServiceService.listMappings, ListMappingsRequest.fromPartial({ pageSize: PAGE_SIZE, pageToken }));
    return { elements, nextPageToken };
  });
  return { leases: new Map(leases.map((lease) => [lease.leaseId, lease])), mappings: new Map(mappings.map((mapping) => [mapping.mappingId, mapping])) };
}

async function pages<T>(read: (token: string) => Promise<{ elements: T[]; nextPageToken: string }>): Promise<T[]> {
  const all: T[] = [];
  for (let token = '', isFirst = true; isFirst || token !== ''; isFirst = false) {
    const { elements, nextPageToken } = await read(token);
    all.push(...elements);
    token = nextPageToken;
  }
  return all;
}

/**
 * Leases that are gone, of another host, range or generation, or not active; mappings of the earlier reading, and of those that were answered
 * since, that are gone or have another host or port.
 */
export function lossesOf(before: Ledger, answered: readonly Mapping[], now: Ledger): { leases: string[]; mappings: string[] } {
  const leases = [...before.leases.values()].filter((lease) => {
    const found = now.leases.get(lease.leaseId);
    return found?.state !== LeaseState.LEASE_STATE_ACTIVE || found.host !== lease.host || found.generation !== lease.generation
      || found.ports?.first !== lease.ports?.first || found.ports?.last !== lease.ports?.last;
  });
  const mappings = [...before.mappings.values(), ...answered].filter((mapping) => {
    const found = now.mappings.get(mapping.mappingId);
    return found === undefined || found.host !== mapping.host || found.publicPort !== mapping.publicPort || found.space !== mapping.space;
  });
  return { leases: leases.map(({ leaseId }) => leaseId), mappings: mappings.map(({ mappingId }) => mappingId) };
}
