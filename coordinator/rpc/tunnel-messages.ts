/** Tunnels as messages of the contract. */
import type { Tunnel } from '../../shared/gen/portlease/v1/tunnels.js';
import { msToDuration, tunnelSpecToWire, tunnelStateToWire, tunnelStatisticsToWire } from '../../shared/wire.js';
import type { TunnelView } from '../book/types.js';

/** `logTail`: for one tunnel alone. */
export function tunnelToWire(view: TunnelView, gateway: string, logTail: readonly string[] = []): Tunnel {
  const { spec, state, sinceMs, isFromConfig, reason, message, report, reportAgeMs, revision } = view;
  return {
    spec: tunnelSpecToWire(spec), gateway, state: tunnelStateToWire(state), since: sinceMs === undefined ? undefined : msToDuration(sinceMs), fromConfig: isFromConfig,
    statistics: report && tunnelStatisticsToWire({ ...report.statistics, probeAgeMs: later(report.statistics.probeAgeMs, reportAgeMs) }),
    reason, message, flapping: report?.isFlapping ?? false, pid: report?.pid ?? 0, logTail: [...logTail], revision,
  };
}

function later(ms: number | undefined, passedMs: number): number | undefined {
  return ms === undefined ? undefined : ms + passedMs;
}
