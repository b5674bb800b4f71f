/** Tunnels for tests, each whole and plausible; a test names only what it is about. */
import type { TunnelReport, TunnelSpec } from '../../shared/tunnel.js';

export function tunnelSpec(of: Partial<TunnelSpec> = {}): TunnelSpec {
  return {
    tunnel: 'db', host: 'a', server: 'bastion', forwards: [{ direction: 'local', listen: { host: '127.0.0.1', port: 5432 }, to: { host: 'db.internal', port: 5432 } }],
    engine: undefined, probe: undefined, options: {}, ...of,
  };
}

export function tunnelReport(of: Partial<TunnelReport> = {}): TunnelReport {
  return {
    spec: tunnelSpec(), isFromConfig: false, state: 'up', sinceMs: 0, reason: '', message: '', isFlapping: false, pid: 812, logTail: [], restart: 0,
    statistics: { attempts: 1, connections: 1, failures: 0, restarts: 0, probes: 0, probesFailed: 0, probeTimeMs: undefined, probeAgeMs: undefined, restartTimeMs: undefined }, ...of,
  };
}
