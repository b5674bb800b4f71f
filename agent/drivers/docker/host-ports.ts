/** Which containers on the network of the host listen on which of its ports: looked up as long as a mapping leads to one. */
import type { Transport } from '../../../shared/ports.js';
import { every, type Timers } from '../../../shared/timers.js';
import type { Listener, Wanted } from '../connections/listeners.js';

/** "tcp 8888" to the id of the container whose process listens there, reachable at the lease addresses. */
export type HostPorts = ReadonlyMap<string, string>;

export const NO_HOST_PORTS: HostPorts = new Map();

export type HostPort = { readonly transport: Transport; readonly port: number };

export type HostPortsWatchOptions = {
  /** Listeners on these ports, with who holds them. */
  find(wanted: Wanted): Promise<readonly Listener[]>;
  timers: Timers;
  intervalMs?: number;
  onChange(ports: HostPorts): void;
};

const INTERVAL_MS = 1_000;

export class HostPortsWatch {
  private wanted: readonly HostPort[] = [];
  private ports: HostPorts = NO_HOST_PORTS;
  private looking: Promise<void> | undefined;
  private readonly stop: () => void;

  constructor(private readonly options: HostPortsWatchOptions) {
    this.stop = every(options.timers, options.intervalMs ?? INTERVAL_MS, () => { this.look(); });
  }

  /** Looks at once when there is something new among them. */
  want(wanted: readonly HostPort[]): void {
    const known = new Set(this.wanted.map(placeOf));
    this.wanted = wanted;
    if (wanted.some(one => !known.has(placeOf(one)))) this.look();
  }

  async close(): Promise<void> {
    this.stop();
    await this.looking;
  }

  private look(): void {
    if (this.looking !== undefined || (this.wanted.length === 0 && this.ports.size === 0)) return;
    this.looking = this.take().finally(() => { this.looking = undefined; });
  }

  /** What could not be looked up stays as it was. */
  private async take(): Promise<void> {
    const rangesOf = (transport: Transport) => this.wanted.filter(one => one.transport === transport).map(({ port }) => ({ first: port, last: port }));
    const found = await this.options.find({ tcp: rangesOf('tcp'), udp: rangesOf('udp') }).catch(() => undefined);
    if (found === undefined) return;
    const ports = new Map(found.flatMap(one => (one.holder === undefined || one.holder.containerId === '' ? [] : [[placeOf(one), one.holder.containerId] as const])));
    if (ports.size === this.ports.size && [...ports].every(([place, id]) => this.ports.get(place) === id)) return;
    this.ports = ports;
    this.options.onChange(ports);
  }
}

export function placeOf({ transport, port }: HostPort): string {
  return `${transport} ${port}`;
}
