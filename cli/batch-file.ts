/** The file of `portlease allocate --batch`: a list of requests, each with what the flags of a single one would say. */
import type { AllocatePortsRequest } from '../shared/gen/portlease/v1/ports.js';
import type { Wait } from '../shared/gen/portlease/v1/common.js';
import { choice, dnsLabel, labels, requestId } from './fields.js';
import { quoted, UsageError } from './usage.js';
import { parseWants } from './wants.js';
import { WAITS } from './words.js';
import { readYaml } from './yaml-file.js';

const KEYS = ['env', 'host', 'tenant', 'want', 'label', 'wait', 'dry-run', 'request-id'] as const;
type Key = (typeof KEYS)[number];
const MAX_REQUESTS = 10_000;
const EXAMPLE = 'Write a list: "- {env: env-1, host: host-a, tenant: acme, want: [\'name=ssh,pool=ssh,target=10.88.1.2\']}", one request an entry.';

/** For requests that do not say it themselves. */
export type Defaults = { host: string | undefined; tenant: string | undefined; wait: Wait; dryRun: boolean; labels: Record<string, string>; idPrefix: string };

/** At least one request. Throws UsageError that names the entry and the key. */
export function readBatch(path: string, defaults: Defaults): AllocatePortsRequest[] {
  const content = readYaml('--batch', path, EXAMPLE);
  if (!Array.isArray(content) || content.length === 0) throw new UsageError(`--batch: ${quoted(path)} does not hold a list of requests`, EXAMPLE);
  if (content.length > MAX_REQUESTS) throw new UsageError(`--batch: ${quoted(path)} holds ${content.length} requests`, `At most ${MAX_REQUESTS} are allowed: split the file.`);
  const requests = content.map((entry: unknown, i) => requestOf(`--batch: [${i}]`, entry, { ...defaults, idPrefix: `${defaults.idPrefix}-${i}` }));
  assertUnique(requests);
  return requests;
}

function requestOf(at: string, entry: unknown, defaults: Defaults): AllocatePortsRequest {
  const values = fieldsOf(at, entry);
  const read = <T>(key: Key, parse: (name: string, text: string) => T): T | undefined => {
    const value = values.get(key);
    return value === undefined ? undefined : parse(`${at} ${key}`, scalar(`${at} ${key}`, value));
  };
  return {
    requestId: read('request-id', requestId) ?? defaults.idPrefix,
    tenant: read('tenant', dnsLabel) ?? defaults.tenant ?? missing(at, 'tenant'),
    environment: read('env', dnsLabel) ?? '',
    host: read('host', dnsLabel) ?? defaults.host ?? missing(at, 'host'),
    wants: within(at, () => parseWants(textsOf(`${at} want`, values.get('want')))),
    labels: { ...defaults.labels, ...labels(`${at} label`, textsOf(`${at} label`, values.get('label'))) },
    wait: read('wait', (name, text) => choice(name, text, WAITS)) ?? defaults.wait,
    dryRun: read('dry-run', (name, text) => choice(name, text, { true: true, false: false })) ?? defaults.dryRun,
  };
}

function fieldsOf(at: string, entry: unknown): Map<Key, unknown> {
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) throw new UsageError(`${at} is not a request`, EXAMPLE);
  const fields = new Map<Key, unknown>();
  for (const [key, value] of Object.entries(entry)) {
    if (!isKey(key)) throw new UsageError(`${at}: ${quoted(key)} is no key of a request`, `Its keys are ${KEYS.join(', ')}.`);
    fields.set(key, value);
  }
  return fields;
}

function isKey(text: string): text is Key {
  return (KEYS as readonly string[]).includes(text);
}

function scalar(name: string, value: unknown): string {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return String(value);
  throw new UsageError(`${name} is not a text`, 'Write one value after the colon.');
}

/** A list of "key=value,key=value" as in the flag, or of maps with the same keys; also a single one of them; a map of labels. */
function textsOf(name: string, value: unknown): string[] {
  if (value === undefined) return [];
  if (name.endsWith(' label') && isMap(value)) return partsOf(name, value);
  return (Array.isArray(value) ? value : [value]).map((one: unknown) => (isMap(one) ? partsOf(name, one).join(',') : scalar(name, one)));
}

function partsOf(name: string, map: Record<string, unknown>): string[] {
  return Object.entries(map).filter(([, value]) => value !== false).map(([key, value]) => (value === true ? key : `${key}=${scalar(`${name} ${quoted(key)}`, value)}`));
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function missing(at: string, key: 'host' | 'tenant'): never {
  throw new UsageError(`${at}: ${key} is missing`, `Write "${key}: NAME" in the entry, or give --${key} for all of them.`);
}

/** Errors of wants name the flag: say which entry it is. */
function within<T>(at: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof UsageError ? new UsageError(`${at}: ${error.message.replace('--want', 'want')}`, error.remedy) : error;
  }
}

function assertUnique(requests: readonly AllocatePortsRequest[]): void {
  const seen = new Set<string>();
  for (const [i, { requestId: id }] of requests.entries()) {
    if (seen.has(id)) throw new UsageError(`--batch: [${i}] request-id: ${quoted(id)} is that of another entry`, 'Give each request an id of its own, or leave it out.');
    seen.add(id);
  }
}
