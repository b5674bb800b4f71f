/** Where a host behind NAT listens on its gateway, and with which key it comes there. */
import { createHash } from 'node:crypto';

const KEY = /^(ssh-ed25519|ecdsa-sha2-nistp(?:256|384|521)|ssh-rsa) [A-Za-z0-9+/]{40,1000}={0,2}$/;

/** The loopback address of the gateway (in 127.64.0.0/10) on which the reverse forwards of this host, with this key, listen: the same for each of its ports. Another key is
 *  another place, and so is, but for one in four million, another host. */
export function tunnelAddress(host: string, key: string): string {
  const [a = 0, b = 0, c = 0] = createHash('sha256').update(`portlease tunnel ${host} ${key}`).digest();
  return `127.${64 + (a & 63)}.${b}.${c}`;
}

/** A public key as OpenSSH writes it, without a comment: "ssh-ed25519 AAAA…". */
export function isSshPublicKey(text: string): boolean {
  return KEY.test(text);
}
