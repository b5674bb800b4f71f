/** Sockets of this host that carry a connection which must end, closed by ss -K. Needs INET_DIAG_DESTROY in the kernel. */
import type { Transport } from '../../../shared/ports.js';
import type { RunChild } from '../child.js';
import { eachOf } from './concurrency.js';
import type { ConntrackEntry, Tuple } from './entry.js';

const TUPLES_A_CALL = 50;

/** ss filter for exactly these connections, as seen by the socket that answers: it can match no listener. */
export function socketFilter(replies: readonly Tuple[]): string[] {
  return replies.flatMap((reply, index) => [
    ...(index === 0 ? [] : ['or']),
    '(', 'src', end(reply.source, reply.sourcePort), 'and', 'dst', end(reply.destination, reply.destinationPort), ')',
  ]);
}

function end(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/**
 * Closes the sockets that answer these entries. Returns how many are still there: ss -K says nothing and exits with 0 on a
 * kernel that cannot close sockets, so it is read back.
 */
export async function closeSockets(run: RunChild, entries: readonly ConntrackEntry[]): Promise<number> {
  const calls: { transport: Transport; filter: string[] }[] = [];
  for (const transport of ['tcp', 'udp'] as const) {
    const replies = entries.filter(entry => entry.transport === transport).map(entry => entry.reply);
    for (let at = 0; at < replies.length; at += TUPLES_A_CALL) {
      calls.push({ transport, filter: socketFilter(replies.slice(at, at + TUPLES_A_CALL)) });
    }
  }
  let left = 0;
  await eachOf(calls, async ({ transport, filter }) => {
    const options = ['-H', '-n', transport === 'tcp' ? '-t' : '-u', 'state', 'connected', 'exclude', 'time-wait'];
    await run('ss', ['-K', ...options, ...filter]);
    const { stdout } = await run('ss', [...options, ...filter]);
    left += stdout.split('\n').filter(line => line.trim() !== '').length;
  });
  return left;
}
