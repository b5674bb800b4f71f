/** Values that configs are made of. Each says in its error what would be right. */
import { z } from 'zod';
import { canonicalAddress, isDnsLabel, isPublicHost, parseCidr, type Cidr } from '../names.js';
import type { Endpoint } from '../grpc.js';
import { isPort } from '../ports.js';

const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const MAX_SOCKET_PATH = 100;
const MAX_DURATION_MS = 3650 * UNIT_MS.d;
const DURATION = /^([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)$/;

/** A type that is read from text; `parse` gives undefined when the text is not `wanted`. */
function fromString<T>(wanted: string, parse: (text: string) => T | undefined) {
  const error = `is not ${wanted}`;
  return z.string({ error }).transform((text, context): T => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.addIssue({ code: 'custom', message: error });
    return z.NEVER;
  });
}

/** "5s", "300ms", "24h" → milliseconds, at most 3650 days. */
export const durationMs = fromString('a duration: write for example "300ms", "5s", "10m", "24h" or "7d", at most "3650d"', (text) => {
  const [, amount, unit] = DURATION.exec(text) ?? [];
  if (unit === undefined) return undefined;
  const ms = Math.round(Number(amount) * UNIT_MS[unit as keyof typeof UNIT_MS]);
  return ms <= MAX_DURATION_MS ? ms : undefined;
});

/** Name of a host, gateway or pool. */
export const dnsLabelText = fromString('a DNS label: 1-63 characters of a-z 0-9 -, not - at either end', (text) => (isDnsLabel(text) ? text : undefined));

/** IPv4 or IPv6 address, in canonical form. */
export const ipAddressText = fromString('an IPv4 or IPv6 address', canonicalAddress);

/** "10.0.0.0/8". */
export const cidrText = fromString<Cidr>('a network: write for example "10.0.0.0/8"', parseCidr);

/** Absolute path without "..", at most 1,000 characters. */
export const filePathText = fromString('an absolute path without ".."', (text) => (isFilePath(text) ? text : undefined));

/** PEM files of mutual TLS: own certificate with its chain, its key, and the CA that signs the other side's. */
export const tlsFiles = z.strictObject({ certificate: filePathText, key: filePathText, ca: filePathText });

/** "unix:/run/portlease/api.sock", "127.0.0.1:7410", "[::1]:7410". */
export const endpointText = fromString<Endpoint>('a place to listen or connect: "HOST:PORT", "[IPV6]:PORT" or "unix:/PATH"', parseEndpoint);

/** undefined when it is none. A unix path has at most 100 characters (the kernel's limit is 107). Port 0: the kernel chooses. */
export function parseEndpoint(text: string): Endpoint | undefined {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length);
    return isFilePath(path) && path.length <= MAX_SOCKET_PATH ? { kind: 'unix', path } : undefined;
  }
  const [, six, name, digits] = /^(?:\[([0-9a-fA-F:]+)\]|([^[\]:]+)):([0-9]{1,5})$/.exec(text) ?? [];
  const host = six === undefined ? name : canonicalAddress(six);
  const port = Number(digits);
  if (host === undefined || !isPublicHost(host) || !(port === 0 || isPort(port))) return undefined;
  return { kind: 'tcp', host, port };
}

function isFilePath(text: string): boolean {
  return /^\/[A-Za-z0-9/._@+:-]{1,999}$/.test(text) && !text.split('/').includes('..');
}
