/**
 * Which public ports are wanted, which ones nginx listens on, and which ones are open: only what is open is let through the guard. Values
 * are where a port leads. A port that is to lead elsewhere is closed before nginx is told, and opened when nothing that led elsewhere
 * is left. Pure and immutable.
 */
import type { PortRange, Transport } from '../../../shared/ports.js';
import { differingPorts, donePorts, editPorts, noPorts, type Ports } from '../../persistent/ports.js';
import type { Leased } from '../rules/spec.js';
import { placesOf } from './route.js';
import { portsOf, type ServedRoute } from './render.js';

export type Doors = {
  readonly wanted: Ports<string>;
  /** By the config that nginx runs. */
  readonly running: Ports<string>;
  readonly open: Ports<string>;
};

const TRANSPORTS: readonly Transport[] = ['tcp', 'udp'];

export const NO_DOORS: Doors = { wanted: noPorts(), running: noPorts(), open: noPorts() };

export function leadsOf(routes: Iterable<ServedRoute>): Ports<string> {
  const before = noPorts<string>();
  const edit = editPorts(before);
  for (const route of routes) {
    for (const transport of route.transports) for (const range of portsOf(route, transport)) edit[transport].fill(range, placesOf(route));
  }
  return donePorts(edit, before);
}

/** Closed is what is open for something else than is wanted. */
export function want(doors: Doors, wanted: Ports<string>): Doors {
  const edit = editPorts(doors.open);
  for (const transport of TRANSPORTS) {
    for (const port of differingPorts(doors.open[transport], wanted[transport])) edit[transport].set(port, undefined);
  }
  return { ...doors, wanted, open: donePorts(edit, doors.open) };
}

/** nginx runs another config. What it does not serve any more is closed. */
export function run(doors: Doors, running: Ports<string>): Doors {
  const edit = editPorts(doors.open);
  for (const transport of TRANSPORTS) {
    for (const port of differingPorts(doors.open[transport], running[transport])) edit[transport].set(port, undefined);
  }
  return { ...doors, running, open: donePorts(edit, doors.open) };
}

/** Ports that nginx serves as wanted and that are closed: as soon as nothing else is connected there they can be opened. */
export function ready({ wanted, running, open }: Doors): Leased[] {
  return TRANSPORTS.flatMap(transport => {
    const ports: { first: number; last: number }[] = [];
    for (const port of differingPorts(wanted[transport], open[transport])) {
      const to = wanted[transport].get(port);
      if (to === undefined || running[transport].get(port) !== to) continue;
      const last = ports.at(-1);
      if (last?.last === port - 1) last.last = port;
      else ports.push({ first: port, last: port });
    }
    return ports.map(range => ({ transport, ports: range }));
  });
}

/** Opens what is ready of these. */
export function opened(doors: Doors, cleared: Iterable<Leased>): Doors {
  const edit = editPorts(doors.open);
  for (const { transport, ports } of cleared) {
    for (let port = ports.first; port <= ports.last; port++) {
      const to = doors.wanted[transport].get(port);
      if (to !== undefined && doors.running[transport].get(port) === to) edit[transport].set(port, to);
    }
  }
  const open = donePorts(edit, doors.open);
  return open === doors.open ? doors : { ...doors, open };
}

/** nginx leads clients of these elsewhere than it should, or anywhere. */
export function isMisled({ wanted, running }: Doors, transport: Transport, { first, last }: PortRange): boolean {
  for (let port = first; port <= last; port++) {
    const to = running[transport].get(port);
    if (to !== undefined && to !== wanted[transport].get(port)) return true;
  }
  return false;
}

/** True when some port must not be served any longer as it is: a reload does not wait then. */
export function isUrgent({ wanted, running }: Doors): boolean {
  for (const transport of TRANSPORTS) {
    for (const port of differingPorts(running[transport], wanted[transport])) if (running[transport].get(port) !== undefined) return true;
  }
  return false;
}

export function openPorts({ open }: Doors): Leased[] {
  return TRANSPORTS.flatMap(transport => open[transport].ranges().map(ports => ({ transport, ports })));
}
