/** The text form of /proc/sys/net/ipv4/ip_local_reserved_ports. Pure. */
import { MAX_PORT, rangeText, type PortRange } from '../../../shared/ports.js';

/** "8080,30000-30255"; the empty set is "". */
export function formatRanges(ranges: readonly PortRange[]): string {
  return ranges.map(rangeText).join(',');
}

/** Reads what formatRanges writes, and the kernel; port 0 may be among the latter. Throws on anything else. */
export function parseRanges(text: string): PortRange[] {
  const trimmed = text.trim();
  return trimmed === '' ? [] : trimmed.split(',').map(parseRange);
}

function parseRange(text: string): PortRange {
  const [, start, end] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
  const range = { first: Number(start), last: Number(end ?? start) };
  if (start === undefined || range.last > MAX_PORT || range.first > range.last) throw new Error(`not a range of ports: ${JSON.stringify(text)}`);
  return range;
}
