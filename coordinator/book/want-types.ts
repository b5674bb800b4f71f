/** Words about what is asked for: wants, and the command that allocates them. */
import type { Protocol } from '../../shared/ports.js';
import type { ClientLimits, Target } from '../../shared/desired.js';
import type { Actor, OnConflict } from './types.js';

export type Choice = { kind: 'any' } | { kind: 'exact'; port: number } | { kind: 'preferred'; port: number };

export type WantSpec = {
  name: string;
  source: { kind: 'pool'; pool: string } | { kind: 'serviceType'; serviceType: string };
  /** undefined: what the pool serves. */
  protocol: Protocol | undefined;
  count: number;
  contiguous: boolean;
  target: Target;
  /** 0: the pool's default. */
  internalPort: number;
  choice: Choice;
  /** undefined: everybody, without limit. Left out of the hash of a body then. */
  limits?: ClientLimits | undefined;
  /** undefined: as the pool says. */
  onConflict?: OnConflict | undefined;
};

export type AllocateCommand = {
  kind: 'allocate';
  actor: Actor;
  requestId: string;
  bodyHash: string;
  tenant: string;
  environment: string;
  host: string;
  wants: WantSpec[];
  labels: Record<string, string>;
  dryRun: boolean;
  verify: boolean;
  /** The caller is told the numbers only when they are live: until then one that turns out to be taken may be exchanged. */
  tellsWhenLive?: boolean;
};
