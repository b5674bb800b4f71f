/** `portlease conflicts`: foreign processes on leased ports. */
import type { Command } from 'commander';
import { ListConflictsResponse, OperationsServiceService, type PortConflict } from '../../shared/gen/portlease/v1/operations.js';
import { dnsLabel } from '../fields.js';
import { optional } from '../flags.js';
import type { Act, Flags, Job } from '../job.js';
import { jsonOf } from '../json.js';
import { limitOf, moreHint, readPages } from '../pages.js';
import { table, type Column } from '../table.js';
import { endpoint, mappingStateWord, protocolWord, timeText } from '../words.js';

const CONTAINER_ID_SHOWN = 12;

const COLUMNS: readonly Column<PortConflict>[] = [
  { header: 'HOST', cell: ({ host }) => host },
  { header: 'PORT', align: 'right', cell: ({ conflict }) => `${conflict?.port ?? ''}` },
  { header: 'PROTOCOL', cell: ({ conflict }) => (conflict === undefined ? '' : protocolWord(conflict.protocol)) },
  { header: 'LISTENS ON', cell: ({ conflict }) => (conflict === undefined || conflict.address === '' ? '' : endpoint(conflict.address, conflict.port)) },
  { header: 'PROGRAM', cell: ({ conflict }) => conflict?.holder?.program ?? 'not known' },
  { header: 'PID', align: 'right', cell: ({ conflict }) => `${conflict?.holder?.pid ?? ''}` },
  { header: 'USER', cell: ({ conflict }) => (conflict === undefined || conflict.address === '' ? '' : conflict.user || `${conflict.uid}`) },
  { header: 'CONTAINER', cell: ({ conflict }) => (conflict?.holder?.containerId ?? '').slice(0, CONTAINER_ID_SHOWN) },
  { header: 'COMMAND', cell: ({ conflict }) => conflict?.holder?.command ?? '' },
  { header: 'POOL', cell: ({ pool }) => pool },
  { header: 'ENVIRONMENT', cell: ({ environment }) => environment },
  { header: 'STATE', cell: ({ environment, mappingState }) => (environment === '' ? 'set aside' : mappingStateWord(mappingState)) },
  { header: 'SINCE', cell: ({ since }) => timeText(since) },
];

export function addConflicts(program: Command, act: Act): void {
  program.command('conflicts')
    .description('list leased ports that foreign processes of their hosts listen on')
    .option('--gateway <name>', 'only of this gateway')
    .option('--host <name>', 'only of this host')
    .option('--pool <name>', 'only of this pool')
    .option('--limit <count>', 'at most so many')
    .action(act(prepareConflicts));
}

function prepareConflicts(_args: readonly string[], flags: Flags): Job {
  const limit = limitOf(flags);
  const filter = {
    gateway: optional(flags, 'gateway', dnsLabel) ?? '',
    host: optional(flags, 'host', dnsLabel) ?? '',
    pool: optional(flags, 'pool', dnsLabel) ?? '',
  };
  return {
    what: 'list conflicts',
    run: async (coordinator) => {
      const listed = await readPages(limit, async (pageSize, pageToken) => {
        const response = await coordinator.call(OperationsServiceService.listConflicts, { ...filter, pageSize, pageToken });
        return { items: response.conflicts, nextPageToken: response.nextPageToken };
      });
      const { items: conflicts, nextPageToken } = listed;
      return { json: jsonOf(ListConflictsResponse, { conflicts, nextPageToken }), text: table(COLUMNS, conflicts), next: moreHint(listed) };
    },
  };
}
