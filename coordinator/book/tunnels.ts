/**
 * Tunnels of hosts: what operators made, and what hosts say of them and of those of their own config. Hosts keep them; the book only says
 * which there are. A restart is a number that grows: a host makes each connection anew that was made for another one.
 */
import { MAX_TUNNELS } from '../../shared/desired.js';
import { hostOf } from './duty.js';
import { tunnelObject } from './objects.js';
import { drop, put } from './outbox.js';
import { namesOf, takeTunnels, tellGone, touchKey, tunnelView } from './tunnel-reports.js';
import type { Host, State } from './state.js';
import type { Refusal, Reply, TunnelCommand, TunnelRecord } from './types.js';

type Order = Exclude<TunnelCommand, { kind: 'createTunnel' }>;

export function decideTunnel(state: State, command: TunnelCommand): Reply {
  switch (command.kind) {
    case 'createTunnel': return createTunnel(state, command);
    case 'restartTunnel':
    case 'stopTunnel':
    case 'startTunnel': return order(state, command);
    case 'removeTunnel': return removeTunnel(state, command);
    default: return command satisfies never;
  }
}

/** The same spec again is the same tunnel. */
function createTunnel(state: State, { spec }: Extract<TunnelCommand, { kind: 'createTunnel' }>): Reply {
  const host = hostOf(state, spec.host);
  if ('kind' in host) return { ...host, field: 'spec.host' };
  const known = host.tunnels.get(spec.tunnel);
  if (known !== undefined && !known.isOfConfig) return sameOrRefused(state, host, { known, spec });
  if (host.tunnelReports.get(spec.tunnel)?.report.isFromConfig === true) return refuseNameOfConfig(host, spec.tunnel);
  if (known === undefined && namesOf(host).length >= MAX_TUNNELS) {
    return { kind: 'refused', reason: 'TOO_MANY_TUNNELS', message: `host ${spec.host} has ${MAX_TUNNELS} tunnels`, field: 'spec.host', metadata: { host: spec.host, limit: `${MAX_TUNNELS}` } };
  }
  const record: TunnelRecord = {
    host: spec.host, spec, restart: state.sequence, isStopped: false, isOfConfig: false, createdAtMs: state.nowMs, revision: state.sequence, told: 'nothing', toldFlapping: false,
  };
  // What was left of orders for one of the config.
  if (known?.told === 'up') tellGone(state, known);
  keep(state, host, record);
  return tunnelReply(state, host, spec.tunnel);
}

function sameOrRefused(state: State, host: Host, { known, spec }: { known: TunnelRecord; spec: TunnelRecord['spec'] }): Reply {
  const fields = differences(known.spec, spec);
  if (fields.length === 0) return { ...tunnelReply(state, host, spec.tunnel), replayed: true };
  return {
    kind: 'refused', reason: 'TUNNEL_EXISTS', message: `host ${spec.host} has a tunnel ${spec.tunnel} with another ${fields.join(', ')}`, field: `spec.${fields[0] ?? 'tunnel'}`,
    metadata: { host: spec.host, tunnel: spec.tunnel, fields: fields.join(',') },
  };
}

/** Specs are in one form: the same JSON is the same spec. */
function differences(a: TunnelRecord['spec'], b: TunnelRecord['spec']): string[] {
  return (['server', 'forwards', 'engine', 'probe', 'options'] as const).filter((field) => JSON.stringify(a[field]) !== JSON.stringify(b[field]));
}

function refuseNameOfConfig(host: Host, tunnel: string): Refusal {
  const { host: name } = host.record;
  return {
    kind: 'refused', reason: 'TUNNEL_OF_CONFIG', message: `the config of host ${name} has a tunnel ${tunnel}, which goes first`, field: 'spec.tunnel', metadata: { host: name, tunnel },
  };
}

function order(state: State, command: Order): Reply {
  const host = hostOf(state, command.host);
  if ('kind' in host) return host;
  const record = orderedRecord(state, host, command.tunnel);
  if (record === undefined) return unknownTunnel(command);
  if (command.kind === 'restartTunnel') return restartTunnel(state, host, record);
  record.isStopped = command.kind === 'stopTunnel';
  record.revision = state.sequence;
  keep(state, host, record);
  return tunnelReply(state, host, command.tunnel);
}

function restartTunnel(state: State, host: Host, record: TunnelRecord): Reply {
  const { host: name } = host.record;
  const { tunnel } = record.spec;
  const metadata = { host: name, tunnel };
  if (record.isStopped) return { kind: 'refused', reason: 'TUNNEL_STOPPED', message: `tunnel ${tunnel} of host ${name} is stopped`, field: 'tunnel', metadata };
  if (host.state === 'lost') return { kind: 'refused', reason: 'HOST_LOST', message: `host ${name} is lost: nobody can restart a tunnel there`, field: 'host', metadata, retryAfterMs: state.timing.heartbeatMs };
  if (host.state === 'unknown') return { kind: 'refused', reason: 'HOST_NOT_READY', message: `host ${name} has not said hello`, field: 'host', metadata, retryAfterMs: state.timing.heartbeatMs };
  record.restart = state.sequence;
  record.revision = state.sequence;
  keep(state, host, record);
  return tunnelReply(state, host, tunnel);
}

/** To change what is ordered of a tunnel: its record, or a new one for orders to a tunnel of the host's config. */
function orderedRecord(state: State, host: Host, tunnel: string): TunnelRecord | undefined {
  const known = host.tunnels.get(tunnel);
  const report = host.tunnelReports.get(tunnel)?.report;
  if (known !== undefined || report?.isFromConfig !== true) return known;
  const told = host.configTunnelsTold.get(tunnel) ?? { told: 'nothing', toldFlapping: false };
  return {
    host: host.record.host, spec: report.spec, restart: report.restart, isStopped: false, isOfConfig: true, createdAtMs: state.nowMs, revision: state.sequence, ...told,
  };
}

function removeTunnel(state: State, command: Order): Reply {
  const host = hostOf(state, command.host);
  if ('kind' in host) return host;
  const known = host.tunnels.get(command.tunnel);
  const report = host.tunnelReports.get(command.tunnel)?.report;
  if (report?.isFromConfig === true && known?.isOfConfig !== false) return { ...refuseNameOfConfig(host, command.tunnel), field: 'tunnel' };
  if (known === undefined) return { kind: 'tunnelRemoved', tunnel: undefined };
  const view = tunnelView(state, host, command.tunnel);
  forget(state, host, known);
  return { kind: 'tunnelRemoved', tunnel: view };
}

/** The host is forgotten, and all that is known of its tunnels. */
export function forgetTunnels(state: State, host: Host): void {
  takeTunnels(state, host, { tunnels: [] });
  for (const record of [...host.tunnels.values()]) forget(state, host, record);
}

function forget(state: State, host: Host, record: TunnelRecord): void {
  const { tunnel } = record.spec;
  host.tunnels.delete(tunnel);
  if (host.tunnelReports.get(tunnel)?.report.isFromConfig === true) host.configTunnelsTold.set(tunnel, { told: record.told, toldFlapping: record.toldFlapping });
  else {
    host.tunnelReports.delete(tunnel);
    if (record.told === 'up') tellGone(state, record);
  }
  state.dirty.tunnels.delete(record);
  state.dirty.removedTunnels.push(tunnelKey(record));
  state.changed = true;
  state.touched.push(touchKey(host, tunnel));
  drop(state, host, `tunnel/${tunnel}`);
}

function keep(state: State, host: Host, record: TunnelRecord): void {
  const report = host.tunnelReports.get(record.spec.tunnel)?.report;
  if (record.isOfConfig && report?.isFromConfig === true) record.spec = report.spec;
  host.tunnels.set(record.spec.tunnel, record);
  host.configTunnelsTold.delete(record.spec.tunnel);
  state.dirtyTunnel(record);
  put(state, host, tunnelObject(state, record));
}

function tunnelReply(state: State, host: Host, tunnel: string): Extract<Reply, { kind: 'tunnel' }> {
  const view = tunnelView(state, host, tunnel);
  if (view === undefined) throw new Error(`tunnel ${tunnel} is not in the book`);
  return { kind: 'tunnel', tunnel: view, replayed: false };
}

function unknownTunnel({ host, tunnel }: Order): Refusal {
  return { kind: 'refused', reason: 'TUNNEL_UNKNOWN', message: `host ${host} has no tunnel ${tunnel}`, field: 'tunnel', metadata: { host, tunnel } };
}

/** As it is stored: names of hosts are unique in the coordinator. */
export function tunnelKey({ host, spec }: Pick<TunnelRecord, 'host' | 'spec'>): string {
  return `${host}/${spec.tunnel}`;
}
