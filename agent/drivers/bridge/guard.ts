/**
 * Lets packets of mappings out of bridges only through the ports behind which their containers are (table.ts says how). Promises:
 * - hold() comes before rules change: from then on whatever has moved or gone gets nothing any more;
 * - admit() comes when what led elsewhere has ended: only then a container gets what comes for its address;
 * - what is right in the kernel is not touched, also after a restart of the agent;
 * - a kernel that cannot do this is said once, and mappings are served without it.
 */
import { ChildFailed, type RunChild } from '../child.js';
import type { Log } from '../../../shared/log.js';
import { bridgePortOf } from './devices.js';
import { changedTable, parseTable, TABLE, wholeTable, type Ports } from './table.js';

/** A container that mappings lead to. `endpointId` is another one each time it joins a network. */
export type Bound = { readonly address: string; readonly containerId: string; readonly endpointId: string };

export type BridgeGuardOptions = {
  run: RunChild;
  markBit: number;
  /** Id of its first process; undefined: it does not run. */
  pidOf(containerId: string): Promise<number | undefined>;
  log: Log;
};

const NOTHING: Ports = new Map();
/** Endpoints that are remembered beyond those that are wanted: their ids are never used again. */
const KEPT = 1_024;
/** Containers that are looked up together. */
const AT_ONCE = 16;

export class BridgeGuard {
  /** What the kernel has; undefined: not known. */
  private ports: Ports | undefined;
  /** By endpoint: bridge ports stay as long as an endpoint does. */
  private readonly known = new Map<string, string>();
  private readonly failures = new Map<string, string>();
  /** No address is guarded. */
  private isIdle = false;
  private isUnable = false;
  private held: readonly Bound[] | undefined;
  private last: Promise<void> = Promise.resolve();

  constructor(private readonly options: BridgeGuardOptions) {}

  /**
   * Takes everybody's place who is not in `wanted` as before, and guards the addresses of `wanted` from now on. `isQuiet`: nothing that led
   * elsewhere is still connected, so a container at an address that nobody had is let in at once. `mustLook`: compare with the kernel;
   * without it the list that is held already costs nothing.
   * Resolves with how often somebody else had changed the table since the last look: 0 or 1.
   */
  async hold(wanted: readonly Bound[], { isQuiet, mustLook }: { isQuiet: boolean; mustLook: boolean }): Promise<number> {
    if (wanted === this.held && !mustLook) return 0;
    this.held = wanted;
    let repaired = 0;
    await this.alone(async () => {
      if (wanted.length === 0 && this.isIdle) return;
      if (this.ports === undefined || mustLook) {
        const was = this.ports;
        this.ports = await this.look();
        if (was !== undefined && (this.ports === undefined || changedTable(was, this.ports) !== '')) repaired = 1;
      }
      if (wanted.length === 0 && this.isIdle) return;
      const before = this.ports ?? NOTHING;
      const held = new Map<string, string | undefined>([...before.keys()].map((address) => [address, undefined]));
      for (const [address, port] of await this.portsOf(wanted)) {
        held.set(address, port === before.get(address) || (isQuiet && !before.has(address)) ? port : undefined);
      }
      await this.bring(held);
    });
    return repaired;
  }

  /** Lets each container have what comes for its address, and guards no other address any more: unless others were held since. */
  admit(wanted: readonly Bound[]): Promise<void> {
    return this.alone(async () => {
      if (wanted !== this.held || this.ports === undefined || (wanted.length === 0 && this.isIdle)) return;
      await this.bring(await this.portsOf(wanted));
    });
  }

  /** Why a container gets nothing, by its address. */
  problems(): ReadonlyMap<string, string> {
    return this.failures;
  }

  /** One at a time, in the order of the calls. */
  private alone(work: () => Promise<void>): Promise<void> {
    return this.last = this.last.then(() => this.attempt(work));
  }

  private async attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work();
      if (this.isUnable) this.options.log.info('the bridge guard works again');
      this.isUnable = false;
    } catch (error) {
      this.ports = undefined;
      const problem = error instanceof Error ? error.message : String(error);
      if (!this.isUnable) this.options.log.warn({ problem }, 'bridges cannot be guarded: until the next round a container that inherits an address may get packets that were for another one');
      this.isUnable = true;
    }
  }

  /** Undefined: the table is not there, or not as it should be, and has to be made as a whole. */
  private async look(): Promise<Ports | undefined> {
    this.isIdle = false;
    try {
      const found = parseTable((await this.options.run('nft', ['-j', 'list', 'table', 'bridge', TABLE])).stdout);
      this.isIdle = found?.size === 0;
      return found;
    } catch (error) {
      if (!(error instanceof ChildFailed) || !error.stderr.includes('No such file or directory')) throw error;
      this.isIdle = true;
      return undefined;
    }
  }

  private async bring(ports: Ports): Promise<void> {
    const script = this.ports === undefined ? wholeTable(ports, this.options.markBit) : changedTable(this.ports, ports);
    if (script !== '') await this.options.run('nft', ['-f', '-'], { stdin: script });
    this.ports = ports;
    this.isIdle = ports.size === 0;
  }

  private async portsOf(wanted: readonly Bound[]): Promise<Map<string, string | undefined>> {
    const ports = new Map<string, string | undefined>();
    const unknown = new Map<string, Bound>();
    this.failures.clear();
    for (const bound of wanted) {
      ports.set(bound.address, this.known.get(keyOf(bound)));
      if (!this.known.has(keyOf(bound))) unknown.set(bound.address, bound);
    }
    const rest = [...unknown.values()];
    for (let at = 0; at < rest.length; at += AT_ONCE) await Promise.all(rest.slice(at, at + AT_ONCE).map(async (bound) => { ports.set(bound.address, await this.find(bound)); }));
    this.forget(wanted);
    return ports;
  }

  private async find(bound: Bound): Promise<string | undefined> {
    try {
      const pid = await this.options.pidOf(bound.containerId);
      if (pid === undefined) throw new Error('it does not run');
      const port = await bridgePortOf(this.options.run, { pid, address: bound.address });
      this.known.set(keyOf(bound), port);
      return port;
    } catch (error) {
      this.failures.set(bound.address, `the bridge port of container ${bound.containerId.slice(0, 12)} was not found: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  }

  private forget(wanted: readonly Bound[]): void {
    if (this.known.size <= 2 * wanted.length + KEPT) return;
    const keys = new Set(wanted.map(keyOf));
    for (const key of this.known.keys()) if (!keys.has(key)) this.known.delete(key);
  }
}

function keyOf({ endpointId, address }: Bound): string {
  return `${endpointId} ${address}`;
}
