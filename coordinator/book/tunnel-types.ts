/** Words about tunnels of hosts: what the book keeps of one, what it is asked, and what it shows. */
import type { TunnelReport, TunnelSpec, TunnelState } from '../../shared/tunnel.js';
import type { Actor } from './types.js';

/** What was told of a tunnel last, by an event; 'nothing': there was nothing to tell yet. */
export type TunnelTold = 'nothing' | 'up' | 'down' | 'blocked';

/** A tunnel that was made over RPC, or what was ordered for one of the host's own config (`isOfConfig`). */
export type TunnelRecord = {
  host: string;
  spec: TunnelSpec;
  /** Book sequence at which it was made, or a restart was last asked for. */
  restart: number;
  isStopped: boolean;
  isOfConfig: boolean;
  createdAtMs: number;
  /** Book sequence at which spec or orders last changed. */
  revision: number;
  told: TunnelTold;
  toldFlapping: boolean;
};

export type TunnelCommand =
  | { kind: 'createTunnel'; actor: Actor; spec: TunnelSpec }
  /** `reason`: why, for the audit record. */
  | { kind: 'restartTunnel' | 'stopTunnel' | 'startTunnel' | 'removeTunnel'; actor: Actor; host: string; tunnel: string; reason: string };

/** `report`: what its host said last; undefined when it has said nothing in this run. */
export type TunnelView = {
  host: string;
  spec: TunnelSpec;
  state: TunnelState;
  /** In that state. undefined: not known. */
  sinceMs: number | undefined;
  isFromConfig: boolean;
  /** Ordered. */
  isStopped: boolean;
  /** Why it is not up, or was not last time; '' when there is nothing to say. */
  reason: string;
  message: string;
  report: TunnelReport | undefined;
  /** Age of the report. */
  reportAgeMs: number;
  /** 0: it stands in the config of its host. */
  revision: number;
  /** Connections of an older one are on their way out. */
  restart: number;
};
