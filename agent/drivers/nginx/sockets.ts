/** Connections of clients that nginx carries, by their public port: also such that the kernel's connection table does not know (any more). */
import type { PortRange } from '../../../shared/ports.js';
import type { RunChild } from '../child.js';

const RANGES_A_CALL = 50;
const OPTIONS = ['-H', '-n', '-t', 'state', 'connected', 'exclude', 'time-wait'];

/** ss filter for TCP connections of these addresses and ports; it matches no listener beside `state connected`. */
export function rangeFilter(addresses: readonly string[], ranges: readonly PortRange[]): string[] {
  const own = addresses.flatMap((address, i) => [...i === 0 ? [] : ['or'], 'src', address.includes(':') ? `[${address}]` : address]);
  const ports = ranges.flatMap(({ first, last }, i) => [...i === 0 ? [] : ['or'], '(', 'sport', '>=', `:${first}`, 'and', 'sport', '<=', `:${last}`, ')']);
  return ['(', ...own, ')', 'and', '(', ...ports, ')'];
}

/** Closes them. Returns the ports of those that are still there: ss -K says nothing, and exits with 0, on a kernel that cannot close sockets. */
export async function closeRanges(run: RunChild, addresses: readonly string[], ranges: readonly PortRange[]): Promise<Set<number>> {
  const left = new Set<number>();
  for (let at = 0; at < ranges.length; at += RANGES_A_CALL) {
    const filter = rangeFilter(addresses, ranges.slice(at, at + RANGES_A_CALL));
    await run('ss', ['-K', ...OPTIONS, ...filter]);
    const { stdout } = await run('ss', [...OPTIONS, ...filter]);
    for (const port of localPorts(stdout)) left.add(port);
  }
  return left;
}

/** State, two queues, local address:port. */
export function localPorts(text: string): number[] {
  return text.split('\n').flatMap(line => {
    const port = /^\S+\s+\d+\s+\d+\s+\S+:(\d+)\s/.exec(line)?.[1];
    return port === undefined ? [] : [Number(port)];
  });
}
