/** `portlease gateways` and what changes them. */
import type { Command } from 'commander';
import {
  CreateGatewayResponse, DeleteGatewayResponse, Gateway, GatewayScope, ListGatewaysResponse, OperationsServiceService, OverrideMassLossResponse,
} from '../../shared/gen/portlease/v1/operations.js';
import { auditReason, choice, dnsLabel, duration, publicHost } from '../fields.js';
import { needed, optional } from '../flags.js';
import type { Act, Flags, Job } from '../job.js';
import { jsonOf } from '../json.js';
import { table, type Column } from '../table.js';
import { UsageError } from '../usage.js';
import { hostStateWord, SCOPES, scopeWord, timeText } from '../words.js';

export const GATEWAY_COLUMNS: readonly Column<Gateway>[] = [
  { header: 'GATEWAY', cell: (gateway) => gateway.gateway },
  { header: 'SCOPE', cell: (gateway) => scopeWord(gateway.scope) },
  { header: 'PUBLIC', cell: (gateway) => gateway.publicHost },
  { header: 'AGENT', cell: (gateway) => gateway.agentHost },
  { header: 'STATE', cell: (gateway) => hostStateWord(gateway.agentState) },
  { header: 'REVISION', align: 'right', cell: (gateway) => gateway.revision },
];
export const CREATE_GATEWAY = 'portlease gateways create NAME --scope shared --public-host ADDRESS';

export function addGateways(program: Command, act: Act): void {
  const gateways = program.command('gateways').enablePositionalOptions()
    .description('list gateways')
    .action(act(prepareList));
  gateways.command('create').description('create a gateway')
    .argument('<name>', 'gateway')
    .option('--scope <scope>', 'shared: one public address for all its hosts; host: each host has its own')
    .option('--public-host <name>', 'name or address that clients connect to (scope shared)')
    .action(act(prepareCreate));
  gateways.command('delete').description('delete a gateway that has no pools and no hosts')
    .argument('<name>', 'gateway')
    .action(act(prepareDelete));
  gateways.command('override-mass-loss').description('let reclaim go on for a time where most hosts are silent')
    .argument('<name>', 'gateway')
    .option('--failure-domain <name>', 'only of this one; default: all of the gateway')
    .option('--for <time>', 'for example 1h, at most 30d; 0s ends it')
    .option('--reason <text>', 'why, for the audit record')
    .action(act(prepareOverride));
}

function prepareList(): Job {
  return {
    what: 'list gateways',
    run: async (coordinator) => {
      const response = await coordinator.call(OperationsServiceService.listGateways, {});
      const next = response.gateways.length === 0 ? [`create one: ${CREATE_GATEWAY}`] : [];
      return { json: jsonOf(ListGatewaysResponse, response), text: table(GATEWAY_COLUMNS, response.gateways), next };
    },
  };
}

function prepareCreate([name = '']: readonly string[], flags: Flags): Job {
  const scope = needed(flags, 'scope', (flag, value) => choice(flag, value, SCOPES), 'Say --scope shared (one public address) or --scope host (each host has its own).');
  const gateway = Gateway.fromPartial({ gateway: dnsLabel('NAME', name), scope, publicHost: optional(flags, 'publicHost', publicHost) ?? '' });
  if (scope === GatewayScope.GATEWAY_SCOPE_SHARED && gateway.publicHost === '') {
    throw new UsageError('--public-host is missing', 'Scope shared needs the name or address that clients connect to: --public-host ADDRESS');
  }
  return {
    what: `create gateway ${gateway.gateway}`,
    run: async (coordinator) => {
      const response = await coordinator.call(OperationsServiceService.createGateway, { gateway });
      return {
        json: jsonOf(CreateGatewayResponse, response),
        text: table(GATEWAY_COLUMNS, response.gateway === undefined ? [] : [response.gateway]),
        next: [
          `portlease pools create NAME --gateway ${gateway.gateway} --range 30000-30999 --protocol tcp`,
          `portlease hosts create HOST --gateway ${gateway.gateway}`,
        ],
      };
    },
  };
}

function prepareDelete([name = '']: readonly string[]): Job {
  const gateway = dnsLabel('NAME', name);
  return {
    what: `delete gateway ${gateway}`,
    run: async (coordinator) => {
      const response = await coordinator.call(OperationsServiceService.deleteGateway, { gateway });
      return { json: jsonOf(DeleteGatewayResponse, response), text: `gateway ${gateway} is deleted\n` };
    },
  };
}

function prepareOverride([name = '']: readonly string[], flags: Flags): Job {
  const request = {
    gateway: dnsLabel('NAME', name),
    failureDomain: optional(flags, 'failureDomain', dnsLabel) ?? '',
    reason: needed(flags, 'reason', auditReason, 'Say why, for the audit record: --reason "the rack is gone for good"'),
    duration: needed(flags, 'for', duration, 'Say for how long: --for 1h'),
  };
  const where = request.failureDomain === '' ? `gateway ${request.gateway}` : `failure domain ${request.failureDomain} of ${request.gateway}`;
  return {
    what: `override the mass loss of ${where}`,
    run: async (coordinator) => {
      const response = await coordinator.call(OperationsServiceService.overrideMassLoss, request);
      const until = timeText(response.overriddenUntil);
      return {
        json: jsonOf(OverrideMassLossResponse, response),
        text: until === '' ? `a mass loss of ${where} stops reclaim again\n` : `reclaim goes on in ${where} until ${until}\n`,
      };
    },
  };
}
