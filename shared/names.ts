/**
 * Allow-lists for what comes from outside. Whatever passes here may become a file name, a host name, an argument or part of a rule.
 * All of them refuse control characters, NUL, newline and a leading '-'.
 */
import { BlockList, isIP, SocketAddress } from 'node:net';

const DNS_LABEL = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/;
const REQUEST_ID = /^[A-Za-z0-9._:][A-Za-z0-9._:-]{0,127}$/;
const LABEL = /^[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$/;
const OBJECT_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,17}$/;
const SSH_OPTION = /^[A-Za-z][A-Za-z0-9]{0,63}$/;
const SSH_OPTION_VALUE = /^[A-Za-z0-9+^][A-Za-z0-9 .,:+@_/=*-]{0,254}$/;
const BANNER = /^[\x20-\x7e]{0,128}$/;
const ALL_DIGITS = /^[0-9]+$/;
const MAX_DNS_NAME = 253;

/** Lower-case letters, digits and '-', not at either end; 1..max characters (RFC 1123). */
export function isDnsLabel(value: string, max = 63): boolean {
  return value.length <= max && DNS_LABEL.test(value);
}

/** 1-128 characters of A-Z a-z 0-9 . _ : -; the first one is not '-'. */
export function isRequestId(value: string): boolean {
  return REQUEST_ID.test(value);
}

/** 1-63 characters of A-Z a-z 0-9 . _ - /; first and last are letters or digits. */
export function isLabelKey(value: string): boolean {
  return LABEL.test(value);
}

/** As a key, or empty. */
export function isLabelValue(value: string): boolean {
  return value === '' || LABEL.test(value);
}

/** Id of a mapping or lease, as portlease makes them: at most 18 characters. */
export function isObjectId(value: string): boolean {
  return OBJECT_ID.test(value);
}

/** IPv4 or IPv6 in text form, without zone. IPv4 inside IPv6 (::ffff:10.0.0.1) is refused: two names for one address. */
export function isIpAddress(value: string): boolean {
  return canonicalAddress(value) !== undefined;
}

export function ipFamily(value: string): 4 | 6 | undefined {
  const canonical = canonicalAddress(value);
  return canonical === undefined ? undefined : familyOf(canonical);
}

/** Of an address that was checked before. */
export function familyOf(address: string): 4 | 6 {
  return address.includes(':') ? 6 : 4;
}

/** The one text form of an address (IPv6: compressed, lower case), or undefined when it is none. */
export function canonicalAddress(value: string): string | undefined {
  switch (isIP(value)) {
    case 4: return value;
    case 6: return canonicalIpv6(value);
    default: return undefined;
  }
}

function canonicalIpv6(value: string): string | undefined {
  if (value.includes('%')) return undefined;
  const { address } = new SocketAddress({ address: value, family: 'ipv6' });
  return address.includes('.') ? undefined : address;
}

/** A DNS name or an IP address that clients may be told to connect to. */
export function isPublicHost(value: string): boolean {
  if (isIpAddress(value)) return true;
  if (value.length > MAX_DNS_NAME) return false;
  const labels = value.split('.');
  return labels.every((label) => isDnsLabel(label)) && !ALL_DIGITS.test(labels.at(-1) ?? '');
}

/** A host name with {env}, {service} and {gateway} in it, each of which stands for a DNS label. */
export function isDomainTemplate(value: string): boolean {
  return value.length <= MAX_DNS_NAME && isPublicHost(value.replace(/\{(?:env|service|gateway)\}/g, 'x')) && !isIpAddress(value);
}

/** Name of an option of ssh. Which ones are allowed is for the host to say. */
export function isSshOption(value: string): boolean {
  return SSH_OPTION.test(value);
}

/** Neither quotes nor what ssh or a shell would expand. */
export function isSshOptionValue(value: string): boolean {
  return SSH_OPTION_VALUE.test(value);
}

/** What a service says first: at most 128 printable characters of ASCII. */
export function isBanner(value: string): boolean {
  return BANNER.test(value);
}

/** A network, for example 10.0.0.0/8. */
export type Cidr = { readonly text: string; readonly family: 4 | 6; readonly list: BlockList };

/** undefined when it is no network in CIDR notation. */
export function parseCidr(text: string): Cidr | undefined {
  const [base = '', bits = '', ...rest] = text.split('/');
  const family = ipFamily(base);
  if (family === undefined || rest.length > 0 || !/^[0-9]{1,3}$/.test(bits)) return undefined;
  const prefix = Number(bits);
  if (prefix > (family === 4 ? 32 : 128)) return undefined;
  const list = new BlockList();
  list.addSubnet(base, prefix, family === 4 ? 'ipv4' : 'ipv6');
  return { text, family, list };
}

/** False also when `address` is none, or of the other family. */
export function cidrContains(cidr: Cidr, address: string): boolean {
  const family = ipFamily(address);
  return family === cidr.family && cidr.list.check(address, family === 4 ? 'ipv4' : 'ipv6');
}

/** What no mapping may lead to: this network, loopback, link-local (cloud metadata), multicast, reserved and broadcast. */
const REFUSED_TARGETS = [
  '0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4', '240.0.0.0/4',
  '::/127', 'fe80::/10', 'ff00::/8',
].map(requireCidr);

function requireCidr(text: string): Cidr {
  const cidr = parseCidr(text);
  if (cidr === undefined) throw new Error(`not a network: ${text}`);
  return cidr;
}

const LOOPBACK = ['127.0.0.0/8', '::1/128'].map(requireCidr);

/** An address that only this machine itself reaches. */
export function isLoopback(value: string): boolean {
  return LOOPBACK.some((cidr) => cidrContains(cidr, value));
}

/** An address that a mapping may lead to as far as every host agrees; the agent's allow-list is asked besides. */
export function isTargetAddress(value: string): boolean {
  return isIpAddress(value) && !REFUSED_TARGETS.some((cidr) => cidrContains(cidr, value));
}
