/** driver: iptables: rules, sets, connections and settings of the kernel, as the only writer of this machine. */
import { existsSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { canonicalAddress } from '../shared/names.js';
import type { AgentOptions } from './agent.js';
import { followsDocker } from './config.js';
import type { ChildRunner } from './drivers/child.js';
import { BridgeGuard } from './drivers/bridge/guard.js';
import { ConnectionsDriver } from './drivers/connections/connections.js';
import { countConnections } from './drivers/connections/count.js';
import type { Wanted } from './drivers/connections/listeners.js';
import { ForeignListeners } from './drivers/holders/foreign.js';
import { Helper } from './drivers/holders/helper.js';
import { findForeignRules } from './drivers/rules/foreign.js';
import { proxiedConnections } from './drivers/nginx/connections.js';
import { NginxRoutes } from './drivers/nginx/driver.js';
import { endAll } from './drivers/nginx/master.js';
import { pathsIn } from './drivers/nginx/paths.js';
import { settingsOf } from './drivers/nginx/settings.js';
import { RulesDriver } from './drivers/rules/driver.js';
import { dockerClient } from './drivers/docker/client.js';
import { ReservedPorts } from './drivers/settings/reserved.js';
import { openSpawner } from './drivers/spawner/client.js';
import { KernelTraffic } from './drivers/traffic/traffic.js';
import { OwnWrites } from './drivers/watch/generations.js';
import { noting, RulesWatch } from './drivers/watch/watch.js';
import { EXIT, StartRefused } from './exit.js';
import { systemTimers } from '../shared/timers.js';
import { requireLock, requireTools } from './preflight.js';
import type { Serving } from './serving.js';
import { HostGate } from './sshd/gate.js';

/** What a change of the rules waits for. */
const KEEP_READY = ['iptables-restore', 'ip6tables-restore'].map(file => ({ file, argv: ['--noflush', '--wait'] }));

/** Throws StartRefused without the writer's lock, or when a program that it needs is missing. */
export async function openKernel(options: AgentOptions, bootId: string): Promise<Serving> {
  const { config: { paths, addresses }, log, command } = options;
  const run = openSpawner({ lockFd: requireLock(paths.lock, command), keepReady: KEEP_READY });
  try {
    for (const { name, loses, problem } of await requireTools(run, addresses)) log.warn({ tool: name, problem, loses }, 'a tool is missing');
    return await servingWith(options, { run, bootId });
  } catch (error) {
    await run.close();
    throw error;
  }
}

async function servingWith({ config, clock, random, log }: AgentOptions, { run, bootId }: { run: ChildRunner; bootId: string }): Promise<Serving> {
  const own = new OwnWrites();
  const writing = noting(run, { own, clock });
  const docker = followsDocker(config) ? dockerClient(config.docker.socket) : undefined;
  const holders = new Helper();
  const routes = config.routes === 'nginx' ? await openRoutes({ config, clock, log }, run) : undefined;
  if (routes === undefined) endFormerNginx(config);
  const gate = routes === undefined ? undefined : await HostGate.open({ stateDir: config.paths.state, bootId, socket: join(config.paths.run, 'host-keys.sock'), run, log });
  const foreign = new ForeignListeners({ addresses: config.addresses, log, helper: holders, ...(routes === undefined ? {} : { isOwn: listener => routes.isOwn(listener) }) });
  const connections = new ConnectionsDriver({
    run, addresses: config.addresses, isLocal: isAddressOfThisHost, log, ...(routes === undefined ? {} : { isProxied: (transport, port) => routes.isProxied(transport, port) }),
  });
  const drivers = {
    rules: new RulesDriver({ run: writing, count: forwards => countConnections(run, config.addresses, forwards) }),
    ...(docker === undefined ? {} : { bridges: new BridgeGuard({ run: writing, markBit: config.docker.markBit, pidOf: id => docker.pidOf(id), log }) }),
    ...(routes === undefined || gate === undefined ? { connections } : { connections: gate.cutting(proxiedConnections(connections, routes)), routes }),
    reservedPorts: await ReservedPorts.open({ statePath: join(config.paths.state, 'reserved-ports.json'), bootId }),
    listeners: (wanted: Wanted) => foreign.find(wanted),
  };
  return {
    drivers,
    holders,
    ...(gate === undefined ? {} : { gate }),
    traffic: new KernelTraffic(run, config.addresses),
    foreignRules: (leased: Wanted) => findForeignRules(run, { addresses: config.addresses, leased }),
    watch: ({ poke, roundTookMs }) => new RulesWatch({ own, clock, random, log, onChange: poke, roundTookMs }),
    close: async () => {
      await gate?.close();
      routes?.close();
      await holders.close();
      await run.close();
    },
  };
}

async function openRoutes({ config: { nginx, addresses, paths }, clock, log }: Pick<AgentOptions, 'config' | 'clock' | 'log'>, run: ChildRunner): Promise<NginxRoutes> {
  const settings = settingsOf(nginx, paths.state);
  try {
    return await NginxRoutes.open({ settings, run, addresses, isLocal: isAddressOfThisHost, clock, after: systemTimers.after, log });
  } catch (error) {
    throw new StartRefused(EXIT.config, `nginx.directory: ${(error as Error).message}`, { cause: error });
  }
}

/** Routes were nginx' once: rules of the kernel take its place, and what it still carries ends. */
function endFormerNginx({ nginx, paths }: AgentOptions['config']): void {
  const { program, directory } = settingsOf(nginx, paths.state);
  if (existsSync(directory)) endAll(program, pathsIn(directory));
}

function isAddressOfThisHost(address: string): boolean {
  return Object.values(networkInterfaces()).some(all => all?.some(one => canonicalAddress(one.address) === address));
}
