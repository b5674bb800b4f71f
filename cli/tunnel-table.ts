/** How tunnels are shown. */
import { ForwardDirection, TunnelState, type Tunnel, type TunnelForward, type TunnelSpec, type TunnelStatistics } from '../shared/gen/portlease/v1/tunnels.js';
import { properties, table, type Column } from './table.js';
import { durationText, endpoint, forwardDirectionWord, tunnelEngineWord, tunnelStateWord } from './words.js';

export const TUNNEL_COLUMNS: readonly Column<Tunnel>[] = [
  { header: 'TUNNEL', cell: ({ spec }) => spec?.tunnel ?? '' },
  { header: 'HOST', cell: ({ spec }) => spec?.host ?? '' },
  { header: 'SERVER', cell: ({ spec }) => spec?.server ?? '' },
  { header: 'STATE', cell: stateText },
  { header: 'SINCE', align: 'right', cell: ({ since }) => durationText(since) },
  { header: 'ATTEMPTS', align: 'right', cell: ({ statistics }) => statistics?.attempts ?? '' },
  { header: 'FROM', cell: ({ fromConfig }) => (fromConfig ? 'config' : 'rpc') },
  { header: 'REASON', cell: whyText },
];

/** "up", "up (flapping)". */
function stateText({ state, flapping }: Tunnel): string {
  return `${tunnelStateWord(state)}${flapping ? ' (flapping)' : ''}`;
}

function whyText({ reason, message }: Tunnel): string {
  return [reason, message].filter((part) => part !== '').join(': ');
}

const FORWARD_COLUMNS: readonly Column<TunnelForward>[] = [
  { header: 'FORWARD', cell: ({ direction }) => forwardDirectionWord(direction) },
  { header: 'LISTENS', cell: ({ direction, listen }) => `${direction === ForwardDirection.FORWARD_DIRECTION_REVERSE ? 'server' : 'host'} ${place(listen)}` },
  { header: 'LEADS TO', cell: ({ to }) => place(to) },
];

function place(at: TunnelForward['listen']): string {
  return at === undefined ? '' : endpoint(at.host, at.port);
}

/** One tunnel with all that is known of it. */
export function tunnelText(tunnel: Tunnel): string {
  const { spec, gateway, since, statistics, pid, revision, fromConfig, logTail } = tunnel;
  const log = logTail.length === 0 ? '' : `\n${table<string>([{ header: 'LOG', cell: (line) => line }], logTail)}`;
  return `${properties([
    ['tunnel', spec?.tunnel ?? ''], ['host', spec?.host ?? ''], ['gateway', gateway], ['server', spec?.server ?? ''],
    ['state', stateText(tunnel)], ['since', durationText(since)], ['reason', whyText(tunnel)], ['pid', pid === 0 ? '' : pid],
    ...(spec === undefined ? [] : specProperties(spec)), ...statisticsProperties(statistics),
    ['made', fromConfig ? 'in the config of its host' : `over RPC, revision ${revision}`],
  ])}\n${table(FORWARD_COLUMNS, spec?.forwards ?? [])}${log}`;
}

function specProperties({ engine, probe, options }: TunnelSpec): [string, string][] {
  const probed = probe && `forward ${probe.forward} every ${durationText(probe.interval)}, within ${durationText(probe.timeout)}${probe.banner === '' ? '' : `, for ${probe.banner}`}`;
  return [
    ['engine', tunnelEngineWord(engine) || 'as the host says'], ['probe', probed ?? ''],
    ['options', Object.entries(options).map(([name, value]) => `${name}=${value}`).join(' ')],
  ];
}

function statisticsProperties(statistics: TunnelStatistics | undefined): [string, string | number][] {
  if (statistics === undefined) return [];
  const { attempts, connections, failures, restarts, restartTime, probes, probesFailed, probeTime, probeAge } = statistics;
  const answered = probeTime === undefined ? '' : `, last answered in ${durationText(probeTime)}${probeAge === undefined ? '' : `, ${durationText(probeAge)} ago`}`;
  return [
    ['attempts', attempts], ['connections', connections], ['failures', failures],
    ['restarts', `${restarts}${restartTime === undefined ? '' : `, the last one in ${durationText(restartTime)}`}`], ['probes', `${probes}, ${probesFailed} failed${answered}`],
  ];
}

/** What can be done about one that is not up. */
export function tunnelHints({ spec, state, reason }: Tunnel): string[] {
  if (state === TunnelState.TUNNEL_STATE_UP && reason === '') return [];
  const about = `${spec?.tunnel} --host ${spec?.host}`;
  switch (state) {
    case TunnelState.TUNNEL_STATE_STOPPED: return [`start it: portlease tunnels start ${about}`];
    case TunnelState.TUNNEL_STATE_REFUSED: return [`put right the config of host ${spec?.host} (tunnels), or the tunnel`];
    default: return [`how far it is, with its log: portlease tunnels show ${about}`];
  }
}
