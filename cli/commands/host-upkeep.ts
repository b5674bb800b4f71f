/** `portlease hosts cordon`, `uncordon`, `drain`, `hold` and `forget`. */
import type { Command } from 'commander';
import {
  CordonHostResponse, DrainHostResponse, ForgetHostResponse, HoldHostResponse, HostDuty, OperationsServiceService, UncordonHostResponse, type Host,
} from '../../shared/gen/portlease/v1/operations.js';
import { auditReason, dnsLabel, duration } from '../fields.js';
import { isSet, needed, optional } from '../flags.js';
import { HOST_COLUMNS } from '../host-table.js';
import type { Act, Flags, Job } from '../job.js';
import { jsonOf } from '../json.js';
import { table } from '../table.js';

export function addHostUpkeep(hosts: Command, act: Act): void {
  const about = (name: string, description: string): Command =>
    hosts.command(name).description(description).argument('<host>', 'host').option('--reason <text>', 'why, for the audit record');
  about('cordon', 'no new ports on this host; what is there goes on').action(act(prepareCordon));
  about('uncordon', 'end a cordon or a drain').action(act(prepareUncordon));
  about('drain', 'cordon a host and take back what it has unused, now and as its environments go').action(act(prepareDrain));
  about('hold', 'reclaim nothing from this host for a time while it is lost')
    .option('--for <time>', 'for example 2h, at most 30d; 0s ends it')
    .action(act(prepareHold));
  about('forget', 'remove a host, its leases and mappings, once the gateway has confirmed that nothing leads there any more')
    .option('--host-is-off', 'you answer for it: this machine is off and stays off')
    .option('--gateway-is-off', 'you answer for it: this machine, the gateway, is off and routes nothing any more')
    .action(act(prepareForget));
}

function noteOf(name: string, flags: Flags): { host: string; reason: string } {
  return { host: dnsLabel('HOST', name), reason: optional(flags, 'reason', auditReason) ?? '' };
}

function shown(host: Host | undefined): string {
  return table(HOST_COLUMNS, host === undefined ? [] : [host]);
}

function prepareCordon([name = '']: readonly string[], flags: Flags): Job {
  const request = noteOf(name, flags);
  return {
    what: `cordon host ${request.host}`,
    run: async (coordinator) => {
      const response = await coordinator.call(OperationsServiceService.cordonHost, request);
      return { json: jsonOf(CordonHostResponse, response), text: shown(response.host), next: [`let it have ports again: portlease hosts uncordon ${request.host}`] };
    },
  };
}

function prepareUncordon([name = '']: readonly string[], flags: Flags): Job {
  const request = noteOf(name, flags);
  return {
    what: `uncordon host ${request.host}`,
    run: async (coordinator) => {
      const response = await coordinator.call(OperationsServiceService.uncordonHost, request);
      return { json: jsonOf(UncordonHostResponse, response), text: shown(response.host) };
    },
  };
}

function prepareDrain([name = '']: readonly string[], flags: Flags): Job {
  const request = noteOf(name, flags);
  return {
    what: `drain host ${request.host}`,
    run: async (coordinator) => {
      const response = await coordinator.call(OperationsServiceService.drainHost, request);
      return { json: jsonOf(DrainHostResponse, response), text: shown(response.host), next: drainHints(request.host, response.host) };
    },
  };
}

function drainHints(name: string, host: Host | undefined): string[] {
  if (host === undefined || host.duty === HostDuty.HOST_DUTY_DRAINED) return [`${name} has no lease any more`];
  if (host.mappings === 0) return [`${host.leasedPorts} ports are on their way back; follow them: portlease hosts --host ${name}`];
  return [`${host.mappings} mappings are left: portlease list --host ${name} shows their environments; move or release them`];
}

function prepareHold([name = '']: readonly string[], flags: Flags): Job {
  const request = { ...noteOf(name, flags), duration: needed(flags, 'for', duration, 'Say for how long: --for 2h') };
  return {
    what: `hold host ${request.host}`,
    run: async (coordinator) => {
      const response = await coordinator.call(OperationsServiceService.holdHost, request);
      return { json: jsonOf(HoldHostResponse, response), text: shown(response.host) };
    },
  };
}

function prepareForget([name = '']: readonly string[], flags: Flags): Job {
  const reason = needed(flags, 'reason', auditReason, 'Say why, for the audit record: --reason "sold"');
  const request = { host: dnsLabel('HOST', name), reason, hostIsOff: isSet(flags, 'hostIsOff'), gatewayIsOff: isSet(flags, 'gatewayIsOff') };
  return {
    what: `forget host ${request.host}`,
    run: async (coordinator) => {
      const response = await coordinator.call(OperationsServiceService.forgetHost, request);
      const { mappings, ports, forgotten } = response;
      return {
        json: jsonOf(ForgetHostResponse, response),
        text: `${mappings} mappings are given up and ${ports} leased ports taken back; ${request.host} is ${forgotten ? 'forgotten' : 'being forgotten'}\n`,
        next: forgotten ? [] : [`it is gone when the gateway has confirmed; follow it: portlease hosts --host ${request.host}`],
      };
    },
  };
}
