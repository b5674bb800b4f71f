/** What an earlier agent left: an nginx that runs, and ports that the guard lets through. */
import type { Transport } from '../../../shared/ports.js';
import type { RunChild } from '../child.js';
import { PROXIED_SET } from '../rules/layout.js';
import { parseSets } from '../rules/sets.js';
import type { Leased } from '../rules/spec.js';
import { leadsOf, NO_DOORS, opened, type Doors } from './doors.js';
import { readMain, readRoutes, type Config } from './files.js';
import type { NginxPaths } from './paths.js';
import type { NginxProcess } from './processes.js';
import { renderRoutes } from './render.js';

type Left = { process: NginxProcess; paths: NginxPaths; run: RunChild; here: readonly string[] };

/** Undefined when it is not known what that nginx leads where. What the kernel lets through was proven to be led there, and by nobody else. */
export async function adoptable({ process, paths, run, here }: Left): Promise<{ running: Config; doors: Doors } | undefined> {
  const routes = readRoutes(paths, process.serial);
  if (routes === undefined) return undefined;
  const running = leadsOf(routes);
  const admitted = await Promise.all((['tcp', 'udp'] as const).map(transport => admittedOf(run, transport)));
  return {
    running: { serial: process.serial, main: readMain(paths), files: renderRoutes(routes, here), routes },
    doors: opened({ wanted: running, running, open: NO_DOORS.open }, admitted.flat()),
  };
}

async function admittedOf(run: RunChild, transport: Transport): Promise<Leased[]> {
  const text = await run('ipset', ['save', PROXIED_SET[transport]]).then(({ stdout }) => stdout, () => '');
  const members = parseSets(text).get(PROXIED_SET[transport])?.members;
  return members?.kind === 'ports' ? members.ports.map(ports => ({ transport, ports })) : [];
}
