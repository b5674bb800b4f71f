/** Machines as network namespaces: made in a fraction of a second, removed also when the test or its process fails. */
import { Switch } from './faults.js';
import { ALL_HOSTS, planOf, type HostName, type Node, type Plan } from './layout.js';
import { namespacePrefix, removeLeftovers, removeNamespaces, runIn } from './netns.js';
import { run, type Finished, type RunOptions } from './run.js';

/** Both ends of a link get different indices: the kernel takes a whole second to bring up a pair with equal ones. */
const FIRST_INDEX = 100;

let count = 0;

export class Topology {
  readonly hosts: readonly HostName[];
  readonly switch: Switch;
  readonly #prefix: string;
  readonly #nodes: readonly Node[];
  readonly #onExit = () => this.down();

  private constructor(prefix: string, hosts: readonly HostName[], nodes: readonly Node[]) {
    this.#prefix = prefix;
    this.hosts = hosts;
    this.#nodes = nodes;
    this.switch = new Switch(this.namespace('switch'));
    process.once('exit', this.#onExit);
    watchSignals();
  }

  /** Makes client, gateway, switch, coordinator, and this many hosts with a machine behind each. Removes what dead runs left. */
  static async up(hostCount = 2): Promise<Topology> {
    removeLeftovers();
    const hosts = ALL_HOSTS.slice(0, hostCount);
    const plan = planOf(hosts);
    const topology = new Topology(namespacePrefix(++count), hosts, plan.nodes);
    try {
      await topology.#make(plan);
    } catch (error) {
      topology.down();
      throw error;
    }
    return topology;
  }

  namespace(node: Node): string {
    return `${this.#prefix}-${node}`;
  }

  run(node: Node, argv: readonly string[], options: RunOptions = {}): Promise<Finished> {
    return runIn(this.namespace(node), argv, options);
  }

  /** Ends every process in the namespaces and removes them. May be called twice. */
  down(): void {
    process.removeListener('exit', this.#onExit);
    removeNamespaces(this.#nodes.map((node) => this.namespace(node)));
  }

  async #make(plan: Plan): Promise<void> {
    const end = ({ node, device }: { node: Node; device: string }, index: number) => `${device} index ${index} netns ${this.namespace(node)}`;
    const batch = [
      ...plan.nodes.map((node) => `netns add ${this.namespace(node)}`),
      ...plan.links.map(({ ends: [a, b] }, i) => `link add ${end(a, 2 * i + FIRST_INDEX)} type veth peer name ${end(b, 2 * i + 1 + FIRST_INDEX)}`),
    ];
    await run(['ip', '-batch', '-'], { input: `${batch.join('\n')}\n` });
    await Promise.all([...plan.setup].map(([node, lines]) => run(['ip', '-n', this.namespace(node), '-batch', '-'], { input: `${lines.join('\n')}\n` })));
    await Promise.all(plan.forwarding.flatMap((node) => [this.#forward(node), this.addForeignRules(node)]));
  }

  async #forward(node: Node): Promise<void> {
    await this.run(node, ['sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
  }

  /** A NAT rule that has nothing to do with portlease: without one, removing the last rule of a table resets flows by itself. */
  async addForeignRules(node: Node): Promise<void> {
    await Promise.all(FOREIGN_RULES.map(({ tool, rules }) => this.run(node, [tool, '--noflush'], { input: rules })));
  }
}

export const FOREIGN_COMMENT = 'belongs-to-somebody-else';

const FOREIGN_RULES = [
  { tool: 'iptables-restore', rules: foreignRules('198.51.100.7', '198.51.100.8:9') },
  { tool: 'ip6tables-restore', rules: foreignRules('2001:db8:ff::7', '[2001:db8:ff::8]:9') },
];

function foreignRules(address: string, target: string): string {
  const mark = `-m comment --comment ${FOREIGN_COMMENT}`;
  return [
    '*nat', `-A PREROUTING -d ${address} -p tcp --dport 9 ${mark} -j DNAT --to-destination ${target}`, 'COMMIT',
    '*filter', `-A FORWARD -d ${address} -p tcp --dport 9 ${mark} -j ACCEPT`, 'COMMIT', '',
  ].join('\n');
}

const EXIT_STATUS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

let watching = false;

/** A signal leaves by way of 'exit', where every topology is taken down; a program with its own handlers keeps them. */
function watchSignals(): void {
  if (watching) return;
  watching = true;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (process.listenerCount(signal) === 1) process.exit(EXIT_STATUS[signal]);
    });
  }
}
