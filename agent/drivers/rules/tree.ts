/**
 * The dispatch tree: which rule stands in which chain, so that a new connection meets at most 2 + 4 × 16 rules however many
 * forwards there are. A range stands where it fills a block or part of one: it is cut only at the edges of its blocks. A block
 * has a chain as long as it is neither empty nor filled by one forward. Pure.
 */
import { MAX_PORT, type PortRange, type Transport } from '../../../shared/ports.js';
import type { Change } from '../../persistent/map.js';
import { differingPorts, type PortMap } from '../../persistent/ports.js';
import { treeChain } from './layout.js';
import { dnatTarget, entryOf } from './limited.js';
import type { Forward } from './spec.js';

const ROOT_SIZE = MAX_PORT + 1;
const FAN_OUT = 16;
const LEAF_SIZE = 16;

/** Chains that are not the same for `after` as for `before`, in their new form; undefined: no chain any more. */
export function treeChanges(transport: Transport, before: PortMap<Forward>, after: PortMap<Forward>): Change<readonly string[]>[] {
  const blocks = new Map<string, { first: number; size: number }>();
  let leaf = -1;
  for (const port of differingPorts(before, after)) {
    if (port - (port % LEAF_SIZE) === leaf) continue;
    leaf = port - (port % LEAF_SIZE);
    for (let size = LEAF_SIZE; size <= ROOT_SIZE; size *= FAN_OUT) {
      const first = port - (port % size);
      blocks.set(treeChain(transport, first, size), { first, size });
    }
  }
  return Array.from(blocks, ([chain, { first, size }]) => [chain, chainOf({ transport, forwards: after, first, size })]);
}

type Block = { transport: Transport; forwards: PortMap<Forward>; first: number; size: number };

function chainOf(block: Block): string[] | undefined {
  const { forwards, first, size } = block;
  if (forwards.isEmpty(first, size) || (size < ROOT_SIZE && filledBy(forwards, first, size) !== undefined)) return undefined;
  return size === LEAF_SIZE ? leafRules(block) : branchRules(block);
}

function leafRules({ forwards, first, size }: Block): string[] {
  const rules: string[] = [];
  for (let port = first; port < first + size; port++) {
    const forward = forwards.get(port);
    if (forward === undefined) continue;
    const last = Math.min(forward.ports.last, first + size - 1);
    rules.push(ruleOf(forward, { first: port, last }));
    port = last;
  }
  return rules;
}

function branchRules({ transport, forwards, first, size }: Block): string[] {
  const rules: string[] = [];
  const child = size / FAN_OUT;
  for (let at = first; at < first + size; at += child) {
    const forward = filledBy(forwards, at, child);
    if (forward !== undefined) {
      const end = Math.min(lastWhole(forward, child), first + size);
      rules.push(ruleOf(forward, { first: Math.max(at, 1), last: end - 1 }));
      at = end - child;
    } else if (!forwards.isEmpty(at, child)) {
      rules.push(`${portMatch(transport, { first: at, last: at + child - 1 })} -g ${treeChain(transport, at, child)}`);
    }
  }
  return rules;
}

/** The forward that has the whole block; port 0, which nobody has, may be missing. */
function filledBy(forwards: PortMap<Forward>, first: number, size: number): Forward | undefined {
  const forward = forwards.get(Math.max(first, 1));
  return forward !== undefined && forward.ports.last >= first + size - 1 ? forward : undefined;
}

/** Where the last block of `size` ends that the forward has as a whole. */
function lastWhole({ ports: { last } }: Forward, size: number): number {
  return Math.floor((last + 1) / size) * size;
}

export function portMatch(transport: Transport, { first, last }: PortRange): string {
  return `-p ${transport} -m ${transport} --dport ${first === last ? first : `${first}:${last}`}`;
}

function ruleOf(forward: Forward, ports: PortRange): string {
  const entry = entryOf(forward);
  return `${portMatch(forward.transport, ports)} ${entry === undefined ? dnatTarget(forward) : `-g ${entry}`}`;
}
