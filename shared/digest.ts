/** Digest of a desired state, as HeartbeatRequest.digest of the contract says. */
import { createHash } from 'node:crypto';

/** XOR of the first 8 bytes of SHA-256("KEY@VERSION") of each object: order does not matter, and a change costs one hash. */
export class StateDigest {
  #high = 0;
  #low = 0;

  add(key: string, version: number): void {
    const hash = createHash('sha256').update(`${key}@${version}`).digest();
    this.#high = (this.#high ^ hash.readUInt32BE(0)) >>> 0;
    this.#low = (this.#low ^ hash.readUInt32BE(4)) >>> 0;
  }

  /** Takes out what was added under the same key and version. */
  remove(key: string, version: number): void {
    this.add(key, version);
  }

  /** 16 hexadecimal digits; all 0 for no object. */
  hex(): string {
    return hex32(this.#high) + hex32(this.#low);
  }
}

function hex32(value: number): string {
  return value.toString(16).padStart(8, '0');
}
