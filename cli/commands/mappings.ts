/** `portlease mappings`, and mappings as other commands show them. */
import type { Command } from 'commander';
import { ListMappingsResponse, PortServiceService, type Mapping } from '../../shared/gen/portlease/v1/ports.js';
import { MappingState } from '../../shared/gen/portlease/v1/common.js';
import { choice, dnsLabel, port } from '../fields.js';
import { optional } from '../flags.js';
import type { Act, Flags, Job } from '../job.js';
import { jsonOf } from '../json.js';
import { limitOf, moreHint, readPages } from '../pages.js';
import { table, type Column } from '../table.js';
import { endpoint, MAPPING_STATES, mappingStateWord, protocolWord, targetText, timeText } from '../words.js';

/** Name of a port, with its position where a want has several. */
const portName = (mapping: Mapping) => (mapping.index === 0 ? mapping.name : `${mapping.name}[${mapping.index}]`);

/** "198.51.100.0/24, at most 50"; '' for everybody without limit. */
function clientsText({ clientNetworks, maxConnections }: Mapping): string {
  return [...clientNetworks, ...(maxConnections > 0 ? [`at most ${maxConnections}`] : [])].join(', ');
}

/** "" for one that has traffic. */
export function idleText({ idleSince, idleReleaseAt }: Pick<Mapping, 'idleSince' | 'idleReleaseAt'>): string {
  if (idleSince === undefined) return '';
  return `since ${timeText(idleSince)}${idleReleaseAt === undefined ? '' : `, release ${timeText(idleReleaseAt)}`}`;
}

const COLUMNS: readonly Column<Mapping>[] = [
  { header: 'NAME', cell: portName },
  { header: 'PUBLIC', cell: (mapping) => endpoint(mapping.publicHost, mapping.publicPort) },
  { header: 'PROTOCOL', cell: (mapping) => protocolWord(mapping.protocol) },
  { header: 'STATE', cell: (mapping) => mappingStateWord(mapping.state) },
  { header: 'HOST', cell: (mapping) => mapping.host },
  { header: 'TARGET', cell: (mapping) => targetText(mapping.target, mapping.internalPort) },
  { header: 'POOL', cell: (mapping) => mapping.pool },
  { header: 'MAPPING', cell: (mapping) => mapping.mappingId },
  { header: 'ACCESS', cell: ({ access, publicPort }) => access?.url || access?.command || endpoint(access?.hostName ?? '', publicPort) },
  { header: 'CLIENTS', cell: clientsText },
  { header: 'IDLE', cell: idleText },
  { header: 'REASON', cell: (mapping) => mapping.reason },
];

/** Mappings of one environment. */
export function mappingsTable(mappings: readonly Mapping[]): string {
  return table(COLUMNS, mappings);
}

export function addMappings(program: Command, act: Act): void {
  program.command('mappings')
    .description('list mappings: public ports and where they lead')
    .option('--tenant <name>', 'only of this tenant')
    .option('--gateway <name>', 'only of this gateway')
    .option('--pool <name>', 'only of this pool')
    .option('--host <name>', 'only on this host')
    .option('--env <name>', 'only of this environment')
    .option('--state <state>', `only in this state: ${Object.keys(MAPPING_STATES).join(', ')}`)
    .option('--port <number>', 'only with this public port')
    .option('--limit <count>', 'at most so many')
    .action(act(prepareMappings));
}

function prepareMappings(_args: readonly string[], flags: Flags): Job {
  const limit = limitOf(flags);
  const filter = {
    tenant: optional(flags, 'tenant', dnsLabel) ?? '',
    gateway: optional(flags, 'gateway', dnsLabel) ?? '',
    pool: optional(flags, 'pool', dnsLabel) ?? '',
    host: optional(flags, 'host', dnsLabel) ?? '',
    environment: optional(flags, 'env', dnsLabel) ?? '',
    state: optional(flags, 'state', (flag, value) => choice(flag, value, MAPPING_STATES)) ?? MappingState.MAPPING_STATE_UNSPECIFIED,
    port: optional(flags, 'port', port) ?? 0,
  };
  return {
    what: 'list mappings',
    run: async (coordinator) => {
      let revisions: Record<string, number> | undefined;
      const listed = await readPages(limit, async (pageSize, pageToken) => {
        const response = await coordinator.call(PortServiceService.listMappings, { ...filter, pageSize, pageToken });
        revisions ??= response.revisions;
        return { items: response.mappings, nextPageToken: response.nextPageToken };
      });
      const { items: mappings, nextPageToken } = listed;
      return {
        json: jsonOf(ListMappingsResponse, { mappings, nextPageToken, revisions: revisions ?? {} }),
        text: table([{ header: 'ENVIRONMENT', cell: (mapping: Mapping) => mapping.environment }, ...COLUMNS], mappings),
        next: moreHint(listed),
      };
    },
  };
}
