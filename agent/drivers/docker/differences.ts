/** What is known of containers, compared with what Docker says when it is asked again. Pure. */
import { hasProcesses, type Container, type Containers, type Network } from './containers.js';

/** Ids of those that are listed otherwise than they are known, or only listed, or only known. */
export function differing(known: Containers, listed: readonly Container[]): string[] {
  const ids = new Set(listed.map(({ id }) => id));
  const gone = Array.from(known.all, ({ id }) => id).filter(id => !ids.has(id));
  return [...gone, ...listed.filter(one => !isSame(one, known.get(one.id))).map(({ id }) => id)];
}

/** True when mappings lead to the same place. A list and an inspection say the same of all that is compared, and events tell of each change of it. */
export function isSame(a: Container | undefined, b: Container | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && textOf(a) === textOf(b));
}

export function sameNetworks(a: ReadonlyMap<string, Network>, b: ReadonlyMap<string, Network>): boolean {
  return a.size === b.size && [...a].every(([id, { driver, isInternal }]) => b.get(id)?.driver === driver && b.get(id)?.isInternal === isInternal);
}

/** One without processes has no addresses that count, and how it ended is no matter. */
function textOf(container: Container): string {
  const { name, attachments, published } = container;
  if (!hasProcesses(container)) return name;
  const places = attachments.map(({ name: network, networkId, endpointId, v4, v6 }) => [network, networkId, endpointId, v4, v6]);
  const ports = published.map(({ transport, hostAddress, port, internalPort }) => `${transport} ${hostAddress} ${port} ${internalPort}`).sort();
  return JSON.stringify([name, places, ports]);
}
