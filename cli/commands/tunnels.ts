/** `portlease tunnels` and what changes them. */
import type { Command } from 'commander';
import {
  GetTunnelResponse, ListTunnelsResponse, RemoveTunnelResponse, RestartTunnelResponse, StartTunnelResponse, StopTunnelResponse, TunnelServiceService, type Tunnel,
} from '../../shared/gen/portlease/v1/tunnels.js';
import { auditReason, dnsLabel } from '../fields.js';
import { optional } from '../flags.js';
import type { Act, Flags, Job } from '../job.js';
import { jsonOf } from '../json.js';
import { limitOf, moreHint, readPages } from '../pages.js';
import { table } from '../table.js';
import { TUNNEL_COLUMNS, tunnelHints, tunnelText } from '../tunnel-table.js';
import { UsageError } from '../usage.js';
import { addTunnelCreate } from './tunnel-create.js';

export function addTunnels(program: Command, act: Act): void {
  const tunnels = program.command('tunnels').enablePositionalOptions()
    .description('list SSH connections that hosts keep')
    .option('--gateway <name>', 'only of this gateway')
    .option('--host <name>', 'only of this host')
    .option('--limit <count>', 'at most so many')
    .action(act(prepareList));
  addTunnelCreate(tunnels, act);
  const about = (name: string, description: string): Command =>
    tunnels.command(name).description(description).argument('<tunnel>', 'HOST/TUNNEL, or TUNNEL with --host').option('--host <name>', 'host that keeps it');
  const changing = (name: string, description: string): Command => about(name, description).option('--reason <text>', 'why, for the audit record');
  about('show', 'show one tunnel: state, statistics, forwards, the end of its log').action(act(prepareShow));
  changing('restart', 'end its connection, whatever state that is in, and wait until the new one is up').action(act(prepareRestart));
  changing('stop', 'end its connection until it is started again').action(act(prepareStop));
  changing('start', 'start it again').action(act(prepareStart));
  changing('remove', 'end its connection and forget it').action(act(prepareRemove));
}

function prepareList(_args: readonly string[], flags: Flags): Job {
  const limit = limitOf(flags);
  const filter = { gateway: optional(flags, 'gateway', dnsLabel) ?? '', host: optional(flags, 'host', dnsLabel) ?? '' };
  return {
    what: 'list tunnels',
    run: async (coordinator) => {
      const listed = await readPages(limit, async (pageSize, pageToken) => {
        const { tunnels: items, nextPageToken } = await coordinator.call(TunnelServiceService.listTunnels, { ...filter, pageSize, pageToken });
        return { items, nextPageToken };
      });
      const { items: tunnels, nextPageToken } = listed;
      return { json: jsonOf(ListTunnelsResponse, { tunnels, nextPageToken }), text: table(TUNNEL_COLUMNS, tunnels), next: moreHint(listed) };
    },
  };
}

type Named = { host: string; tunnel: string };

/** "HOST/TUNNEL", or "TUNNEL" with --host. */
function nameOf(given: string, flags: Flags): Named {
  const host = optional(flags, 'host', dnsLabel);
  const at = given.indexOf('/');
  if (at < 0 && host === undefined) throw new UsageError('--host is missing', 'Say which host keeps the tunnel: HOST/TUNNEL, or --host NAME.');
  if (at < 0) return { host: host ?? '', tunnel: dnsLabel('TUNNEL', given) };
  const named = { host: dnsLabel('TUNNEL', given.slice(0, at)), tunnel: dnsLabel('TUNNEL', given.slice(at + 1)) };
  if (host !== undefined && host !== named.host) throw new UsageError(`--host: ${host} is not the host of ${given.slice(0, 130)}`, 'Name the host once.');
  return named;
}

function orderOf(given: string, flags: Flags): Named & { reason: string } {
  return { ...nameOf(given, flags), reason: optional(flags, 'reason', auditReason) ?? '' };
}

const rows = (tunnel: Tunnel | undefined): string => table(TUNNEL_COLUMNS, tunnel === undefined ? [] : [tunnel]);
const hints = (tunnel: Tunnel | undefined): string[] => (tunnel === undefined ? [] : tunnelHints(tunnel));

function prepareShow([name = '']: readonly string[], flags: Flags): Job {
  const request = nameOf(name, flags);
  return {
    what: `show tunnel ${request.tunnel} of ${request.host}`,
    run: async (coordinator) => {
      const response = await coordinator.call(TunnelServiceService.getTunnel, request);
      if (response.tunnel === undefined) throw new Error('the coordinator answered without a tunnel');
      return { json: jsonOf(GetTunnelResponse, response), text: tunnelText(response.tunnel) };
    },
  };
}

function prepareRestart([name = '']: readonly string[], flags: Flags): Job {
  const request = orderOf(name, flags);
  return {
    what: `restart tunnel ${request.tunnel} of ${request.host}`,
    run: async (coordinator) => {
      const response = await coordinator.call(TunnelServiceService.restartTunnel, request);
      return { json: jsonOf(RestartTunnelResponse, response), text: rows(response.tunnel), next: hints(response.tunnel) };
    },
    resume: `how far it is: portlease tunnels show ${request.host}/${request.tunnel}`,
  };
}

function prepareStop([name = '']: readonly string[], flags: Flags): Job {
  const request = orderOf(name, flags);
  return {
    what: `stop tunnel ${request.tunnel} of ${request.host}`,
    run: async (coordinator) => {
      const response = await coordinator.call(TunnelServiceService.stopTunnel, request);
      return { json: jsonOf(StopTunnelResponse, response), text: rows(response.tunnel), next: [`start it again: portlease tunnels start ${request.host}/${request.tunnel}`] };
    },
    resume: 'run the same command again: doing it twice is safe',
  };
}

function prepareStart([name = '']: readonly string[], flags: Flags): Job {
  const request = orderOf(name, flags);
  return {
    what: `start tunnel ${request.tunnel} of ${request.host}`,
    run: async (coordinator) => {
      const response = await coordinator.call(TunnelServiceService.startTunnel, request);
      return { json: jsonOf(StartTunnelResponse, response), text: rows(response.tunnel), next: hints(response.tunnel) };
    },
    resume: 'run the same command again: doing it twice is safe',
  };
}

function prepareRemove([name = '']: readonly string[], flags: Flags): Job {
  const request = orderOf(name, flags);
  const title = `${request.host}/${request.tunnel}`;
  return {
    what: `remove tunnel ${request.tunnel} of ${request.host}`,
    run: async (coordinator) => {
      const response = await coordinator.call(TunnelServiceService.removeTunnel, request);
      return { json: jsonOf(RemoveTunnelResponse, response), text: response.tunnel === undefined ? `there is no tunnel ${title}: nothing to remove\n` : `${title} is removed\n` };
    },
    resume: 'run the same command again: doing it twice is safe',
  };
}
