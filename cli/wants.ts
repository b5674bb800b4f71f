/** `--want` of allocate and `--target` of move. */
import type { Want, MoveTarget } from '../shared/gen/portlease/v1/ports.js';
import { OnConflict, Protocol } from '../shared/gen/portlease/v1/common.js';
import { MAX_PORT } from '../shared/ports.js';
import { targetToWire } from '../shared/wire.js';
import { choice, clientNetworks, dnsLabel, keyAndValue, maxConnections, port, target, targetWithPort, wholeNumber } from './fields.js';
import { quoted, UsageError } from './usage.js';
import { ON_CONFLICT, PROTOCOLS } from './words.js';

const MAX_WANTS = 64;
const MAX_NAME = 32;
const MAX_COUNT = 256;
const MAX_TOTAL = 1_024;
const EXAMPLE = 'name=ssh,pool=ssh,target=10.88.1.2,internal-port=22';
const KEYS = ['name', 'pool', 'service', 'target', 'internal-port', 'protocol', 'count', 'contiguous', 'port', 'prefer', 'client-networks', 'max-connections', 'on-conflict'] as const;
type Key = (typeof KEYS)[number];

/** Where the ports lead: what each want says, or the container that is made with them. */
type LeadsTo = 'target' | 'container';

function exampleOf(leadsTo: LeadsTo): string {
  return leadsTo === 'target' ? EXAMPLE : 'name=ssh,pool=ssh,internal-port=22';
}

/** All `--want` flags of one command: 1 to 64, each name once, at most 1,024 ports. */
export function parseWants(texts: readonly string[], leadsTo: LeadsTo = 'target'): Want[] {
  if (texts.length === 0) throw new UsageError('--want is missing', `Say at least once what the environment needs: --want ${exampleOf(leadsTo)}`);
  if (texts.length > MAX_WANTS) throw new UsageError(`--want is given ${texts.length} times`, `At most ${MAX_WANTS} are allowed: use count=N for several ports of one kind.`);
  const wants = texts.map((text) => parseWant(text, leadsTo));
  assertUnique('--want', wants.map((want) => want.name));
  const total = wants.reduce((sum, want) => sum + Math.max(1, want.count), 0);
  if (total > MAX_TOTAL) throw new UsageError(`--want: ${total} ports in all`, `At most ${MAX_TOTAL} are allowed in one request.`);
  return wants;
}

function parseWant(text: string, leadsTo: LeadsTo): Want {
  const parts = new Map<Key, string>();
  for (const part of text.split(',')) {
    const [key, value] = part === 'contiguous' ? (['contiguous', ''] as const) : keyAndValue('--want', part);
    if (!isKey(key)) throw new UsageError(`--want: ${quoted(key)} is no part of a want`, `Its parts are ${KEYS.join(', ')}; for example ${EXAMPLE}`);
    if (parts.has(key)) throw new UsageError(`--want: ${key} is given twice`, 'Give each part once.');
    parts.set(key, value);
  }
  return wantOf(parts, leadsTo);
}

function isKey(text: string): text is Key {
  return (KEYS as readonly string[]).includes(text);
}

function wantOf(parts: ReadonlyMap<Key, string>, leadsTo: LeadsTo): Want {
  const read = <T>(key: Key, parse: (flag: string, text: string) => T): T | undefined => {
    const text = parts.get(key);
    return text === undefined ? undefined : parse(`--want ${key}`, text);
  };
  if (leadsTo === 'container') refuseTarget(parts);
  const want: Want = {
    name: read('name', (flag, text) => dnsLabel(flag, text, MAX_NAME)) ?? missing('name'),
    source: sourceOf(read('pool', dnsLabel), read('service', dnsLabel)),
    protocol: read('protocol', (flag, text) => choice(flag, text, PROTOCOLS)) ?? Protocol.PROTOCOL_UNSPECIFIED,
    count: read('count', (flag, text) => wholeNumber(flag, text, { min: 1, max: MAX_COUNT })) ?? 1,
    contiguous: read('contiguous', onlyWord) ?? false,
    target: leadsTo === 'container' ? undefined : targetToWire(read('target', target) ?? missing('target')),
    internalPort: read('internal-port', port) ?? 0,
    choice: choiceOf(read('port', port), read('prefer', port)),
    clientNetworks: read('client-networks', (flag, text) => clientNetworks(flag, text.split('+'))) ?? [],
    maxConnections: read('max-connections', maxConnections) ?? 0,
    onConflict: read('on-conflict', (flag, text) => choice(flag, text, ON_CONFLICT)) ?? OnConflict.ON_CONFLICT_UNSPECIFIED,
  };
  assertPortsExist(want);
  if (want.onConflict === OnConflict.ON_CONFLICT_RENUMBER && want.contiguous && want.count > 1) {
    throw new UsageError('--want: on-conflict=renumber and contiguous exclude each other', 'One port of the run would get a number elsewhere: say on-conflict=block, or leave out contiguous.');
  }
  return want;
}

function refuseTarget(parts: ReadonlyMap<Key, string>): void {
  if (parts.has('target')) throw new UsageError('--want: target= is given', 'Leave it out: the port leads to the container of the environment.');
}

function sourceOf(pool: string | undefined, service: string | undefined): Want['source'] {
  if (pool !== undefined && service !== undefined) throw new UsageError('--want: pool and service exclude each other', 'Name the pool or the service type.');
  if (pool !== undefined) return { $case: 'pool', value: pool };
  if (service !== undefined) return { $case: 'serviceType', value: service };
  return missing('pool');
}

function choiceOf(exact: number | undefined, preferred: number | undefined): Want['choice'] {
  if (exact !== undefined && preferred !== undefined) throw new UsageError('--want: port and prefer exclude each other', 'port=N is this number or a refusal; prefer=N is this number if it can be had, else any.');
  if (exact !== undefined) return { $case: 'exactPort', value: exact };
  if (preferred !== undefined) return { $case: 'preferredPort', value: preferred };
  return undefined;
}

/** Port i of a want leads to internal port + i, and an exact choice takes port + i: none of them may pass the last port. */
function assertPortsExist(want: Want): void {
  const starts = { 'internal-port': want.internalPort, port: want.choice?.$case === 'exactPort' ? want.choice.value : 0 };
  for (const [key, start] of Object.entries(starts)) {
    if (start + want.count - 1 > MAX_PORT) throw new UsageError(`--want ${key}: ${start} with count=${want.count} passes port ${MAX_PORT}`, 'Choose a lower number or fewer ports.');
  }
}

function onlyWord(flag: string, text: string): boolean {
  if (text === '') return true;
  throw new UsageError(`${flag} takes no value`, 'Write ",contiguous" or leave it out.');
}

function missing(key: Key): never {
  throw new UsageError(`--want: ${key}= is missing`, `A want needs name, pool (or service) and target; for example ${EXAMPLE}`);
}

/** All `--target NAME=ADDRESS[:PORT]` or `NAME=container:…` flags of one command. */
export function parseMoveTargets(texts: readonly string[]): MoveTarget[] {
  const targets = texts.map((text) => {
    const [name, value] = keyAndValue('--target', text);
    const { target: to, internalPort } = targetWithPort('--target', value);
    return { name: dnsLabel('--target', name, MAX_NAME), target: targetToWire(to), internalPort };
  });
  assertUnique('--target', targets.map((target) => target.name));
  return targets;
}

function assertUnique(flag: string, names: readonly string[]): void {
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new UsageError(`${flag}: the name ${twice} is given twice`, 'Each port of an environment has a name of its own.');
}
