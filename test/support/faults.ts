/** Cuts cables: drops frames in the switch, by direction, without a word to either side. */
import { bridgePort, type HostName, type Node } from './layout.js';
import { runIn } from './netns.js';

export type Direction = 'in' | 'out' | 'both';
export type Plugged = 'gateway' | 'coordinator' | HostName;

/** From now on nothing goes `in` to, or `out` of, `node`; with `peer` only what comes from or goes to that machine. */
export type Cut = { node: Plugged; direction: Direction; peer?: Plugged };

export class Switch {
  readonly #namespace: string;
  #cuts: Cut[] = [];

  constructor(namespace: string) {
    this.#namespace = namespace;
  }

  async cut(cut: Cut): Promise<void> {
    await this.#apply([...this.#cuts, cut]);
  }

  /** Ends all cuts of this machine, or of all machines. */
  async restore(node?: Plugged): Promise<void> {
    await this.#apply(node === undefined ? [] : this.#cuts.filter((cut) => cut.node !== node));
  }

  async #apply(cuts: Cut[]): Promise<void> {
    await runIn(this.#namespace, ['nft', '-f', '-'], { input: rulesetOf(cuts) });
    this.#cuts = cuts;
  }
}

/** One nft transaction: the whole table, old content gone. */
export function rulesetOf(cuts: readonly Cut[]): string {
  const rules = cuts.flatMap(rulesOf).map((rule) => `    ${rule} drop\n`).join('');
  return `table bridge cuts\ndelete table bridge cuts\ntable bridge cuts {\n  chain forward {\n    type filter hook forward priority 0;\n${rules}  }\n}\n`;
}

function rulesOf({ node, direction, peer }: Cut): string[] {
  const from = (name: Node) => `iifname "${bridgePort(name)}"`;
  const to = (name: Node) => `oifname "${bridgePort(name)}"`;
  const into = [peer ? from(peer) : '', to(node)].join(' ').trim();
  const outOf = [from(node), peer ? to(peer) : ''].join(' ').trim();
  switch (direction) {
    case 'in': return [into];
    case 'out': return [outOf];
    case 'both': return [into, outOf];
    default: return direction satisfies never;
  }
}
