/**
 * What hosts say of their tunnels: kept in memory, and told by events when it changes. What was told last stands in the record of a tunnel, so
 * that nothing is told again by a hello or a start; of tunnels of a host's own config it is in memory, and told again after a start.
 */
import type { TunnelReport, TunnelState } from '../../shared/tunnel.js';
import type { Host, State } from './state.js';
import type { ReportCommand, TunnelRecord, TunnelTold, TunnelView } from './types.js';

type Told = Pick<TunnelRecord, 'told' | 'toldFlapping'>;

/** All that the host says of its tunnels now. */
export function takeTunnels(state: State, host: Host, { tunnels = [] }: Pick<ReportCommand, 'tunnels'>): void {
  if (!hasTunnels(host) && tunnels.length === 0) return;
  const before = host.tunnelReports;
  host.tunnelReports = new Map(tunnels.map((report) => [report.spec.tunnel, { report, atMs: state.nowMs }]));
  for (const { report } of host.tunnelReports.values()) {
    const known = before.get(report.spec.tunnel)?.report;
    if (known?.state !== report.state || known.restart !== report.restart || known.reason !== report.reason) state.touched.push(touchKey(host, report.spec.tunnel));
    tellTunnel(state, host, report);
  }
  for (const tunnel of before.keys()) if (!host.tunnelReports.has(tunnel)) state.touched.push(touchKey(host, tunnel));
  forgetConfigured(state, host, before);
}

/** Those of its config that it does not name any more are in its config no more. */
function forgetConfigured(state: State, host: Host, before: Host['tunnelReports']): void {
  for (const [tunnel, { told }] of host.configTunnelsTold) {
    if (host.tunnelReports.has(tunnel)) continue;
    const spec = before.get(tunnel)?.report.spec;
    if (told === 'up' && spec !== undefined) tellGone(state, { host: host.record.host, spec });
    host.configTunnelsTold.delete(tunnel);
  }
  for (const record of host.tunnels.values()) {
    if (!record.isOfConfig || record.told !== 'up' || host.tunnelReports.has(record.spec.tunnel)) continue;
    tellGone(state, record);
    record.told = 'down';
    state.dirtyTunnel(record);
  }
}

/** Its host fell silent, or answers again: who waits for a tunnel of it looks again. */
export function touchTunnels(state: State, host: Host): void {
  for (const tunnel of host.tunnels.keys()) state.touched.push(touchKey(host, tunnel));
}

export function touchKey({ record: { host } }: Host, tunnel: string): string {
  return `tunnel/${host}/${tunnel}`;
}

/** What is told of a tunnel in this state, after `told`. */
function toldAfter(now: TunnelState, told: TunnelTold): TunnelTold {
  switch (now) {
    case 'up': return 'up';
    case 'blocked': return 'blocked';
    case 'backoff':
    case 'refused': return 'down';
    case 'stopped': return told === 'nothing' ? 'nothing' : 'down';
    case 'pending':
    case 'waiting':
    case 'ending':
    case 'connecting': return told === 'up' ? 'down' : told;
    default: return now satisfies never;
  }
}

function tellTunnel(state: State, host: Host, report: TunnelReport): void {
  const { tunnel } = report.spec;
  const record = host.tunnels.get(tunnel);
  // One that was removed, or an earlier tunnel of this name, is on its way out.
  if (record === undefined && !report.isFromConfig) return;
  if (record !== undefined && !report.isFromConfig && report.restart < record.restart && record.told === 'nothing') return;
  const before: Told = record ?? host.configTunnelsTold.get(tunnel) ?? { told: 'nothing', toldFlapping: false };
  const told = toldAfter(report.state, before.told);
  if (told === before.told && report.isFlapping === before.toldFlapping) return;
  tellChange(state, host, { report, before, told });
  const after = { told, toldFlapping: report.isFlapping };
  if (record === undefined) {
    host.configTunnelsTold.set(tunnel, after);
    return;
  }
  Object.assign(record, after);
  state.dirtyTunnel(record);
}

function tellChange(state: State, host: Host, { report, before, told }: { report: TunnelReport; before: Told; told: TunnelTold }): void {
  const { spec: { tunnel, server }, reason, message, state: now, statistics: { attempts } } = report;
  const why = { state: now, reason: reason === '' && now === 'stopped' ? 'STOPPED' : reason, message };
  const tell = (kind: 'TunnelUp' | 'TunnelDown' | 'TunnelBlocked' | 'TunnelFlapping', more: object): void =>
    state.event(kind, { host: host.record.host, detail: JSON.stringify({ tunnel, server, ...more }) });
  if (told !== before.told) {
    if (told === 'up') tell('TunnelUp', { attempts });
    // Of one that was blocked it is known that it is not up.
    else if (before.told === 'up' || (told === 'down' && before.told === 'nothing')) tell('TunnelDown', why);
    if (told === 'blocked') tell('TunnelBlocked', why);
  }
  if (report.isFlapping && !before.toldFlapping) tell('TunnelFlapping', why);
}

/** It was up, and was removed: over RPC, with its host, or in the config. */
export function tellGone(state: State, { host, spec: { tunnel, server } }: Pick<TunnelRecord, 'host' | 'spec'>): void {
  state.event('TunnelDown', { host, detail: JSON.stringify({ tunnel, server, state: 'stopped', reason: 'REMOVED', message: '' }) });
}

/** At most `limit` that fit, in order of host and name: those that were made over RPC, and those of the hosts' own configs. */
export function tunnelViews(state: State, fits: (host: string, tunnel: string) => boolean, limit: number): TunnelView[] {
  const found: TunnelView[] = [];
  for (const host of [...state.hosts.values()].filter(hasTunnels).sort((a, b) => (a.record.host < b.record.host ? -1 : 1))) {
    for (const tunnel of namesOf(host).sort()) {
      const view = fits(host.record.host, tunnel) ? tunnelView(state, host, tunnel) : undefined;
      if (view !== undefined) found.push(view);
      if (found.length === limit) return found;
    }
  }
  return found;
}

function hasTunnels({ tunnels, tunnelReports }: Host): boolean {
  return tunnels.size > 0 || tunnelReports.size > 0;
}

/** Of the tunnels that were made for the host, and those that it reports. */
export function namesOf({ tunnels, tunnelReports }: Host): string[] {
  return [...new Set([...tunnels.keys(), ...tunnelReports.keys()])];
}

/** undefined: there is none. A tunnel of the config goes before one of the same name that was made over RPC. */
export function tunnelView(state: State, host: Host, tunnel: string): TunnelView | undefined {
  const record = host.tunnels.get(tunnel);
  const { report, atMs } = host.tunnelReports.get(tunnel) ?? { report: undefined, atMs: state.nowMs };
  const isFromConfig = (report ?? { isFromConfig: record?.isOfConfig === true }).isFromConfig;
  const isRival = isFromConfig && record?.isOfConfig === false;
  const spec = specOf(isFromConfig, record, report);
  if (spec === undefined) return undefined;
  const now = stateOf(isRival ? undefined : record, report);
  const reportAgeMs = state.nowMs - atMs;
  const sinceMs = report?.state === now ? report.sinceMs + reportAgeMs : undefined;
  return {
    host: host.record.host, spec, state: now, sinceMs, isFromConfig, ...whyOf(host, { tunnel, isRival, report }), report, reportAgeMs, ...ordersOf(record, { isFromConfig, isRival }),
  };
}

/** undefined: of one that was removed and that its host still keeps. */
function specOf(isFromConfig: boolean, record: TunnelRecord | undefined, report: TunnelReport | undefined): TunnelView['spec'] | undefined {
  return isFromConfig && report !== undefined ? report.spec : record?.spec;
}

function ordersOf(record: TunnelRecord | undefined, { isFromConfig, isRival }: { isFromConfig: boolean; isRival: boolean }): Pick<TunnelView, 'revision' | 'restart' | 'isStopped'> {
  if (record === undefined) return { revision: 0, restart: 0, isStopped: false };
  return { revision: isFromConfig && !isRival ? 0 : record.revision, restart: record.restart, isStopped: record.isStopped && !isRival };
}

/** What the host said, as far as it had heard by then what is ordered now. */
function stateOf(record: TunnelRecord | undefined, report: TunnelReport | undefined): TunnelState {
  if (report === undefined) return 'pending';
  if (record === undefined) return report.state;
  if (record.isStopped) return report.state === 'stopped' ? 'stopped' : 'ending';
  if (report.state === 'stopped') return 'pending';
  return report.state === 'up' && report.restart < record.restart ? 'ending' : report.state;
}

/** Without the host nobody knows how its tunnels are. */
function whyOf(host: Host, { tunnel, isRival, report }: { tunnel: string; isRival: boolean; report: TunnelReport | undefined }): Pick<TunnelView, 'reason' | 'message'> {
  const { host: name } = host.record;
  if (host.state === 'lost') return { reason: 'HOST_LOST', message: `host ${name} is lost: ${report === undefined ? 'it has said nothing of the tunnel' : 'this is what it said last'}` };
  if (isRival) return { reason: 'TUNNEL_OF_CONFIG', message: `the config of host ${name} has a tunnel ${tunnel} too, which goes first: rename that one, or remove the one that was made over RPC` };
  if (report !== undefined) return { reason: report.reason, message: report.message };
  if (host.state === 'unknown') return { reason: 'HOST_NOT_READY', message: `host ${name} has not said hello since the coordinator started` };
  return { reason: '', message: `host ${name} has said nothing of the tunnel yet` };
}

/** By what hosts said last; stopped ones are in neither. */
export function tunnelCounts(state: State): { up: number; down: number } {
  const counts = { up: 0, down: 0 };
  for (const host of state.hosts.values()) {
    if (!hasTunnels(host)) continue;
    for (const tunnel of namesOf(host)) {
      const view = tunnelView(state, host, tunnel);
      if (view === undefined || view.state === 'stopped' || view.isStopped) continue;
      counts[view.state === 'up' && host.state !== 'lost' ? 'up' : 'down'] += 1;
    }
  }
  return counts;
}
