/** Which ports processes of this network namespace listen on, read from /proc/net. */
import { readFile } from 'node:fs/promises';
import { endianness } from 'node:os';
import { SocketAddress } from 'node:net';
import { join } from 'node:path';
import type { PortHolder } from '../../../shared/desired.js';
import type { PortRange, Transport } from '../../../shared/ports.js';

/** `uid`: whose socket it is. `holder`: left out where nobody looked, or where no process was found. */
export type Listener = { transport: Transport; address: string; port: number; inode?: number; uid?: number; user?: string; holder?: PortHolder };

/** Ports that matter. */
export type Wanted = Readonly<Record<Transport, readonly PortRange[]>>;

export const LISTENER_FILES = [
  { name: 'tcp', transport: 'tcp' }, { name: 'tcp6', transport: 'tcp' },
  { name: 'udp', transport: 'udp' }, { name: 'udp6', transport: 'udp' },
] as const;

/** TCP: LISTEN. UDP has no such state: not connected to anybody. */
const LISTENS: Record<Transport, string> = { tcp: '0A', udp: '07' };

/** sl, local address:port, remote address:port, state; hexadecimal, addresses as 32-bit words in the machine's order. Then queues, timer,
 *  retransmits, uid, timeout, inode. */
const LINE = /^\s*\d+: ([0-9A-F]+):([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]{2}) \S+ \S+ \S+ +(\d+) +\d+ (\d+)/;

/** Listeners in the text of /proc/net/{tcp,tcp6,udp,udp6}, on ports that are wanted. */
export function parseListeners(text: string, transport: Transport, isPortWanted: (port: number) => boolean = () => true): Listener[] {
  const listeners: Listener[] = [];
  for (const line of text.split('\n')) {
    const [, address, port, state, uid, inode] = LINE.exec(line) ?? [];
    if (address === undefined || port === undefined || state !== LISTENS[transport]) continue;
    const number = Number.parseInt(port, 16);
    if (isPortWanted(number)) listeners.push({ transport, address: addressOf(address), port: number, uid: Number(uid), inode: Number(inode) });
  }
  return listeners;
}

function addressOf(words: string): string {
  const bytes = Buffer.from(words, 'hex');
  if (endianness() === 'LE') bytes.swap32();
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16));
  return new SocketAddress({ address: groups.join(':'), family: 'ipv6' }).address;
}

/** `netDir`: /proc/self/net, or that of a process in another namespace. A family that the kernel lacks has no listeners. */
export async function readListeners(netDir: string): Promise<Listener[]> {
  const found = await Promise.all(LISTENER_FILES.map(async ({ name, transport }) => {
    const text = await readFile(join(netDir, name), 'latin1').catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
      throw error;
    });
    return parseListeners(text, transport);
  }));
  return found.flat();
}

/** True when the port is in one of the ranges. */
export function isWanted(wanted: Wanted, { transport, port }: Pick<Listener, 'transport' | 'port'>): boolean {
  return wanted[transport].some(({ first, last }) => first <= port && port <= last);
}

/** True when others than this machine may reach it there. */
export function isReachable(address: string, addresses: readonly string[]): boolean {
  return address === '0.0.0.0' || address === '::' || addresses.includes(address);
}
