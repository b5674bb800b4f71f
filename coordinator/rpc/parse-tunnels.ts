/** Requests of TunnelService, checked field by field. Each parser throws InvalidRequest with all that is wrong. */
import type { CreateTunnelRequest, ListTunnelsRequest } from '../../shared/gen/portlease/v1/tunnels.js';
import type { TunnelSpec } from '../../shared/tunnel.js';
import { tunnelSpecFromWire } from '../../shared/wire.js';
import { Checks } from './checks.js';
import { checkReason } from './parse-hosts.js';

/** Of RestartTunnel and the like: `reason` is for the audit record. */
export type TunnelOrder = { host: string; tunnel: string; reason: string };

export function parseCreateTunnel({ spec }: CreateTunnelRequest): TunnelSpec {
  const checks = new Checks();
  const parsed = checks.take<TunnelSpec | undefined>(() => tunnelSpecFromWire(spec, 'spec'), undefined);
  checks.done();
  if (parsed === undefined) throw new Error('a spec that is not there was not refused');
  return parsed;
}

export function parseTunnelName({ host, tunnel }: { host: string; tunnel: string }): { host: string; tunnel: string } {
  const checks = new Checks();
  checks.label(host, 'host');
  checks.label(tunnel, 'tunnel');
  checks.done();
  return { host, tunnel };
}

export function parseTunnelOrder({ host, tunnel, reason }: TunnelOrder): TunnelOrder {
  const checks = new Checks();
  checks.label(host, 'host');
  checks.label(tunnel, 'tunnel');
  checkReason(reason, 0, checks);
  checks.done();
  return { host, tunnel, reason };
}

export function parseTunnelFilter(request: ListTunnelsRequest): { gateway: string; host: string } {
  const checks = new Checks();
  const filter = { gateway: checks.optionalLabel(request.gateway, 'gateway'), host: checks.optionalLabel(request.host, 'host') };
  checks.done();
  return filter;
}
