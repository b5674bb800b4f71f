/**
 * Values of flags and of a pool file, checked before anything is sent. Each function takes the name that the caller knows the value by
 * ("--range", "pools.yaml: quarantine") and throws a UsageError that names it and says what would be right.
 */
import { isLeakId } from '../shared/leak.js';
import { ipFamily, canonicalAddress, isDnsLabel, isLabelKey, isLabelValue, isObjectId, isPublicHost, isRequestId, isTargetAddress } from '../shared/names.js';
import { InvalidField } from '../shared/invalid.js';
import { MAX_CONNECTIONS, MAX_NETWORKS, readNetwork } from '../shared/networks.js';
import { isPort, MAX_PORT, type PortRange } from '../shared/ports.js';
import { parseTargetText, type Target } from '../shared/target.js';
import type { Duration } from '../shared/gen/google/protobuf/duration.js';
import { quoted, UsageError } from './usage.js';

const MAX_LABELS = 64;
const MAX_REASON = 256;
const MAX_TEXT = 256;
const UNITS_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const MAX_DURATION_MS = 365 * UNITS_MS.d;

export function dnsLabel(flag: string, text: string, max = 63): string {
  if (isDnsLabel(text, max)) return text;
  throw refuse(flag, text, 'is not a name', `A name has 1 to ${max} of a-z, 0-9 and -, with a letter or digit at both ends.`);
}

export function port(flag: string, text: string): number {
  const value = portOr(text);
  if (value !== undefined) return value;
  throw refuse(flag, text, 'is not a port', `A port is a whole number from 1 to ${MAX_PORT}.`);
}

/** "30000-30999", or a single port. */
export function portRange(flag: string, text: string): PortRange {
  const [first = '', last = first, ...rest] = text.split('-');
  const range = { first: portOr(first), last: portOr(last) };
  if (rest.length > 0 || range.first === undefined || range.last === undefined) {
    throw refuse(flag, text, 'is not a range of ports', `Write FIRST-LAST, for example 30000-30999, with ports from 1 to ${MAX_PORT}.`);
  }
  if (range.first > range.last) throw refuse(flag, text, 'runs backwards', `Write ${range.last}-${range.first}.`);
  return { first: range.first, last: range.last };
}

function portOr(text: string): number | undefined {
  const value = /^[1-9][0-9]{0,4}$/.test(text) ? Number(text) : NaN;
  return isPort(value) ? value : undefined;
}

/** "GATEWAY", or "GATEWAY/HOST" in scope host. */
export function portSpace(flag: string, text: string): string {
  const labels = text.split('/');
  if (labels.length > 2) throw refuse(flag, text, 'is not a port space', 'Write GATEWAY, or GATEWAY/HOST in scope host.');
  for (const label of labels) dnsLabel(flag, label);
  return text;
}

export function wholeNumber(flag: string, text: string, bounds: { min: number; max: number }): number {
  const value = /^(?:0|[1-9][0-9]{0,8})$/.test(text) ? Number(text) : NaN;
  if (value >= bounds.min && value <= bounds.max) return value;
  throw refuse(flag, text, 'is not allowed', `Write a whole number from ${bounds.min} to ${bounds.max}.`);
}

/** "PortAllocated". Which kinds there are is for the coordinator to say. */
export function eventKind(flag: string, text: string): string {
  if (/^[A-Z][A-Za-z]{1,39}$/.test(text)) return text;
  throw refuse(flag, text, 'is not a kind of event', 'Write one as `portlease events` shows them, for example HostLost.');
}

/** "17", or "17.3": after the first three events of a decision. */
export function eventCursor(flag: string, text: string): { revision: number; position: number } {
  const [, revision = '', position = '0'] = /^(0|[1-9][0-9]{0,14})(?:\.([1-9][0-9]{0,8}))?$/.exec(text) ?? [];
  if (revision !== '' && !(revision === '0' && position !== '0')) return { revision: Number(revision), position: Number(position) };
  throw refuse(flag, text, 'is not a revision', 'Write what a list or an earlier watch said: 17, or 17.3 for the first three events of a decision; 0 is the oldest that is kept.');
}

/** "1.5s", "250ms", "24h", "7d" in milliseconds; at most a year. */
export function durationMs(flag: string, text: string, minMs = 0): number {
  const match = /^([0-9]{1,12}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)$/.exec(text);
  const ms = match ? Math.round(Number(match[1]) * UNITS_MS[match[2] as keyof typeof UNITS_MS]) : NaN;
  if (ms >= minMs && ms <= MAX_DURATION_MS) return ms;
  const least = minMs > 0 ? ` of at least ${minMs}ms` : '';
  throw refuse(flag, text, 'is not a duration', `Write a number with its unit (ms, s, m, h, d), for example 30s or 24h: a time${least}, at most 365d.`);
}

export function duration(flag: string, text: string): Duration {
  const ms = durationMs(flag, text);
  return { seconds: Math.floor(ms / 1_000), nanos: (ms % 1_000) * 1_000_000 };
}

/** One of the words of `choices`; answers what it stands for. */
export function choice<T>(flag: string, text: string, choices: Readonly<Record<string, T>>): T {
  const found = Object.entries(choices).find(([word]) => word === text);
  if (found !== undefined) return found[1];
  throw refuse(flag, text, 'is none of the choices', `Choose ${Object.keys(choices).join(', ')}.`);
}

/** An address that a mapping may lead to. */
export function targetAddress(flag: string, text: string): string {
  if (canonicalAddress(text) === undefined) {
    throw refuse(flag, text, 'is not an IP address', 'Write the IPv4 or IPv6 address of the container or VM, for example 10.88.1.2.');
  }
  if (isTargetAddress(text)) return text;
  throw refuse(flag, text, 'must not be mapped', 'Loopback, link-local, multicast and unspecified addresses are refused: write the address of the container or VM.');
}

/** An address, "container", "container:NAME@NETWORK/6", "published" or "published:NAME". */
export function target(flag: string, text: string): Target {
  if (!/^(?:container|published)(?::|$)/.test(text)) return { kind: 'address', address: targetAddress(flag, text) };
  try {
    return parseTargetText(text, flag);
  } catch (error) {
    if (!(error instanceof InvalidField)) throw error;
    throw refuse(flag, text, 'is no target', 'Write container:NAME, container:NAME@NETWORK, container (the one labelled with the environment), published:NAME, or an address.');
  }
}

/** As `target`, or "ADDRESS:PORT"; an IPv6 address with a port stands in brackets. */
export function targetWithPort(flag: string, text: string): { target: Target; internalPort: number } {
  if (/^(?:container|published)(?::|$)/.test(text)) return { target: target(flag, text), internalPort: 0 };
  const { address, portText } = addressAndPort(text);
  return { target: target(flag, address), internalPort: portText === undefined ? 0 : port(flag, portText) };
}

/** As targetWithPort, of any machine. */
export function resolverAddress(flag: string, text: string): string {
  const { address, portText } = addressAndPort(text);
  const family = ipFamily(address);
  if (family === undefined) throw refuse(flag, text, 'is not the address of a resolver', 'Write ADDRESS or ADDRESS:PORT, for example 203.0.113.53 or [2001:db8::1]:53.');
  if (portText === undefined) return address;
  return `${family === 6 ? `[${address}]` : address}:${port(flag, portText)}`;
}

/** What is no such pair is all address. */
function addressAndPort(text: string): { address: string; portText: string | undefined } {
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/.exec(text);
  const plain = ipFamily(text) === 6 ? null : /^([^:]*)(?::(.*))?$/.exec(text);
  const [, address = text, portText] = bracketed ?? plain ?? [text];
  return { address, portText };
}

export function publicHost(flag: string, text: string): string {
  if (isPublicHost(text)) return text;
  throw refuse(flag, text, 'is neither a host name nor an address', 'Write what clients connect to, for example gw.example.com or 203.0.113.1.');
}

export function requestId(flag: string, text: string): string {
  if (isRequestId(text)) return text;
  throw refuse(flag, text, 'is not a request id', 'Write 1 to 128 characters of A-Z a-z 0-9 . _ : - (no - at the start), or leave it out.');
}

export function mappingId(flag: string, text: string): string {
  if (isObjectId(text)) return text;
  throw refuse(flag, text, 'is not a mapping id', 'List them with `portlease mappings`.');
}

export function leakId(flag: string, text: string): string {
  if (isLeakId(text)) return text;
  throw refuse(flag, text, 'is not the id of a leak', 'List them with `portlease leaks`.');
}

/** Networks of clients in CIDR notation, each once. */
export function clientNetworks(flag: string, texts: readonly string[]): string[] {
  if (texts.length > MAX_NETWORKS) throw new UsageError(`${flag}: ${texts.length} networks`, `At most ${MAX_NETWORKS} are allowed.`);
  const networks = texts.map((text) => {
    const reading = readNetwork(text);
    if ('network' in reading) return reading.network;
    throw refuse(flag, text, reading.problem, `${reading.remedy.charAt(0).toUpperCase()}${reading.remedy.slice(1)}.`);
  });
  const twice = networks.find((network, i) => networks.indexOf(network) !== i);
  if (twice !== undefined) throw refuse(flag, twice, 'is given twice', 'Give each network once.');
  return networks;
}

/** Of one mapping at once; 0: no limit. */
export function maxConnections(flag: string, text: string): number {
  return wholeNumber(flag, text, { min: 0, max: MAX_CONNECTIONS });
}

/** "key=value", or "key=" for an empty value; each key once, at most 64. */
export function labels(flag: string, texts: readonly string[]): Record<string, string> {
  if (texts.length > MAX_LABELS) throw new UsageError(`${flag}: ${texts.length} labels`, `At most ${MAX_LABELS} are allowed.`);
  const entries = texts.map((text) => {
    const [key, value] = keyAndValue(flag, text);
    if (!isLabelKey(key) || !isLabelValue(value)) {
      throw refuse(flag, text, 'is not a label', 'Key and value have 1 to 63 of A-Z a-z 0-9 . _ - /, with a letter or digit at both ends; the value may be empty.');
    }
    return [key, value] as const;
  });
  const keys = entries.map(([key]) => key);
  const twice = keys.find((key, i) => keys.indexOf(key) !== i);
  if (twice !== undefined) throw refuse(flag, twice, 'is given twice', 'Give each label once.');
  return Object.fromEntries(entries);
}

/** Splits "key=value" at the first "=". */
export function keyAndValue(flag: string, text: string): [key: string, value: string] {
  const at = text.indexOf('=');
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw refuse(flag, text, 'has no key', 'Write KEY=VALUE.');
}

/** Why something is done, for the audit record: 1-256 characters. */
export function auditReason(flag: string, text: string): string {
  return plainText(flag, text, { min: 1, max: MAX_REASON });
}

/** One line for people. */
export function plainText(flag: string, text: string, bounds = { min: 0, max: MAX_TEXT }): string {
  if (text.length >= bounds.min && text.length <= bounds.max && !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(text)) return text;
  throw refuse(flag, text, 'is not allowed', `Write one line of ${bounds.min} to ${bounds.max} characters.`);
}

export function refuse(flag: string, text: string, problem: string, remedy: string): UsageError {
  return new UsageError(`${flag}: ${quoted(text)} ${problem}`, remedy);
}
