/** Requests that tests make again and again. */
import { MappingState, Protocol, Wait } from '../../shared/gen/portlease/v1/common.js';
import type { AllocatePortsRequest, DeepPartial, Mapping, Want } from '../../shared/gen/portlease/v1/ports.js';
import type { Transport } from '../../shared/ports.js';
import { vmAddress, type HostName } from './layout.js';
import type { Bench } from './bench.js';
import type { ProbeRecord } from './timeline.js';
import type { Listener, Probe, Watched } from './traffic.js';

export { MappingState, Protocol, Wait };

export const SSH_PORT = 22;
export const GAME_PORT = 7_000;

/** What an environment's machine listens on: one TCP port, and one number for TCP and UDP. */
export const ENVIRONMENT_LISTENERS: Listener[] = [
  { transport: 'tcp', port: SSH_PORT }, { transport: 'tcp', port: GAME_PORT }, { transport: 'udp', port: GAME_PORT },
];

export function address(value: string): { kind: { $case: 'address'; value: string } } {
  return { kind: { $case: 'address', value } };
}

/** One port of a pool that leads to the machine behind a host. */
export function want(pool: string, target: string, more: DeepPartial<Want> = {}): DeepPartial<Want> {
  return { name: pool, source: { $case: 'pool', value: pool }, target: address(target), ...more };
}

/** An environment with an ssh port (TCP) and a game port (TCP and UDP, one number), live. */
export function environmentOn(host: HostName, environment = 'env-1', index = 0): DeepPartial<AllocatePortsRequest> {
  const target = vmAddress(host, index);
  return { tenant: 'tenant-1', environment, host, wants: [want('ssh', target), want('game', target)], wait: Wait.WAIT_LIVE };
}

/** The same environment on another host. */
export function moveTo(host: HostName, environment = 'env-1', index = 0) {
  const target = address(vmAddress(host, index));
  return { environment, host, targets: [{ name: 'ssh', target }, { name: 'game', target }], wait: Wait.WAIT_LIVE };
}

const TRANSPORTS: Record<Protocol, Transport[]> = {
  [Protocol.PROTOCOL_UNSPECIFIED]: [],
  [Protocol.PROTOCOL_TCP]: ['tcp'],
  [Protocol.PROTOCOL_UDP]: ['udp'],
  [Protocol.PROTOCOL_TCP_UDP]: ['tcp', 'udp'],
};

/** The public ports of mappings, for a probe. */
export function portsOf(mappings: readonly Mapping[]): Omit<Watched, 'address'>[] {
  return mappings.flatMap(({ protocol, publicPort }) => TRANSPORTS[protocol].map((transport) => ({ port: publicPort, transport })));
}

/** An environment as environmentOn() makes it, served by its host, and a client that is answered by it on new and kept connections. */
export async function servedEnvironment(bench: Bench, host: HostName, options: { alsoOn?: HostName[]; environment?: string; index?: number } = {}): Promise<{ mappings: Mapping[]; probe: Probe }> {
  const { environment = 'env-1', index = 0, alsoOn = [] } = options;
  for (const one of [host, ...alsoOn]) await bench.serve(`${one}/${environment}`, ENVIRONMENT_LISTENERS.map((listener) => ({ ...listener, address: vmAddress(one, index) })), { pushEveryMs: 100 });
  const { mappings } = await bench.api.allocate(environmentOn(host, environment, index));
  const probe = await bench.probe(...portsOf(mappings));
  await reachedOnAll(probe, mappings, `${host}/${environment}`);
  return { mappings, probe };
}

/** Lets the client go on for a while. */
export async function goOn(probe: Probe, forMs: number): Promise<void> {
  const untilMs = Date.now() + forMs;
  await probe.until(`attempts over ${forMs} ms`, ({ sentAtMs }) => sentAtMs >= untilMs, { fromMs: untilMs, withinMs: forMs + 5_000 });
}

/** Waits until `who` answers from now on through each port of the mappings, on connections of each of these kinds. */
export async function reachedOnAll(probe: Probe, mappings: readonly Mapping[], who: string, kinds: readonly ('new' | 'kept')[] = ['new', 'kept']): Promise<void> {
  const fromMs = Date.now();
  for (const { port, transport } of portsOf(mappings)) {
    for (const kind of kinds) {
      const fits = (record: ProbeRecord) => record.port === port && record.transport === transport && record.kind === kind && record.who === who;
      await probe.until(`${who} through ${transport} ${port} on a ${kind} connection`, fits, { fromMs });
    }
  }
}
