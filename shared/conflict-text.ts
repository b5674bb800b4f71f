/** A foreign process on a port, in words. */
import type { Conflict } from './desired.js';

/** "nginx (pid 812, user www-data, container 4f0c1d2e3f4a) listens on tcp 0.0.0.0:30001". */
export function conflictSentence({ transport, address, port, uid, user, holder }: Conflict): string {
  // Agents of earlier versions only tell the port.
  if (address === '') return `a process that is not known listens on ${transport} port ${port}`;
  const who = `user ${user === '' ? uid : user}`;
  const place = `listens on ${transport} ${address.includes(':') ? `[${address}]` : address}:${port}`;
  if (holder === undefined) return `a process that is not found (${who}) ${place}`;
  const { program, pid, containerId, proxyFor, environment } = holder;
  const where = containerId === '' ? '' : `, container ${containerId.slice(0, 12)}`;
  const whose = environment === '' ? '' : ` of environment ${environment}`;
  return `${program} (pid ${pid}, ${who}${where}${whose}) ${place}${proxyFor === '' ? '' : ` for ${proxyFor}`}`;
}
