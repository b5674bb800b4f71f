/** Checks of single fields. Each returns the value that may be used, or throws InvalidField with the field's path. */
import { isSshPublicKey } from './tunnel-address.js';
import { InvalidField } from './invalid.js';
import { canonicalAddress, isDnsLabel, isObjectId } from './names.js';
import { isPort, MAX_PORT } from './ports.js';

const MAX_SHOWN = 64;

/** A value as it may be shown in an error: cut short, without control characters. */
export function shown(value: string): string {
  return JSON.stringify(value.length > MAX_SHOWN ? `${value.slice(0, MAX_SHOWN)}…` : value);
}

/** Names of hosts, gateways, pools, tenants, environments and ports: DNS labels. */
export function dnsLabel(value: string, field: string, max = 63): string {
  if (value === '') throw new InvalidField(field, 'is missing');
  if (isDnsLabel(value, max)) return value;
  throw new InvalidField(field, `${shown(value)} is not a DNS label: 1-${max} characters of a-z 0-9 -, not - at either end`);
}

/** Id of a lease or mapping. */
export function objectId(value: string, field: string): string {
  if (isObjectId(value)) return value;
  throw new InvalidField(field, `${shown(value)} is not an id of portlease: 1-18 characters of A-Z a-z 0-9 . _ -`);
}

/** IPv4 or IPv6 in its canonical form. */
export function ipAddress(value: string, field: string): string {
  const canonical = canonicalAddress(value);
  if (canonical !== undefined) return canonical;
  throw new InvalidField(field, value === '' ? 'is missing' : `${shown(value)} is not an IPv4 or IPv6 address`);
}

export function port(value: number, field: string): number {
  if (isPort(value)) return value;
  throw new InvalidField(field, `${value} is not a port: 1-${MAX_PORT}`);
}

/** A whole number from 0, small enough to be exact. */
export function count(value: number, field: string): number {
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new InvalidField(field, `${value} is not a whole number from 0 to 2^53 - 1`);
}

/** A list of at most `max`. */
export function atMost<T>(values: readonly T[], max: number, field: string): readonly T[] {
  if (values.length <= max) return values;
  throw new InvalidField(field, `has ${values.length} elements; at most ${max} are allowed`);
}

/** A string that fits `pattern`; `wanted` says in words which ones do. */
export function matching(value: string, pattern: RegExp, { field, wanted }: { field: string; wanted: string }): string {
  if (pattern.test(value)) return value;
  throw new InvalidField(field, `${shown(value)} is not ${wanted}`);
}

/** A field of message type that must be set. */
export function required<T>(value: T | undefined, field: string): T {
  if (value === undefined) throw new InvalidField(field, 'is missing');
  return value;
}

/** As OpenSSH writes it, without a comment. */
export function sshPublicKey(value: string, field: string): string {
  if (isSshPublicKey(value)) return value;
  throw new InvalidField(field, `${shown(value)} is not a public key as OpenSSH writes it, without a comment: "ssh-ed25519 AAAA…"`);
}
