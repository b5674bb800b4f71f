/** A host with a client on one side and two targets on a bridge on the other, each a network namespace; IPv4 and IPv6. */
import { join } from 'node:path';
import { childRunner, type RunChild } from '../../../agent/drivers/child.js';
import { AskedProcess } from '../../support/asked-process.js';
import { inNamespace } from '../../support/netns.js';

export const ADDRESS = {
  client: { v4: '10.80.1.2', v6: 'fd80:1::2' },
  host: { v4: '10.80.1.1', v6: 'fd80:1::1' },
  bridge: { v4: '10.80.2.1', v6: 'fd80:2::1' },
  target: { v4: '10.80.2.2', v6: 'fd80:2::2' },
  other: { v4: '10.80.2.3', v6: 'fd80:2::3' },
} as const;

type Place = 'client' | 'host' | 'target' | 'other';
const PLACES: readonly Place[] = ['client', 'host', 'target', 'other'];

let benches = 0;

export class Bench {
  readonly #name = `plrules-${process.pid}-${++benches}`;
  readonly #run = childRunner({ lockFd: undefined });
  readonly #guests = new Map<Place, AskedProcess>();

  /** Runs a program on the host of the bench. */
  readonly onHost: RunChild = (file, argv, options) => this.#inside('host', file, argv, options);

  static async start(): Promise<Bench> {
    const bench = new Bench();
    try {
      await bench.#build();
    } catch (error) {
      await bench.close();
      throw error;
    }
    return bench;
  }

  namespace(place: Place): string {
    return `${this.#name}-${place}`;
  }

  /** A process there that listens and asks: see guest.mjs. */
  guest(place: Place): AskedProcess {
    const known = this.#guests.get(place);
    if (known !== undefined) return known;
    const guest = new AskedProcess(inNamespace(this.namespace(place), [process.execPath, join(import.meta.dirname, 'guest.mjs')]));
    this.#guests.set(place, guest);
    return guest;
  }

  async listen(place: Place, transport: 'tcp' | 'udp', port: number, address?: string): Promise<string> {
    return await this.guest(place).tell({ do: 'listen', transport, port, who: place, address }) as string;
  }

  /** "WHO sees ADDRESS", "refused" or "silent". */
  async ask(place: Place, transport: 'tcp' | 'udp', to: readonly [address: string, port: number], more: Record<string, unknown> = {}): Promise<string> {
    return await this.guest(place).tell({ do: 'ask', transport, address: to[0], port: to[1], ...more }) as string;
  }

  /** True when nothing answers for a while: long enough for an answer over these cables. */
  async isSilent(place: Place, transport: 'tcp' | 'udp', to: readonly [address: string, port: number], more: Record<string, unknown> = {}): Promise<boolean> {
    return await this.ask(place, transport, to, { timeoutMs: 300, ...more }) === 'silent';
  }

  /** Runs a program in a place of the bench. */
  async inPlace(place: Place, file: string, argv: readonly string[]): Promise<void> {
    await this.#inside(place, file, argv);
  }

  /** Input of `iptables-restore --noflush`. */
  async rules(script: string, tool = 'iptables-restore'): Promise<void> {
    await this.onHost(tool, ['--noflush'], { stdin: script });
  }

  async save(tool = 'iptables-save'): Promise<string> {
    return (await this.onHost(tool, [])).stdout;
  }

  async close(): Promise<void> {
    await Promise.all(Array.from(this.#guests.values(), guest => guest.close()));
    for (const place of PLACES) await this.#run('ip', ['netns', 'del', this.namespace(place)]).catch(() => undefined);
    await this.#run.close();
  }

  #inside: (place: Place, ...child: Parameters<RunChild>) => ReturnType<RunChild> = (place, file, argv, options) =>
    this.#run('nsenter', [`--net=/run/netns/${this.namespace(place)}`, file, ...argv], options);

  async #build(): Promise<void> {
    for (const place of PLACES) {
      await this.#run('ip', ['netns', 'add', this.namespace(place)]);
      await this.#inside(place, 'sysctl', ['-qw', 'net.ipv6.conf.all.accept_dad=0', 'net.ipv6.conf.default.accept_dad=0']);
    }
    await this.#ip('host', ['link set lo up', 'link add br0 type bridge mcast_snooping 0', 'link set br0 up']);
    await this.#cable('client', 'h0', ADDRESS.client, ADDRESS.host);
    await this.#cable('target', 'h1', ADDRESS.target, ADDRESS.bridge);
    await this.#cable('other', 'h2', ADDRESS.other, ADDRESS.bridge);
    await this.#ip('host', ['link set h1 master br0', 'link set h2 master br0',
      `addr add ${ADDRESS.host.v4}/24 dev h0`, `addr add ${ADDRESS.host.v6}/64 dev h0 nodad`,
      `addr add ${ADDRESS.bridge.v4}/24 dev br0`, `addr add ${ADDRESS.bridge.v6}/64 dev br0 nodad`]);
    await this.#inside('host', 'sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
    // Where bridged frames meet iptables, answers between two targets find their way back by luck.
    await this.#inside('host', 'sysctl', ['-eqw', 'net.bridge.bridge-nf-call-iptables=0', 'net.bridge.bridge-nf-call-ip6tables=0']);
    // A port of a bridge sends a frame back where it came from only when told so: a target that calls itself needs it.
    for (const link of ['h1', 'h2']) await this.#inside('host', 'bridge', ['link', 'set', 'dev', link, 'hairpin', 'on']);
    // Another NAT rule: with the last one gone the kernel would forget connections by itself.
    await this.rules('*nat\n-A POSTROUTING -s 192.0.2.1/32 -j MASQUERADE\nCOMMIT\n');
    await this.rules('*nat\n-A POSTROUTING -s 2001:db8::1/128 -j MASQUERADE\nCOMMIT\n', 'ip6tables-restore');
  }

  async #cable(place: Place, link: string, own: { v4: string; v6: string }, router: { v4: string; v6: string }): Promise<void> {
    await this.#ip('host', [`link add ${link} type veth peer name e0 netns ${this.namespace(place)}`, `link set ${link} up`]);
    await this.#ip(place, ['link set lo up', 'link set e0 up', `addr add ${own.v4}/24 dev e0`, `addr add ${own.v6}/64 dev e0 nodad`,
      `route add default via ${router.v4}`, `-6 route add default via ${router.v6}`]);
  }

  async #ip(place: Place, lines: readonly string[]): Promise<void> {
    await this.#inside(place, 'ip', ['-batch', '-'], { stdin: lines.map(line => `${line.replace(/^-6 /, '')}\n`).join('') });
  }
}
