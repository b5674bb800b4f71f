/** `portlease leases`. */
import type { Command } from 'commander';
import { ListLeasesResponse, OperationsServiceService, type Lease } from '../../shared/gen/portlease/v1/operations.js';
import { rangeSize, rangeText } from '../../shared/ports.js';
import { dnsLabel } from '../fields.js';
import { optional } from '../flags.js';
import type { Act, Flags, Job } from '../job.js';
import { jsonOf } from '../json.js';
import { limitOf, moreHint, readPages } from '../pages.js';
import { table, type Column } from '../table.js';
import { leaseStateWord, protocolWord, timeText } from '../words.js';

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
  program.command('leases')
    .description('list leases: which host may serve which ports')
    .option('--gateway <name>', 'only of this gateway')
    .option('--host <name>', 'only of this host')
    .option('--pool <name>', 'only of this pool')
    .option('--limit <count>', 'at most so many')
    .action(act(prepareLeases));
}

function prepareLeases(_args: readonly string[], flags: Flags): Job {
  const limit = limitOf(flags);
  const filter = {
    gateway: optional(flags, 'gateway', dnsLabel) ?? '',
    host: optional(flags, 'host', dnsLabel) ?? '',
    pool: optional(flags, 'pool', dnsLabel) ?? '',
  };
  return {
    what: 'list leases',
    run: async (coordinator) => {
      const listed = await readPages(limit, async (pageSize, pageToken) => {
        const response = await coordinator.call(OperationsServiceService.listLeases, { ...filter, pageSize, pageToken });
        return { items: response.leases, nextPageToken: response.nextPageToken };
      });
      const { items: leases, nextPageToken } = listed;
      return { json: jsonOf(ListLeasesResponse, { leases, nextPageToken }), text: table(COLUMNS, leases), next: moreHint(listed) };
    },
  };
}
