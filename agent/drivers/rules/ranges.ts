/** Sets of ports as sorted, disjoint, non-adjacent ranges. */
import { MAX_PORT, type PortRange } from '../../../shared/ports.js';

/** Sorted and joined; the input may overlap and touch in any order. */
export function union(ranges: readonly PortRange[]): PortRange[] {
  return ranges.length > MANY ? unionOfMany(ranges) : unionOfFew(ranges);
}

const MANY = 256;

function unionOfFew(ranges: readonly PortRange[]): PortRange[] {
  const joined: { first: number; last: number }[] = [];
  for (const { first, last } of [...ranges].sort((a, b) => a.first - b.first)) {
    const before = joined.at(-1);
    if (before !== undefined && first <= before.last + 1) before.last = Math.max(before.last, last);
    else joined.push({ first, last });
  }
  return joined;
}

/** By marking ports: sorting thousands of single ports would take longer. */
function unionOfMany(ranges: readonly PortRange[]): PortRange[] {
  const marks = new Uint8Array(MAX_PORT + 2);
  for (const { first, last } of ranges) marks.fill(1, first, last + 1);
  const joined: PortRange[] = [];
  for (let first = marks.indexOf(1); first >= 0; ) {
    const end = marks.indexOf(0, first);
    joined.push({ first, last: end - 1 });
    first = marks.indexOf(1, end);
  }
  return joined;
}

/** What is in `a` and not in `b`; both sorted and disjoint. */
export function difference(a: readonly PortRange[], b: readonly PortRange[]): PortRange[] {
  const rest: PortRange[] = [];
  let next = 0;
  for (const { first, last } of a) {
    let from = first;
    while (next < b.length && (b[next] as PortRange).last < first) next++;
    for (let i = next; i < b.length && (b[i] as PortRange).first <= last; i++) {
      const hole = b[i] as PortRange;
      if (hole.first > from) rest.push({ first: from, last: hole.first - 1 });
      from = Math.max(from, hole.last + 1);
    }
    if (from <= last) rest.push({ first: from, last });
  }
  return rest;
}

export function count(ranges: readonly PortRange[]): number {
  return ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0);
}
