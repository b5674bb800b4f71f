/** Whether the ports that a tunnel listens on are free on this host, and who has them if not. */
import type { Endpoint } from '../../shared/tunnel.js';
import { readListeners, type Listener, type Wanted } from '../drivers/connections/listeners.js';
import type { HeldForward, Why } from './words.js';

/** Looks who listens; `Helper.find` of agent/drivers/holders. */
export type FindHolders = (question: { netDir: string; addresses: readonly string[]; wanted: Wanted }) => Promise<Listener[]>;

const NET_DIR = '/proc/self/net';
const EVERYWHERE = new Set(['0.0.0.0', '::']);

export function localEnds(forwards: readonly HeldForward[]): Endpoint[] {
  return forwards.flatMap(({ direction, listen }) => (direction === 'local' && !('socket' in listen) ? [listen] : []));
}

/** True when a listener is in the way of listening at `end`. `::` may take IPv4, too. */
export function isInTheWay({ address, port, transport }: Pick<Listener, 'address' | 'port' | 'transport'>, end: Endpoint): boolean {
  return transport === 'tcp' && port === end.port && (address === end.host || EVERYWHERE.has(address) || EVERYWHERE.has(end.host));
}

/** Undefined: all are free. `holder` undefined: it is not known who has one. Never rejects. To be asked when no process of the tunnel lives. */
export async function holderOf(ends: readonly Endpoint[], find: FindHolders): Promise<{ holder: Why | undefined } | undefined> {
  if (ends.length === 0) return undefined;
  const isTaken = (listeners: readonly Listener[]): Listener[] => listeners.filter(one => ends.some(end => isInTheWay(one, end)));
  try {
    const taken = isTaken(await readListeners(NET_DIR));
    if (taken.length === 0) return undefined;
    const wanted: Wanted = { tcp: taken.map(({ port }) => ({ first: port, last: port })), udp: [] };
    const known = isTaken(await find({ netDir: NET_DIR, addresses: taken.map(({ address }) => address), wanted }));
    if (known.length === 0) return undefined;
    const holder = known.find(one => one.holder !== undefined);
    return { holder: holder && { reason: 'LOCAL_PORT_TAKEN', message: describe(holder) } };
  } catch (error) {
    return { holder: { reason: 'LOCAL_PORT_TAKEN', message: `who listens cannot be looked at: ${(error as Error).message}` } };
  }
}

function describe({ port, address, holder, user, uid }: Listener): string {
  const who = user === undefined || user === '' ? `uid ${uid ?? '?'}` : `user ${user}`;
  return `process ${holder?.pid ?? '?'} (${holder?.program ?? '?'}, ${who}) listens on ${address}:${port}`;
}
