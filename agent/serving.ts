/** What serves the desired state on this machine; config.driver says which. */
import type { Helper } from './drivers/holders/helper.js';
import type { HostGate } from './sshd/gate.js';
import type { TrafficDriver } from './drivers/traffic/traffic.js';
import type { Wanted } from './drivers/connections/listeners.js';
import type { ForeignRule } from './drivers/rules/foreign.js';
import type { ReconcileDrivers } from './reconcile/loop.js';

export type Serving = {
  readonly drivers: ReconcileDrivers;
  /** Looks who listens; closed with the rest. */
  readonly holders: Pick<Helper, 'find'>;
  readonly traffic: TrafficDriver;
  /** Gateway with nginx: lets hosts behind NAT in. */
  readonly gate?: HostGate;
  /** Rules of others that take these ports, or lead to own chains. Throws when a tool fails. */
  readonly foreignRules: (served: Wanted) => Promise<readonly ForeignRule[]>;
  /** Pokes when somebody else may have changed what serves, where that can be noticed. */
  watch(loop: { poke: () => void; roundTookMs: () => number }): { close(): Promise<void> };
  close(): Promise<void>;
};
