/** `portlease conflicts`: foreign processes on leased ports. */
import type { Command } from 'commander';
import { ListConflictsResponse, OperationsServiceService, type PortConflict } from '../../shared/gen/portlease/v1/operations.js';
import type { Act } from '../job.js';
import { jsonOf } from '../json.js';
import type { Column } from '../table.js';
import { endpoint, mappingStateWord, protocolWord, timeText } from '../words.js';
import { addPlaceList } from './place-list.js';

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
  addPlaceList(program, act, {
    name: 'conflicts',
    description: 'list leased ports that foreign processes of their hosts listen on',
    columns: COLUMNS,
    read: async (coordinator, request) => {
      const { conflicts: items, nextPageToken } = await coordinator.call(OperationsServiceService.listConflicts, request);
      return { items, nextPageToken };
    },
    json: ({ items: conflicts, nextPageToken }) => jsonOf(ListConflictsResponse, { conflicts, nextPageToken }),
  });
}
