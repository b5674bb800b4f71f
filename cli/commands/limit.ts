/** `portlease limit MAPPING`: who may use a live mapping, and by how many connections. */
import type { Command } from 'commander';
import { PortServiceService, UpdateMappingResponse, type UpdateMappingRequest } from '../../shared/gen/portlease/v1/ports.js';
import { Wait } from '../../shared/gen/portlease/v1/common.js';
import { choice, clientNetworks, mappingId, maxConnections } from '../fields.js';
import { collect, isSet, optional, texts } from '../flags.js';
import type { Act, Flags, Job } from '../job.js';
import { jsonOf } from '../json.js';
import { UsageError } from '../usage.js';
import { mappingsTable } from './mappings.js';

const WAITS = { recorded: Wait.WAIT_RECORDED, live: Wait.WAIT_LIVE } as const;

export function addLimit(program: Command, act: Act): void {
  program.command('limit')
    .description('change who may use a mapping, and by how many connections; its number stays, and so do connections that are still allowed')
    .argument('<mapping>', 'mapping: `portlease mappings` lists them')
    .option('--client-network <cidr>', 'only clients of this network (repeatable): these networks take the place of the ones that it has', collect)
    .option('--everybody', 'clients of all networks')
    .option('--max-connections <count>', 'connections at once, over all clients; 0: no limit')
    .option('--wait <until>', 'recorded, or live: the host has brought it about, and what is no longer allowed has ended (default: live)')
    .action(act(prepareLimit));
}

function prepareLimit([id = '']: readonly string[], flags: Flags): Job {
  const networks = clientNetworks('--client-network', texts(flags, 'clientNetwork'));
  const isForAll = isSet(flags, 'everybody');
  if (isForAll && networks.length > 0) throw new UsageError('--client-network and --everybody exclude each other', 'Name the networks, or say --everybody.');
  const request: UpdateMappingRequest = {
    mappingId: mappingId('MAPPING', id),
    clientNetworks: isForAll || networks.length > 0 ? { networks } : undefined,
    maxConnections: optional(flags, 'maxConnections', maxConnections),
    wait: optional(flags, 'wait', (flag, value) => choice(flag, value, WAITS)) ?? Wait.WAIT_UNSPECIFIED,
  };
  if (request.clientNetworks === undefined && request.maxConnections === undefined) {
    throw new UsageError('nothing to change is named', 'Say --client-network CIDR, --everybody or --max-connections COUNT.');
  }
  return {
    what: `limit ${request.mappingId}`,
    run: async (coordinator) => {
      const response = await coordinator.call(PortServiceService.updateMapping, request);
      return { json: jsonOf(UpdateMappingResponse, response), text: mappingsTable(response.mapping === undefined ? [] : [response.mapping]) };
    },
    resume: 'run the same command again to go on waiting: doing it twice is safe',
  };
}
