/** `portlease leases`. */
import type { Command } from 'commander';
import { ListLeasesResponse, OperationsServiceService, type Lease } from '../../shared/gen/portlease/v1/operations.js';
import { rangeSize, rangeText } from '../../shared/ports.js';
import type { Act } from '../job.js';
import { jsonOf } from '../json.js';
import type { Column } from '../table.js';
import { leaseStateWord, protocolWord, timeText } from '../words.js';
import { addPlaceList } from './place-list.js';

const COLUMNS: readonly Column<Lease>[] = [
  { header: 'SPACE', cell: (lease) => lease.space },
  { header: 'PORTS', cell: (lease) => (lease.ports === undefined ? '' : rangeText(lease.ports)) },
  { header: 'PROTOCOL', cell: (lease) => protocolWord(lease.protocol) },
  { header: 'POOL', cell: (lease) => lease.pool },
  { header: 'HOST', cell: (lease) => lease.host },
  { header: 'STATE', cell: (lease) => leaseStateWord(lease.state) },
  { header: 'ROUTED', cell: (lease) => (lease.routed ? 'yes' : 'no') },
  { header: 'USED', align: 'right', cell: (lease) => `${lease.allocated}/${lease.ports === undefined ? '?' : rangeSize(lease.ports)}` },
  { header: 'TOKEN', align: 'right', cell: (lease) => `${lease.epoch}.${lease.generation}` },
  { header: 'GRANTED', cell: (lease) => timeText(lease.grantedAt) },
  { header: 'LEASE', cell: (lease) => lease.leaseId },
];

export function addLeases(program: Command, act: Act): void {
  addPlaceList(program, act, {
    name: 'leases',
    description: 'list leases: which host may serve which ports',
    columns: COLUMNS,
    read: async (coordinator, request) => {
      const { leases: items, nextPageToken } = await coordinator.call(OperationsServiceService.listLeases, request);
      return { items, nextPageToken };
    },
    json: ({ items: leases, nextPageToken }) => jsonOf(ListLeasesResponse, { leases, nextPageToken }),
  });
}
