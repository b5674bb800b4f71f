/**
 * Names of what portlease owns in the kernel. Chain names stay under 29 characters.
 * - nat: PORTLEASE (from PREROUTING and OUTPUT, per lease address) is the root of the dispatch tree: PORTLEASE-T and -U for TCP
 *   and UDP, then a chain per aligned block of 4,096, 256 and 16 ports, and of one port with client networks, named by the leading
 *   hexadecimal digits of its ports. PORTLEASE-ID is the chain of a limited mapping; ids have no capitals. A guarded port that the tree
 *   leads nowhere is kept from rules of others (docker run -p), unless it is published with portlease's leave: it goes to INPUT.
 * - nat: PORTLEASE-POST (from POSTROUTING) leads connections of own addresses to PORTLEASE-MASQ.
 * - filter: PORTLEASE-FORWARD (from DOCKER-USER, else FORWARD) leads connections of own addresses to PORTLEASE-ACCEPT.
 * - mangle: PORTLEASE-GUARD (from INPUT) and PORTLEASE-CUT (from PREROUTING and OUTPUT); where bridges are guarded PORTLEASE-MARK (from
 *   POSTROUTING), which leads connections of own addresses to PORTLEASE-MARKED.
 */
import type { Transport } from '../../../shared/ports.js';
import type { Family } from './spec.js';

/** In the order in which they are committed: guarded and accepted before it is led anywhere. */
export const TABLES = ['mangle', 'filter', 'nat'] as const;
export type Table = (typeof TABLES)[number];

export const ROOT = 'PORTLEASE';
export const POST = 'PORTLEASE-POST';
export const MASQ = 'PORTLEASE-MASQ';
export const FORWARD = 'PORTLEASE-FORWARD';
export const ACCEPT = 'PORTLEASE-ACCEPT';
export const GUARD = 'PORTLEASE-GUARD';
export const CUT = 'PORTLEASE-CUT';
export const MARK = 'PORTLEASE-MARK';
export const MARKED = 'PORTLEASE-MARKED';

export function isOwnChain(name: string): boolean {
  return name.startsWith(ROOT);
}

/** Exists within one transaction only. */
export const probeChain = `${ROOT}-PROBE`;

const TARGET_CHAIN = /^PORTLEASE-([a-z0-9-]{1,18})$/;

export function targetChain(id: string): string {
  return `${ROOT}-${id}`;
}

/** Id of the limited mapping whose chain it is; undefined for another chain. */
export function targetOf(chain: string): string | undefined {
  return TARGET_CHAIN.exec(chain)?.[1];
}

/** True where the order of the rules means something. */
export function isOrdered(chain: string): boolean {
  return chain === CUT || chain === ROOT || targetOf(chain) !== undefined;
}

/** Chain of the block of `size` ports (65,536, 4,096, 256, 16 or 1) that begins at `first`. */
export function treeChain(transport: Transport, first: number, size: number): string {
  const digits = size === 65_536 ? 0 : size === 4_096 ? 1 : size === 256 ? 2 : size === 16 ? 3 : 4;
  const letter = transport === 'tcp' ? 'T' : 'U';
  return `${ROOT}-${letter}${first.toString(16).padStart(4, '0').slice(0, digits)}`;
}

/** Leased ports, for both families. */
export const GUARD_SET: Record<Transport, string> = { tcp: 'portlease-guard-tcp', udp: 'portlease-guard-udp' };
/** Public ports that Docker publishes with portlease's leave, for both families. */
export const PUBLISHED_SET: Record<Transport, string> = { tcp: 'portlease-published-tcp', udp: 'portlease-published-udp' };
/** Leased ports that a proxy of this machine serves: these are not guarded. Made where there is a proxy. */
export const PROXIED_SET: Record<Transport, string> = { tcp: 'portlease-proxied-tcp', udp: 'portlease-proxied-udp' };
/** (source, protocol, source port) whose NEW packets are dropped; entries and their timeouts are the connections driver's. */
export const CUT_SET: Record<Family, string> = { v4: 'portlease-cut4', v6: 'portlease-cut6' };
/** (former target, protocol, its port, client): connections that were ended. Filled by the connections driver, renewed by each packet dropped. */
export const FLOW_SET: Record<Family, string> = { v4: 'portlease-flow4', v6: 'portlease-flow6' };
/** As the cut sets, but for the time of the flows: for those that found no room. */
export const WIDE_SET: Record<Family, string> = { v4: 'portlease-wide4', v6: 'portlease-wide6' };
/**
 * How long an ended connection is remembered after its last packet. TCP: as long as conntrack remembers an idle connection (5 days), so that
 * a server which speaks later would have lost it without portlease too. UDP: conntrack forgets after 2 minutes; a day is ample, and
 * a former server may want to address that client by itself one day, which for UDP looks the same.
 */
export const FLOW_TIMEOUT_S: Record<Transport, number> = { tcp: 5 * 86_400, udp: 86_400 };
/** Targets with hairpin. */
export const TARGET_SET: Record<Family, string> = { v4: 'portlease-target4', v6: 'portlease-target6' };

export const OWN_SET_PREFIX = 'portlease-';
