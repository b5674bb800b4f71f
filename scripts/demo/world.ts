/** The machines of the demo, and what can be seen of them from outside: a client's socket, the kernel's rules. */
import { join } from 'node:path';
import { Bench } from '../../test/support/bench.js';
import { GATEWAY, ROOT } from '../../test/support/daemons.js';
import { GATEWAY_PUBLIC, hostAddress, type HostName, type Node } from '../../test/support/layout.js';
import type { Dockerd } from '../../test/support/docker.js';
import type { Probe } from '../../test/support/traffic.js';

export const ENVIRONMENT = 'env-1';
export const SSH = 22;
export const JUPYTER = 8_888;

export type Ports = { ssh: number; web: number };

export class World {
  readonly bench: Bench;
  /** The client outside. */
  readonly probe: Probe;

  /** The Docker Engine of host-b; undefined before it is started, and where Docker is not installed. */
  docker: Dockerd | undefined;

  private constructor(bench: Bench, probe: Probe) {
    this.bench = bench;
    this.probe = probe;
  }

  /** The daemons, with the pools of the service plan, and in the machine behind each host the services of the environment. */
  static async up(): Promise<World> {
    const gateways = [{ gateway: GATEWAY, scope: 'shared', publicHost: GATEWAY_PUBLIC[4], plan: 'service' }];
    const bench = await Bench.up({ coordinator: { gateways } });
    try {
      for (const host of ['host-a', 'host-b'] as const) {
        await bench.serve(`${host}/${ENVIRONMENT}`, [{ transport: 'tcp', port: SSH, style: 'ssh' }, { transport: 'tcp', port: JUPYTER, style: 'http' }]);
      }
      return new World(bench, await bench.probe());
    } catch (error) {
      await bench.close();
      throw error;
    }
  }

  /** First line that a service sends to a new connection from `node`; what went wrong when there is none. */
  async banner(node: Node, address: string, port: number): Promise<{ line: string } | { failure: string }> {
    const ask = join(ROOT, 'test/support/guests/ask.mjs');
    const { code, stdout, stderr } = await this.bench.topology.run(node, [process.execPath, ask, address, String(port)], { accept: [1] });
    return code === 0 ? { line: stdout.trim() } : { failure: stderr.trim() };
  }

  /** The same for the client outside, through the gateway's public address. */
  async clientSees(port: number): Promise<string> {
    const seen = await this.banner('client', GATEWAY_PUBLIC[4], port);
    return 'line' in seen ? seen.line : `nothing: ${seen.failure}`;
  }

  /** A page that the client outside fetches through the gateway. */
  async clientFetches(port: number): Promise<string> {
    const { stdout } = await this.bench.topology.run('client', ['curl', '--silent', '--max-time', '2', `http://${GATEWAY_PUBLIC[4]}:${port}/`], { accept: [7, 28, 52, 56] });
    return stdout.trim();
  }

  /** The rule of a host's kernel that leads this public port somewhere, as iptables-save prints it. */
  async rule(node: HostName, port: number): Promise<string | undefined> {
    const { stdout } = await this.bench.topology.run(node, ['iptables-save', '-t', 'nat']);
    return stdout.split('\n').find((line) => line.includes(`--dport ${port} `) && line.includes('-j DNAT'));
  }

  /** Where the host's own rules would lead somebody who could reach the host itself. */
  askHostItself(host: HostName, port: number): Promise<{ line: string } | { failure: string }> {
    return this.banner('gateway', hostAddress(host), port);
  }

  /** From now on the client asks the ssh port ten times a second. */
  watch(ports: Ports): void {
    this.probe.watch({ address: GATEWAY_PUBLIC[4], port: ports.ssh, transport: 'tcp' });
  }

  async close(failed = false): Promise<void> {
    await this.docker?.close();
    await this.bench.close({ failed });
  }
}
