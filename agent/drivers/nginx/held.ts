/** What processes listen on, by the inodes of their sockets. */
import { readListeners, type Listener } from '../connections/listeners.js';
import { isThere, socketsOf, type NginxProcess } from './processes.js';

export type Held = Pick<Listener, 'transport' | 'address' | 'port'> & { readonly pid: number };

/** Listening sockets, of the agent's network namespace, that these processes hold. */
export async function heldBy(processes: readonly NginxProcess[]): Promise<Held[]> {
  const there = processes.filter(isThere);
  if (there.length === 0) return [];
  const listeners = await readListeners('/proc/self/net');
  return there.flatMap(one => {
    const sockets = socketsOf(one);
    return listeners.filter(({ inode = 0 }) => sockets.has(inode)).map(({ transport, address, port }) => ({ transport, address, port, pid: one.pid }));
  });
}
