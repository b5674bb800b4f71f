/**
 * The dispatch tree: which rule stands in which chain, so that a new connection meets at most 2 + 4 × 16 rules however many
 * forwards there are. A range stands where it fills a block or part of one: it is cut only at the edges of its blocks.
 */
import type { PortRange, Transport } from '../../../shared/ports.js';
import { treeChain } from './layout.js';
import type { Forward } from './spec.js';

const ROOT_SIZE = 65_536;
const FAN_OUT = 16;
const LEAF_SIZE = 16;

/** Chains of one transport by name, and what the leaves were made of. */
export type Tree = {
  readonly chains: ReadonlyMap<string, readonly string[]>;
  /** By first port divided by 16: forwards of a single port, and their rules. */
  readonly leaves: ReadonlyMap<number, Leaf>;
};

type Leaf = { readonly forwards: readonly Forward[]; readonly rules: readonly string[] };

/** No chains when there are no forwards. `forwards` must be disjoint. Leaves that are as `before` are taken from there. */
export function growTree(transport: Transport, forwards: readonly Forward[], before?: Tree): Tree {
  const chains = new Map<string, readonly string[]>();
  const leaves = new Map<number, Leaf>();
  const add = (first: number, size: number, rules: readonly string[]): void => {
    const name = treeChain(transport, first, size);
    const known = chains.get(name);
    chains.set(name, known === undefined ? rules : [...known, ...rules]);
    if (known !== undefined || size === ROOT_SIZE) return;
    const parent = size * FAN_OUT;
    add(first - (first % parent), parent, [`${portMatch(transport, { first, last: first + size - 1 })} -g ${name}`]);
  };
  for (const [number, singles] of byLeaf(forwards)) {
    const known = before?.leaves.get(number);
    const leaf = known !== undefined && sameForwards(known.forwards, singles) ? known : { forwards: singles, rules: singles.map(single => dnat(single, single.ports)) };
    leaves.set(number, leaf);
    add(number * LEAF_SIZE, LEAF_SIZE, leaf.rules);
  }
  for (const forward of forwards) if (isRange(forward)) addRange(forward, add);
  return { chains, leaves };
}

function isRange({ ports }: Forward): boolean {
  return ports.first !== ports.last;
}

function byLeaf(forwards: readonly Forward[]): Map<number, Forward[]> {
  const leaves = new Map<number, Forward[]>();
  for (const forward of forwards) {
    if (isRange(forward)) continue;
    const number = Math.floor(forward.ports.first / LEAF_SIZE);
    const leaf = leaves.get(number);
    if (leaf === undefined) leaves.set(number, [forward]);
    else leaf.push(forward);
  }
  return leaves;
}

/** Within one leaf and transport: the other fields follow. */
function sameForwards(a: readonly Forward[], b: readonly Forward[]): boolean {
  return a.length === b.length && a.every((one, i) => {
    const other = b[i] as Forward;
    return one === other || (one.id === other.id && one.generation === other.generation && one.ports.first === other.ports.first
      && one.to === other.to && one.toPort === other.toPort);
  });
}

type Add = (first: number, size: number, rules: readonly string[]) => void;

function addRange(forward: Forward, add: Add): void {
  const place = (ports: PortRange, size: number): void => {
    const block = ports.first - (ports.first % size);
    if (size === LEAF_SIZE) return add(block, size, [dnat(forward, ports)]);
    const child = size / FAN_OUT;
    const whole = wholeBlocks(ports, child);
    if (whole !== undefined) add(block, size, [dnat(forward, whole)]);
    for (const rest of whole === undefined ? [ports] : around(ports, whole)) {
      for (const piece of atEdges(rest, child)) place(piece, child);
    }
  };
  place(forward.ports, ROOT_SIZE);
}

/** The blocks of `size` that lie whole within `ports`; port 0, which nobody has, may be missing. */
function wholeBlocks({ first, last }: PortRange, size: number): PortRange | undefined {
  const from = first === 1 ? 0 : Math.ceil(first / size) * size;
  const end = Math.floor((last + 1) / size) * size;
  return from < end ? { first: Math.max(from, 1), last: end - 1 } : undefined;
}

function around(ports: PortRange, middle: PortRange): PortRange[] {
  return [{ first: ports.first, last: middle.first - 1 }, { first: middle.last + 1, last: ports.last }]
    .filter(({ first, last }) => first <= last);
}

/** Cuts a range that holds no whole block of `size`: at most two pieces, each within one block. */
function atEdges({ first, last }: PortRange, size: number): PortRange[] {
  const edge = last - (last % size);
  return edge <= first ? [{ first, last }] : [{ first, last: edge - 1 }, { first: edge, last }];
}

export function portMatch(transport: Transport, { first, last }: PortRange): string {
  return `-p ${transport} -m ${transport} --dport ${first === last ? first : `${first}:${last}`}`;
}

function dnat({ id, generation, transport, to, toPort }: Forward, ports: PortRange): string {
  const address = toPort === undefined ? to : to.includes(':') ? `[${to}]:${toPort}` : `${to}:${toPort}`;
  return `${portMatch(transport, ports)} -m comment --comment "portlease:${id}:g${generation}" -j DNAT --to-destination ${address}`;
}
