/** How many objects cover each port, so that one of them can go without looking at the others. Pure. */
import { transportsOf, type PortRange, type Protocol, type Transport } from '../../shared/ports.js';
import { donePorts, editPorts, noPorts, type Ports, type PortsEdit } from '../persistent/ports.js';

export type Cover = {
  readonly counts: Ports<number>;
  /** Ports with a count; the same object for as long as these are the same ports. */
  readonly covered: Ports<true>;
};

export const NO_COVER: Cover = { counts: noPorts(), covered: noPorts() };

export type Flip = { transport: Transport; ports: PortRange };

/** What comes is to be added before what goes is removed: then nothing flips where one object takes the place of another. */
export class CoverEdit {
  private readonly edit: PortsEdit<number>;
  private readonly touched: Flip[] = [];

  constructor(private readonly before: Cover) {
    this.edit = editPorts(before.counts);
  }

  add(protocol: Protocol, ports: PortRange): void {
    this.count(protocol, ports, 1);
  }

  remove(protocol: Protocol, ports: PortRange): void {
    this.count(protocol, ports, -1);
  }

  has(transport: Transport, port: number): boolean {
    return this.edit[transport].get(port) !== undefined;
  }

  /** Ports that may have become covered or uncovered. */
  get flips(): readonly Flip[] {
    return this.touched;
  }

  done(): Cover {
    if (this.touched.length === 0) return this.before;
    const counts = donePorts(this.edit, this.before.counts);
    const covered = editPorts(this.before.covered);
    for (const { transport, ports } of this.touched) {
      for (let port = ports.first; port <= ports.last; port++) covered[transport].set(port, counts[transport].get(port) === undefined ? undefined : true);
    }
    return { counts, covered: donePorts(covered, this.before.covered) };
  }

  private count(protocol: Protocol, ports: PortRange, by: 1 | -1): void {
    for (const transport of transportsOf(protocol)) {
      const edit = this.edit[transport];
      for (let port = ports.first; port <= ports.last; port++) {
        const count = (edit.get(port) ?? 0) + by;
        edit.set(port, count === 0 ? undefined : count);
      }
      this.touched.push({ transport, ports });
    }
  }
}
