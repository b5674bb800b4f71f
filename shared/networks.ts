/** Networks of clients in CIDR notation, in the one text form that the kernel's tools print. */
import { atMost } from './fields.js';
import { InvalidField } from './invalid.js';
import { canonicalAddress } from './names.js';
import type { ClientLimits } from './desired.js';

export const MAX_NETWORKS = 16;
export const MAX_CONNECTIONS = 1_000_000;
const MAX_SHOWN = 64;
const PREFIX = /^(?:0|[1-9][0-9]{0,2})$/;

/** The network in canonical form, or why the text is none and what would be right. */
export type NetworkReading = { network: string } | { problem: string; remedy: string };

export function readNetwork(text: string): NetworkReading {
  const [base = '', prefixText, ...rest] = text.slice(0, MAX_SHOWN).split('/');
  const address = canonicalAddress(base);
  if (address === undefined || rest.length > 0 || text.length > MAX_SHOWN) {
    return { problem: 'is not a network in CIDR notation', remedy: 'write ADDRESS/PREFIX, for example 198.51.100.0/24 or 2001:db8::/32' };
  }
  const bits = address.includes(':') ? 128 : 32;
  if (prefixText === undefined) return { problem: 'has no prefix length', remedy: `write ${address}/${bits} for this one address` };
  if (!PREFIX.test(prefixText) || Number(prefixText) > bits) return { problem: 'has a bad prefix length', remedy: `after the slash stands a whole number from 0 to ${bits}` };
  const network = `${masked(address, Number(prefixText))}/${Number(prefixText)}`;
  if (network !== `${address}/${prefixText}`) return { problem: 'has bits beyond its prefix', remedy: `write ${network} for the network, or ${address}/${bits} for this one address` };
  return { network };
}

/** Throws InvalidField that names the network; undefined: everybody, without limit. */
export function limitsFromWire(value: { clientNetworks: readonly string[]; maxConnections: number }, at: string): ClientLimits | undefined {
  if (value.clientNetworks.length === 0 && value.maxConnections === 0) return undefined;
  return { networks: networksFromWire(value.clientNetworks, `${at}client_networks`), maxConnections: maxConnectionsFromWire(value.maxConnections, `${at}max_connections`) };
}

export function networksFromWire(texts: readonly string[], field: string): string[] {
  const networks = atMost(texts, MAX_NETWORKS, field).map((text, i) => {
    const reading = readNetwork(text);
    if ('network' in reading) return reading.network;
    throw new InvalidField(`${field}[${i}]`, `${shown(text)} ${reading.problem}: ${reading.remedy}`);
  });
  const twice = networks.findIndex((network, i) => networks.indexOf(network) !== i);
  if (twice >= 0) throw new InvalidField(`${field}[${twice}]`, `${networks[twice]} comes twice: name each network once`);
  return networks;
}

export function maxConnectionsFromWire(value: number, field: string): number {
  if (Number.isInteger(value) && value >= 0 && value <= MAX_CONNECTIONS) return value;
  throw new InvalidField(field, `${value} is not a number of connections: 1-${MAX_CONNECTIONS}, or 0 for no limit`);
}

/** Of the networks those of one family; undefined: all clients of that family are allowed. Canonical networks only. */
export function networksOf(networks: readonly string[], family: 4 | 6): readonly string[] | undefined {
  if (networks.length === 0) return undefined;
  const own = networks.filter((network) => network.includes(':') === (family === 6));
  return own.some((network) => network.endsWith('/0')) ? undefined : own;
}

function shown(text: string): string {
  return JSON.stringify(text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text);
}

function masked(address: string, prefix: number): string {
  const isV6 = address.includes(':');
  const [size, words] = isV6 ? [16, wordsOfV6(address)] as const : [8, address.split('.').map(Number)] as const;
  const kept = words.map((word, i) => {
    const bits = Math.min(size, Math.max(0, prefix - i * size));
    return word & ~((1 << (size - bits)) - 1);
  });
  return isV6 ? canonicalAddress(kept.map((word) => word.toString(16)).join(':')) ?? '' : kept.join('.');
}

function wordsOfV6(address: string): number[] {
  const [head = '', tail] = address.split('::');
  const words = (text: string): number[] => (text === '' ? [] : text.split(':').map((word) => Number.parseInt(word, 16)));
  const [first, last] = [words(head), words(tail ?? '')];
  return [...first, ...Array.from({ length: 8 - first.length - last.length }, () => 0), ...last];
}
