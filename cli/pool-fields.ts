/** The fields of a pool as flags and as keys of a pool file: one table, so that both are read and refused alike. */
import type { Command } from 'commander';
import type { Pool } from '../shared/gen/portlease/v1/operations.js';
import { isDomainTemplate } from '../shared/names.js';
import { MAX_PORT, overlaps, rangeText, type PortRange } from '../shared/ports.js';
import { choice, dnsLabel, duration, plainText, portRange, refuse, wholeNumber } from './fields.js';
import { collect, flagName } from './flags.js';
import type { Flags } from './job.js';
import { UsageError } from './usage.js';
import { IDLE_ACTIONS, ON_CONFLICT, PROTOCOLS, STRATEGIES, TLS_MODES } from './words.js';

type PoolField = Exclude<keyof Pool, 'pool' | 'gateway' | 'figures'>;
type Spec<Value> = {
  /** Name of the flag as commander keeps it: range → --range. */
  flag: string;
  placeholder: string;
  help: string;
} & (
  | { many: true; parse: (name: string, values: readonly string[]) => Value }
  | { many: false; parse: (name: string, value: string) => Value }
);
type PoolSpecs = { [Field in PoolField]: Spec<Pool[Field]> };

const MAX_RANGES = 64;
const MAX_RESERVED = 256;
const MAX_ALIASES = 16;

const POOL_FIELDS: PoolSpecs = {
  ranges: { flag: 'range', many: true, placeholder: 'first-last', help: 'ports of the pool, for example 30000-30999 (repeatable)', parse: someRanges },
  protocol: { flag: 'protocol', many: false, placeholder: 'protocol', help: 'tcp, udp or tcp+udp', parse: (name, value) => choice(name, value, PROTOCOLS) },
  description: { flag: 'description', many: false, placeholder: 'text', help: 'what it is for', parse: (name, value) => plainText(name, value) },
  serviceType: { flag: 'serviceType', many: false, placeholder: 'name', help: 'what it serves, for example ssh', parse: (name, value) => (value === '' ? '' : dnsLabel(name, value)) },
  aliases: { flag: 'alias', many: true, placeholder: 'name', help: 'other name for the service type (repeatable)', parse: aliases },
  defaultInternalPort: { flag: 'internalPort', many: false, placeholder: 'port', help: 'port of the target when a want names none; 0: every want names its own', parse: (name, value) => wholeNumber(name, value, { min: 0, max: MAX_PORT }) },
  strategy: { flag: 'strategy', many: false, placeholder: 'how', help: `how a number is picked: ${Object.keys(STRATEGIES).join(', ')}`, parse: (name, value) => choice(name, value, STRATEGIES) },
  reserved: { flag: 'reserved', many: true, placeholder: 'first-last', help: 'ports that are never leased (repeatable)', parse: (name, values) => ranges(name, values, MAX_RESERVED) },
  quarantine: { flag: 'quarantine', many: false, placeholder: 'time', help: 'how long a released port rests (default: 60s)', parse: duration },
  hold: { flag: 'hold', many: false, placeholder: 'time', help: 'how long the numbers of a silent host are kept (default: 24h)', parse: duration },
  idleLimit: { flag: 'idleLimit', many: false, placeholder: 'time', help: 'no traffic for longer than this is idle; 0s: never (default: 24h)', parse: duration },
  idleAction: { flag: 'idleAction', many: false, placeholder: 'what', help: 'what follows for an environment that is known to live: report or release', parse: (name, value) => choice(name, value, IDLE_ACTIONS) },
  idleWarning: { flag: 'idleWarning', many: false, placeholder: 'time', help: 'how long before its release an idle port is warned of (default: 1h)', parse: duration },
  connectionTimeout: { flag: 'connectionTimeout', many: false, placeholder: 'time', help: 'how long quiet connections are kept (default: no limit)', parse: duration },
  domainTemplate: { flag: 'domainTemplate', many: false, placeholder: 'template', help: 'host name of a service, for example {env}.{service}.example.com', parse: domainTemplate },
  tls: { flag: 'tls', many: false, placeholder: 'where', help: 'where TLS of clients ends: none (default), terminate (at a gateway with routes: nginx) or passthrough (at the service)', parse: (name, value) => choice(name, value, TLS_MODES) },
  onConflict: { flag: 'onConflict', many: false, placeholder: 'what', help: 'when a foreign process has the port of a mapping: block (default) or renumber', parse: (name, value) => choice(name, value, ON_CONFLICT) },
};

const SPECS = Object.entries(POOL_FIELDS) as [PoolField, PoolSpecs[PoolField]][];

export function addPoolOptions(command: Command): Command {
  for (const [, spec] of SPECS) {
    const option = `${flagName(spec.flag)} <${spec.placeholder}>`;
    if (spec.many) command.option(option, spec.help, collect);
    else command.option(option, spec.help);
  }
  return command;
}

/** The fields that flags name. A flag given once and empty stands for an empty list. */
export function poolFromFlags(flags: Flags): Partial<Pool> {
  const pool: Record<string, unknown> = {};
  for (const [field, spec] of SPECS) {
    const given = flags[spec.flag];
    if (given === undefined) continue;
    const name = flagName(spec.flag);
    if (spec.many) pool[field] = spec.parse(name, Array.isArray(given) && given.join('') !== '' ? given : []);
    else pool[field] = spec.parse(name, String(given));
  }
  return pool;
}

/** The fields that a pool file names; lists are texts as in the flags, or {first, last}. */
export function poolFromFile(file: string, document: Readonly<Record<string, unknown>>): Partial<Pool> {
  const pool: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(document)) {
    const name = `${file}: ${key}`;
    const spec = Object.hasOwn(POOL_FIELDS, key) ? POOL_FIELDS[key as PoolField] : undefined;
    if (spec === undefined) throw new UsageError(`${name} is no field of a pool`, `Its fields are pool, gateway, ${Object.keys(POOL_FIELDS).join(', ')}.`);
    if (spec.many) pool[key] = spec.parse(name, listOf(name, value));
    else pool[key] = spec.parse(name, scalar(name, value));
  }
  return pool;
}

function listOf(name: string, value: unknown): string[] {
  if (!Array.isArray(value)) throw new UsageError(`${name} is not a list`, 'Write one entry a line, each with "- " before it.');
  return value.map((entry: unknown) => (isRange(entry) ? rangeText(entry) : scalar(name, entry)));
}

function isRange(value: unknown): value is PortRange {
  return typeof value === 'object' && value !== null && 'first' in value && 'last' in value
    && typeof value.first === 'number' && typeof value.last === 'number';
}

export function scalar(name: string, value: unknown): string {
  if (typeof value === 'string' || typeof value === 'number') return String(value);
  throw new UsageError(`${name} is not a text or number`, 'Write one value after the colon.');
}

function someRanges(name: string, values: readonly string[]): PortRange[] {
  if (values.length === 0) throw new UsageError(`${name} is empty`, 'A pool has at least one range, for example 30000-30999.');
  return ranges(name, values, MAX_RANGES);
}

function aliases(name: string, values: readonly string[]): string[] {
  if (values.length > MAX_ALIASES) throw new UsageError(`${name}: ${values.length} names`, `At most ${MAX_ALIASES} are allowed.`);
  return values.map((value) => dnsLabel(name, value));
}

function ranges(name: string, values: readonly string[], max: number): PortRange[] {
  if (values.length > max) throw new UsageError(`${name}: ${values.length} ranges`, `At most ${max} are allowed.`);
  const parsed = values.map((value) => portRange(name, value));
  for (const [i, range] of parsed.entries()) {
    const other = parsed.slice(0, i).find((earlier) => overlaps(earlier, range));
    if (other !== undefined) throw new UsageError(`${name}: ${rangeText(range)} overlaps ${rangeText(other)}`, 'Name each port once.');
  }
  return parsed;
}

function domainTemplate(name: string, value: string): string {
  if (value === '' || isDomainTemplate(value)) return value;
  throw refuse(name, value, 'is no template of a host name', 'Write a-z 0-9 . - and {env}, {service}, {gateway}, for example {env}.{service}.example.com');
}

/** Field names as an update mask has them: defaultInternalPort → default_internal_port. */
export function maskPath(field: string): string {
  return field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
