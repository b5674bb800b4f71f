/** Entries of the kernel's connection table, as conntrack(8) prints them. Pure. */
import type { Transport } from '../../../shared/ports.js';

/** One direction of a connection. Addresses are in canonical text form: conntrack prints no other. */
export type Tuple = { source: string; sourcePort: number; destination: string; destinationPort: number };

/** `original`: as the first packet arrived. `reply`: as the answers leave; its source is the real target. `isClosing`: it is over, and only remembered. */
export type ConntrackEntry = { transport: Transport; original: Tuple; reply: Tuple; isClosing?: true };

const TUPLE = String.raw`src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+)`;
const ENTRY = new RegExp(String.raw`^\s*(?:ipv[46]\s+\d+\s+)?(tcp|udp)\s.*?\b${TUPLE} .*?\b${TUPLE}`);

const CLOSING = / (?:TIME_WAIT|CLOSE) src=/;

/** Name and number of a protocol that is neither TCP nor UDP. */
const OTHER_PROTOCOL = /^\s*(?:ipv[46]\s+\d+\s+)?(?!ipv[46]\s)\S+\s+(?!6\s|17\s)\d+\s/;

/** Undefined for another protocol. Throws on a line that it does not understand: an entry that is overlooked would be confirmed as gone. */
export function parseEntry(line: string): ConntrackEntry | undefined {
  const found = ENTRY.exec(line);
  if (found === null && OTHER_PROTOCOL.test(line)) return undefined;
  if (found === null) throw new Error(`not understood in the output of conntrack: ${JSON.stringify(line.slice(0, 300))}`);
  const [, transport, ...fields] = found;
  const entry = { transport: transport as Transport, original: tuple(fields.slice(0, 4)), reply: tuple(fields.slice(4, 8)) };
  return CLOSING.test(line) ? { ...entry, isClosing: true } : entry;
}

/** Of an attempt that nobody has answered. */
const UNANSWERED = new Set(['NONE', 'SYN_SENT', 'SYN_SENT2']);
/** Entries that the kernel hands on in a flow table have neither a timeout nor a state: they are open. */
const TCP_STATE = /^\s*(?:ipv[46]\s+\d+\s+)?tcp\s+6\s+\d+\s+([A-Z][A-Z0-9_]*)\s/;

/**
 * Of a line that parseEntry() understands: a connection that is open, or has ended a moment ago. A TCP connection that ended in good order is in
 * the table for two minutes more, a UDP flow for half a minute to two after its last packet.
 */
export function isConnection(line: string): boolean {
  const state = TCP_STATE.exec(line)?.[1];
  return state === undefined || !UNANSWERED.has(state);
}

function tuple([source = '', destination = '', sourcePort = '', destinationPort = '']: string[]): Tuple {
  return { source, sourcePort: Number(sourcePort), destination, destinationPort: Number(destinationPort) };
}

/** True unless the original direction ends where it was sent to. */
export function isTranslated({ original, reply }: ConntrackEntry): boolean {
  return reply.source !== original.destination || reply.sourcePort !== original.destinationPort;
}
