/**
 * The dispatch tree: which rule stands in which chain, so that a new connection meets at most 2 + 4 × 16 rules however many
 * forwards there are. A range stands where it fills a block or part of one: it is cut only at the edges of its blocks.
 */
import { MAX_PORT, type PortRange, type Transport } from '../../../shared/ports.js';
import { treeChain } from './layout.js';
import type { Forward } from './spec.js';

const ROOT_SIZE = 65_536;
const FAN_OUT = 16;
const LEAF_SIZE = 16;

export type Chains = Map<string, string[]>;

/** Adds the chains of one transport; nothing when there are no forwards. `forwards` must be disjoint. */
export function growTree(chains: Chains, transport: Transport, forwards: readonly Forward[]): void {
  const place = (forward: Forward, ports: PortRange, first: number, size: number): void => {
    const chain = grow(chains, transport, first, size);
    if (size === LEAF_SIZE) {
      chain.push(dnat(forward, ports));
      return;
    }
    const child = size / FAN_OUT;
    const blocks = wholeBlocks(ports, child);
    if (blocks !== undefined) chain.push(dnat(forward, blocks));
    for (const rest of blocks === undefined ? [ports] : around(ports, blocks)) {
      for (const piece of atEdges(rest, child)) place(forward, piece, piece.first - (piece.first % child), child);
    }
  };
  for (const forward of forwards) place(forward, forward.ports, 0, ROOT_SIZE);
}

/** The chain of a block, made and joined to its parent when it is not there yet. */
function grow(chains: Chains, transport: Transport, first: number, size: number): string[] {
  const name = treeChain(transport, first, size);
  const known = chains.get(name);
  if (known !== undefined) return known;
  const chain: string[] = [];
  chains.set(name, chain);
  if (size !== ROOT_SIZE) {
    const parent = size * FAN_OUT;
    const block = { first, last: first + size - 1 };
    grow(chains, transport, first - (first % parent), parent).push(`${portMatch(transport, block)} -g ${name}`);
  }
  return chain;
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
  return `-p ${transport} -m ${transport} --dport ${first === last ? first : `${first}:${Math.min(last, MAX_PORT)}`}`;
}

function dnat({ id, generation, transport, to, toPort }: Forward, ports: PortRange): string {
  const address = toPort === undefined ? to : to.includes(':') ? `[${to}]:${toPort}` : `${to}:${toPort}`;
  return `${portMatch(transport, ports)} -m comment --comment "portlease:${id}:g${generation}" -j DNAT --to-destination ${address}`;
}
