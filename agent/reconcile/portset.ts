/** Sets of ports of both transports, with constant-time look-up: 10,000 mappings are planned in milliseconds. Pure. */
import { MAX_PORT, type PortRange, type Transport } from '../../shared/ports.js';

export class PortSet {
  private readonly bits: Record<Transport, Uint8Array> = { tcp: new Uint8Array(MAX_PORT + 1), udp: new Uint8Array(MAX_PORT + 1) };

  add(transport: Transport, { first, last }: PortRange): void {
    this.bits[transport].fill(1, first, last + 1);
  }

  delete(transport: Transport, port: number): void {
    this.bits[transport][port] = 0;
  }

  has(transport: Transport, port: number): boolean {
    return this.bits[transport][port] === 1;
  }

  /** Ascending, without overlap. */
  ranges(transport: Transport): PortRange[] {
    const bits = this.bits[transport];
    const found: PortRange[] = [];
    for (let first = bits.indexOf(1); first !== -1;) {
      const end = bits.indexOf(0, first);
      found.push({ first, last: end === -1 ? MAX_PORT : end - 1 });
      first = end === -1 ? -1 : bits.indexOf(1, end);
    }
    return found;
  }
}
