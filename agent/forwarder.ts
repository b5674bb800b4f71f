/** driver: userspace: a TCP forwarder of this process, as any user. */
import type { AgentOptions } from './agent.js';
import { MIN_FILES, readFileLimit } from './drivers/userspace/budget.js';
import { holdAlone, NotAlone, type Held } from './drivers/userspace/alone.js';
import type { Wanted } from './drivers/connections/listeners.js';
import { ForeignListeners } from './drivers/holders/foreign.js';
import { Helper } from './drivers/holders/helper.js';
import { UserspaceDriver } from './drivers/userspace/driver.js';
import { EXIT, StartRefused } from './exit.js';
import type { Serving } from './serving.js';

/** Nothing is put in ip_local_reserved_ports: that takes root. */
const NO_RESERVED_PORTS = { ours: [], set: () => Promise.resolve(false) };

/** Throws StartRefused when another agent works on the state folder, or when this process may open too few files. */
export async function openForwarder({ config, log }: AgentOptions): Promise<Serving> {
  const { paths, userspace, addresses } = config;
  const files = readFileLimit();
  if (files < MIN_FILES) throw new StartRefused(EXIT.config, `this process may open ${files} files, and driver: userspace needs at least ${MIN_FILES}: raise the limit (ulimit -n, LimitNOFILE)`);
  const held = await holdState(paths.state);
  const limits = { maxConnections: userspace.maxConnections, maxPerMapping: userspace.maxConnectionsPerMapping, files };
  const holders = new Helper();
  const foreign = new ForeignListeners({ addresses, log, helper: holders });
  const driver = new UserspaceDriver({ limits, connectMs: userspace.connectTimeout, log });
  log.info({ ...limits, state: paths.state }, 'driver: userspace: forwards TCP; ports without a mapping are not guarded, and connections end with this process');
  return {
    drivers: { rules: driver, connections: driver, reservedPorts: NO_RESERVED_PORTS, listeners: (wanted: Wanted) => driver.foreign(() => foreign.find(wanted)) },
    foreignRules: () => Promise.resolve([]),
    holders,
    traffic: { look: mappings => driver.trafficOf(mappings) },
    watch: () => ({ close: () => Promise.resolve() }),
    close: async () => {
      await holders.close();
      await driver.close();
      await held.close();
    },
  };
}

async function holdState(folder: string): Promise<Held> {
  try {
    return await holdAlone(folder);
  } catch (error) {
    if (error instanceof NotAlone) throw new StartRefused(EXIT.lock, `${error.message}: stop it, or give this one another paths.state`, { cause: error });
    throw new StartRefused(EXIT.config, `paths.state: ${(error as Error).message}: name a folder that this user can write`, { cause: error });
  }
}
