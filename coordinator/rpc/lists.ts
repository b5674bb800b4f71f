/** Lists over all gateways, in one order, in pages. */
import type { ListConflictsRequest, ListConflictsResponse, ListLeaksRequest, ListLeaksResponse, ListLeasesRequest, ListLeasesResponse } from '../../shared/gen/portlease/v1/operations.js';
import { MappingState as WireState } from '../../shared/gen/portlease/v1/common.js';
import type { ListEnvironmentsRequest, ListEnvironmentsResponse, ListMappingsRequest, ListMappingsResponse } from '../../shared/gen/portlease/v1/ports.js';
import type { ListTunnelsRequest, ListTunnelsResponse } from '../../shared/gen/portlease/v1/tunnels.js';
import type { Book, ConflictView } from '../book/book.js';
import type { EnvironmentRecord, LeaseRecord, MappingRecord } from '../book/types.js';
import type { Gateways } from '../keeper/gateways.js';
import type { Keeper } from '../keeper/keeper.js';
import { Checks } from './checks.js';
import { conflictViewToWire, environmentToWire, leakViewToWire, leaseToWire, mappingStateToWire, mappingToWire, namingOf } from './messages.js';
import { pageSize, pageToken, positionOf } from './pages.js';
import { parseTunnelFilter } from './parse-tunnels.js';
import { tunnelToWire } from './tunnel-messages.js';
import { parseEnvironmentFilter, parseMappingFilter, type EnvironmentFilter, type MappingFilter } from './parse-ports.js';

/** An element with the key that orders the list. */
type Keyed<T> = { key: string; value: T };

type Listing<T> = {
  list: string;
  filter: { gateway: string };
  request: { pageSize: number; pageToken: string };
  /** The first `limit` elements after the key `after`, in order of key. */
  read: (book: Book, after: string, limit: number) => Keyed<T>[];
};

type Page<T> = { elements: T[]; nextPageToken: string; revisions: Record<string, number> };

/** Reads one element more than fits, to know whether there is another page. */
async function page<T>(gateways: Gateways, { list, filter, request, read }: Listing<T>): Promise<Page<T>> {
  const size = pageSize(request.pageSize);
  const after = positionOf(request.pageToken, { list, filter });
  const keepers = chosen(gateways, filter.gateway);
  const parts = await Promise.all(keepers.map((keeper) => keeper.read((book) => ({
    gateway: keeper.gateway, revision: book.sequence, found: read(book, after, size + 1),
  }))));
  const all = parts.flatMap(({ found }) => found);
  if (parts.length > 1) all.sort((a, b) => (a.key < b.key ? -1 : 1));
  const last = all.length > size ? all[size - 1] : undefined;
  return {
    elements: all.slice(0, size).map(({ value }) => value),
    nextPageToken: last === undefined ? '' : pageToken({ list, filter, after: last.key }),
    revisions: Object.fromEntries(parts.map(({ gateway, revision }) => [gateway, revision])),
  };
}

function chosen(gateways: Gateways, gateway: string): Keeper[] {
  return gateway === '' ? gateways.all() : [gateways.need(gateway)];
}

export async function listEnvironments(gateways: Gateways, request: ListEnvironmentsRequest): Promise<ListEnvironmentsResponse> {
  const filter = parseEnvironmentFilter(request);
  const { elements, ...rest } = await page(gateways, {
    list: 'environments', filter, request,
    read: (book, after, limit) => {
      const naming = namingOf(book);
      return book.environmentsAfter(after, limit, ({ environment }) => fitsEnvironment(environment, filter))
        .map((view) => ({ key: view.environment.environment, value: environmentToWire(view, naming) }));
    },
  });
  return { environments: elements, ...rest };
}

function fitsEnvironment({ tenant, host, labels }: EnvironmentRecord, filter: EnvironmentFilter): boolean {
  return (filter.tenant === '' || tenant === filter.tenant) && (filter.host === '' || host === filter.host)
    && Object.entries(filter.labels).every(([key, value]) => labels[key] === value);
}

export async function listMappings(gateways: Gateways, request: ListMappingsRequest): Promise<ListMappingsResponse> {
  const filter = parseMappingFilter(request);
  const { elements, ...rest } = await page(gateways, {
    list: 'mappings', filter, request,
    read: (book, after, limit) => {
      const naming = namingOf(book);
      return book.mappingsAfter(after, limit, (record) => fitsMapping(record, filter))
        .map((record) => ({ key: record.mappingId, value: mappingToWire(record, naming) }));
    },
  });
  return { mappings: elements, ...rest };
}

function fitsMapping(record: MappingRecord, filter: MappingFilter): boolean {
  return (filter.tenant === '' || record.tenant === filter.tenant) && (filter.pool === '' || record.pool === filter.pool)
    && (filter.host === '' || record.host === filter.host) && (filter.environment === '' || record.environment === filter.environment)
    && (filter.port === 0 || record.port === filter.port)
    && (filter.state === WireState.MAPPING_STATE_UNSPECIFIED || mappingStateToWire(record.state) === filter.state);
}

export async function listLeases(gateways: Gateways, request: ListLeasesRequest): Promise<ListLeasesResponse> {
  const filter = hostFilter(request);
  const { elements, nextPageToken } = await page(gateways, {
    list: 'leases', filter, request,
    read: (book, after, limit) => {
      const { gateway } = book.gateway;
      const fitting = book.leases().map((view) => ({ key: leaseKey(view.record), view }))
        .filter(({ key, view: { record } }) => key > after && (filter.host === '' || record.host === filter.host) && (filter.pool === '' || record.pool === filter.pool));
      return fitting.slice(0, limit).map(({ key, view }) => ({ key, value: leaseToWire(view, gateway) }));
    },
  });
  return { leases: elements, nextPageToken };
}

/** Orders by space, then first port: '!' sorts before every character of a space. */
function leaseKey({ space, first, leaseId }: LeaseRecord): string {
  return `${space}!${String(first).padStart(5, '0')}!${leaseId}`;
}

export async function listConflicts(gateways: Gateways, request: ListConflictsRequest): Promise<ListConflictsResponse> {
  const filter = hostFilter(request);
  const { elements, nextPageToken } = await page(gateways, {
    list: 'conflicts', filter, request,
    read: (book, after, limit) => {
      const { gateway } = book.gateway;
      const fitting = book.conflicts().map((view) => ({ key: conflictKey(view), view }))
        .filter(({ key, view }) => key > after && (filter.host === '' || view.host === filter.host) && (filter.pool === '' || view.pool === filter.pool));
      return fitting.slice(0, limit).map(({ key, view }) => ({ key, value: conflictViewToWire(view, gateway) }));
    },
  });
  return { conflicts: elements, nextPageToken };
}

function conflictKey({ host, conflict: { port, transport } }: ConflictView): string {
  return `${host}!${String(port).padStart(5, '0')}!${transport}`;
}

export async function listLeaks(gateways: Gateways, request: ListLeaksRequest): Promise<ListLeaksResponse> {
  const filter = hostFilter(request);
  const { elements, nextPageToken } = await page(gateways, {
    list: 'leaks', filter, request,
    read: (book, after, limit) => {
      const { gateway } = book.gateway;
      const fitting = book.leaks().map((view) => ({ key: `${view.host}!${view.leak.id}`, view }))
        .filter(({ key, view }) => key > after && (filter.host === '' || view.host === filter.host) && (filter.pool === '' || view.pool === filter.pool));
      return fitting.slice(0, limit).map(({ key, view }) => ({ key, value: leakViewToWire(view, gateway) }));
    },
  });
  return { leaks: elements, nextPageToken };
}

/** In order of gateway, host and name. */
export async function listTunnels(gateways: Gateways, request: ListTunnelsRequest): Promise<ListTunnelsResponse> {
  const filter = parseTunnelFilter(request);
  const { elements, nextPageToken } = await page(gateways, {
    list: 'tunnels', filter, request,
    read: (book, after, limit) => {
      const { gateway } = book.gateway;
      const keyOf = (host: string, tunnel: string): string => `${gateway}!${host}!${tunnel}`;
      const fits = (host: string, tunnel: string): boolean => keyOf(host, tunnel) > after && (filter.host === '' || host === filter.host);
      return book.tunnels(fits, limit).map((view) => ({ key: keyOf(view.host, view.spec.tunnel), value: tunnelToWire(view, gateway) }));
    },
  });
  return { tunnels: elements, nextPageToken };
}

function hostFilter(request: { gateway: string; host: string; pool: string }): { gateway: string; host: string; pool: string } {
  const checks = new Checks();
  const filter = {
    gateway: checks.optionalLabel(request.gateway, 'gateway'),
    host: checks.optionalLabel(request.host, 'host'),
    pool: checks.optionalLabel(request.pool, 'pool'),
  };
  checks.done();
  return filter;
}
