/** `portlease hosts` and what changes them. */
import type { Command } from 'commander';
import {
  CreateHostResponse, Host, ListHostsResponse, OperationsServiceService, ReclaimHostResponse, ReplaceHostResponse, WaiveHostResponse,
} from '../../shared/gen/portlease/v1/operations.js';
import { auditReason, choice, dnsLabel, publicHost } from '../fields.js';
import { HOST_COLUMNS } from '../host-table.js';
import { collect, isSet, needed, optional, texts } from '../flags.js';
import type { Act, Flags, Job } from '../job.js';
import { jsonOf } from '../json.js';
import { table } from '../table.js';
import { ROLES } from '../words.js';
import { addHostUpkeep } from './host-upkeep.js';

const NEEDS_REASON = 'Say why, for the audit record: --reason "mainboard was exchanged"';

export function addHosts(program: Command, act: Act): void {
  const hosts = program.command('hosts').enablePositionalOptions()
    .description('list hosts')
    .option('--gateway <name>', 'only of this gateway')
    .option('--host <name>', 'only this one')
    .action(act(prepareList));
  hosts.command('create').description('make a host known')
    .argument('<host>', 'host')
    .option('--gateway <name>', 'gateway that it belongs to')
    .option('--role <role>', 'host: serves environments; gateway: routes the public ports (repeatable; default: host)', collect)
    .option('--failure-domain <name>', 'for example a rack or a site')
    .option('--public-host <name>', 'name or address that clients connect to (scope host)')
    .action(act(prepareCreate));
  hosts.command('replace').description('let another machine take this host id at its next hello')
    .argument('<host>', 'host')
    .option('--reason <text>', 'why, for the audit record')
    .action(act(prepareReplace));
  hosts.command('reclaim').description('take everything back from a lost host: its mappings are released')
    .argument('<host>', 'host')
    .option('--reason <text>', 'why, for the audit record')
    .option('--override', 'also during a mass loss, and from a host that is kept')
    .action(act(prepareReclaim));
  addHostUpkeep(hosts, act);
  hosts.command('waive').description('after the restore of an older database: go on without the report of a host that does not come back')
    .argument('<host>', 'host')
    .option('--reason <text>', 'why, for the audit record')
    .action(act(prepareWaive));
}

function prepareList(_args: readonly string[], flags: Flags): Job {
  const request = { gateway: optional(flags, 'gateway', dnsLabel) ?? '', host: optional(flags, 'host', dnsLabel) ?? '' };
  return {
    what: 'list hosts',
    run: async (coordinator) => {
      const response = await coordinator.call(OperationsServiceService.listHosts, request);
      return { json: jsonOf(ListHostsResponse, response), text: table(HOST_COLUMNS, response.hosts) };
    },
  };
}

function prepareCreate([name = '']: readonly string[], flags: Flags): Job {
  const roles = texts(flags, 'role').map((role) => choice('--role', role, ROLES));
  const host = Host.fromPartial({
    host: dnsLabel('HOST', name),
    gateway: needed(flags, 'gateway', dnsLabel, 'Name its gateway: --gateway NAME; `portlease gateways` lists them.'),
    roles: roles.length === 0 ? [ROLES.host] : [...new Set(roles)],
    failureDomain: optional(flags, 'failureDomain', dnsLabel) ?? '',
    publicHost: optional(flags, 'publicHost', publicHost) ?? '',
  });
  return {
    what: `create host ${host.host}`,
    run: async (coordinator) => {
      const response = await coordinator.call(OperationsServiceService.createHost, { host });
      return {
        json: jsonOf(CreateHostResponse, response),
        text: table(HOST_COLUMNS, response.host === undefined ? [] : [response.host]),
        next: [`start its agent, then: portlease hosts --host ${host.host}`],
      };
    },
  };
}

function prepareReplace([name = '']: readonly string[], flags: Flags): Job {
  const request = { host: dnsLabel('HOST', name), reason: needed(flags, 'reason', auditReason, NEEDS_REASON) };
  return {
    what: `replace host ${request.host}`,
    run: async (coordinator) => {
      const response = await coordinator.call(OperationsServiceService.replaceHost, request);
      return {
        json: jsonOf(ReplaceHostResponse, response),
        text: table(HOST_COLUMNS, response.host === undefined ? [] : [response.host]),
        next: [`the next machine that says hello as ${request.host} takes its place: start its agent`],
      };
    },
  };
}

function prepareWaive([name = '']: readonly string[], flags: Flags): Job {
  const request = { host: dnsLabel('HOST', name), reason: needed(flags, 'reason', auditReason, NEEDS_REASON) };
  return {
    what: `waive host ${request.host}`,
    run: async (coordinator) => {
      const response = await coordinator.call(OperationsServiceService.waiveHost, request);
      return {
        json: jsonOf(WaiveHostResponse, response),
        text: table(HOST_COLUMNS, response.host === undefined ? [] : [response.host]),
        next: ['portlease status says for whom the restore still waits'],
      };
    },
  };
}

function prepareReclaim([name = '']: readonly string[], flags: Flags): Job {
  const request = { host: dnsLabel('HOST', name), reason: needed(flags, 'reason', auditReason, NEEDS_REASON), override: isSet(flags, 'override') };
  return {
    what: `reclaim host ${request.host}`,
    run: async (coordinator) => {
      const response = await coordinator.call(OperationsServiceService.reclaimHost, request);
      return {
        json: jsonOf(ReclaimHostResponse, response),
        text: `${response.mappings} mappings are given up and ${response.ports} leased ports taken back\n`,
        next: [`follow it: portlease leases --host ${request.host}`],
      };
    },
  };
}
